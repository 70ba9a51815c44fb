package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"shoal/internal/keyring"
	"shoal/membership"
	"shoal/mesh/api"
	"shoal/secrets"
	"shoal/secrets/agebox"
	"shoal/states"
	"shoal/store"
)

func newSecret(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secret",
		Short: "Values that only some nodes may read",
		Long: `Values that only some nodes may read. A tree reads one with ${ secret("db/password") }, or {{ secret("db/password") }} in a template.

A secret is encrypted to the keys of the nodes that its selector selects by their grants, and lies encrypted wherever it lies. It is a
part of its environment as the tree is: setting one is a new version, which the nodes apply; a push keeps the secrets as they are.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, c := range []*cobra.Command{newSecretSet(t), newSecretList(t), newSecretRemove(t), newSecretShow(t)} {
		c.Args = inputArgs(c.Args)
		cmd.AddCommand(c)
	}
	return cmd
}

// secretFlags are those that publishing a secret has.
type secretFlags struct {
	env     string
	connect func() *api.Client
	key     func() string
}

func newSecretFlags(cmd *cobra.Command) *secretFlags {
	f := &secretFlags{connect: nodeFlag(cmd), key: keyFlag(cmd)}
	cmd.Flags().StringVar(&f.env, "env", "production", "the environment")
	return f
}

func newSecretSet(t *terminal) *cobra.Command {
	var on string
	cmd := &cobra.Command{
		Use:   "set NAME [--on SELECTOR]",
		Short: "Give a secret a value, which is read from standard input or asked for",
		Long: `Give a secret a value, which is read from standard input or asked for, and publish it as a new version of its environment. The value is
never an argument: other users of a machine see those.

SELECTOR says which nodes may have it, by the tags, the name and the zone that they were granted. A secret that there is already keeps its
own, unless another is named. One newline at the end of a value of one line is taken off.`,
		Example: `  shoal secret set db/password --on role=db
  pwgen -s 32 1 | shoal secret set db/password --on role=db
  shoal secret set tls/key --on 'tags.role in ["web", "proxy"]' < key.pem`,
		Args: cobra.ExactArgs(1),
	}
	f := newSecretFlags(cmd)
	cmd.Flags().StringVar(&on, "on", "", "which nodes may have it, a `SELECTOR`: \"*\", key=value, or an expression over tags, name and zone")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := secrets.CheckName(args[0]); err != nil {
			return badInput("%v", err)
		}
		if on != "" {
			if _, err := states.ParseSelector(on); err != nil {
				return badInput("--on: %v", err)
			}
		}
		p, err := newPublisher(f.connect(), f.key())
		if err != nil {
			return err
		}
		return t.setSecret(cmd.Context(), p, f.env, args[0], on)
	}
	return cmd
}

// setSecret seals a value for those that may have it now, and publishes it with the tree that is at the head.
func (t *terminal) setSecret(ctx context.Context, p publisher, env, name, on string) error {
	head, err := p.head(ctx, env)
	if err != nil {
		return err
	}
	at, err := p.sealed(ctx, head)
	if err != nil {
		return err
	}
	who, err := p.people(ctx)
	if err != nil {
		return err
	}
	old, replaced := at.find(name)
	if on == "" {
		on = old.On
	}
	switch {
	case on == "":
		return badInput("which nodes may have %s? name them with --on SELECTOR, such as --on role=db", name)
	case !replaced && len(at.all) >= secrets.MaxSecrets:
		return badInput("%s has %d secrets already, and may have no more", env, secrets.MaxSecrets)
	}
	value, err := t.readSecret(name)
	if err != nil {
		return err
	}
	statement := secrets.Statement{Env: env, Name: name, Version: old.Version + 1, On: on, Time: time.Now().Unix()}
	if statement.Gone, err = secrets.Gone(statement, who.former, who.current); err != nil {
		return badInput("--on: %v", err)
	}
	data, sealed, err := t.seal(statement, value, who)
	if err != nil {
		return err
	}
	all := append([]secrets.Sealed{sealed}, without(at.all, name)...)
	if err := p.stillCompiles(ctx, at, all); err != nil {
		return err
	}
	var objects [][]byte
	entry, err := store.PackFile(secrets.PathOf(name), data, func(object []byte) error {
		objects = append(objects, bytes.Clone(object))
		return nil
	})
	if err != nil {
		return err
	}
	m, first := secrets.Replace(at.manifest, entry.Path, entry), [][]byte(nil)
	if !at.hasTree() {
		if m, first, err = beginning(m); err != nil {
			return err
		}
	}
	if err := p.amended(ctx, t, at, m, append(objects, first...), store.KindPush, "secret set "+name); err != nil {
		return err
	}
	t.note("%s version %d is for %s: %s", name, statement.Version, on, strings.Join(names(sealed.Granted(who.now)), ", "))
	return nil
}

// seal encrypts a value, and says for whom it could not be.
func (t *terminal) seal(s secrets.Statement, value []byte, who people) ([]byte, secrets.Sealed, error) {
	on, err := secrets.Draft(s)
	if err != nil {
		return nil, secrets.Sealed{}, badInput("--on: %v", err)
	}
	data, left, err := agebox.Seal(s, value, on.Granted(who.now))
	if errors.Is(err, agebox.ErrNobody) {
		return nil, secrets.Sealed{}, badInput("no node of %s is selected by %s: let one join first (shoal ticket), for it hands the secret on to those that come later", s.Env, s.On)
	}
	if err != nil {
		return nil, secrets.Sealed{}, badInput("%v", err)
	}
	if len(left) > 0 {
		t.note("%d nodes get it from the others", len(left))
	}
	sealed, err := secrets.Decode(data)
	return data, sealed, err
}

func without(all []secrets.Sealed, name string) (rest []secrets.Sealed) {
	for _, s := range all {
		if s.Name != name {
			rest = append(rest, s)
		}
	}
	return rest
}

// firstSite is the tree of an environment that has secrets before it has a tree.
const firstSite = "# This environment has secrets, and no tree yet: shoal push TREE\ntargets: []\n"

func beginning(m store.Manifest) (store.Manifest, [][]byte, error) {
	var objects [][]byte
	entry, err := store.PackFile("site.yaml", []byte(firstSite), func(object []byte) error {
		objects = append(objects, bytes.Clone(object))
		return nil
	})
	return secrets.Replace(m, entry.Path, entry), objects, err
}

// stillCompiles refuses secrets with which the tree that is there would not compile on some node.
func (p publisher) stillCompiles(ctx context.Context, at sealedTree, all []secrets.Sealed) error {
	if !at.hasTree() {
		return nil
	}
	nodes, fleet, err := meshNodes(ctx, p.client, at.head.Env)
	if err != nil || len(nodes) == 0 {
		return err
	}
	if problems := states.Validate(at.files, nodes, fleet, functions(), standIns(all)); len(problems) > 0 {
		return problems
	}
	return nil
}

// readSecret reads a value from standard input, or asks for it where a person sits there.
func (t *terminal) readSecret(name string) ([]byte, error) {
	if term.IsTerminal(int(os.Stdin.Fd())) {
		return askSecret(name)
	}
	value, err := io.ReadAll(io.LimitReader(bufio.NewReader(os.Stdin), secrets.MaxValue+3))
	if err != nil {
		return nil, fmt.Errorf("read the value: %w", err)
	}
	if line, ok := bytes.CutSuffix(value, []byte("\n")); ok && !bytes.Contains(line, []byte("\n")) {
		value = bytes.TrimSuffix(line, []byte("\r"))
	}
	return value, checkSecret(value)
}

func checkSecret(value []byte) error {
	switch {
	case len(value) == 0:
		return badInput("the value is empty; write it to standard input")
	case len(value) > secrets.MaxValue:
		return badInput("the value is longer than %d bytes", secrets.MaxValue)
	case !utf8.Valid(value) || bytes.IndexByte(value, 0) >= 0:
		return badInput("the value is no text; encode it (base64), and decode it where it is used")
	}
	return nil
}

func askSecret(name string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, badInput("there is no terminal to ask on; write the value to standard input")
	}
	defer tty.Close()
	var typed [2][]byte
	for i, question := range []string{"Value of " + name, "Once more"} {
		fmt.Fprintf(tty, "%s: ", question)
		typed[i], err = term.ReadPassword(int(tty.Fd()))
		fmt.Fprintln(tty)
		if err != nil {
			return nil, err
		}
	}
	if !bytes.Equal(typed[0], typed[1]) {
		return nil, badInput("the two are not the same")
	}
	return typed[0], checkSecret(typed[0])
}

func newSecretRemove(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Take a secret out of its environment, once no state reads it",
		Args:  cobra.ExactArgs(1),
	}
	f := newSecretFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, name := cmd.Context(), args[0]
		p, err := newPublisher(f.connect(), f.key())
		if err != nil {
			return err
		}
		head, err := p.head(ctx, f.env)
		if err != nil {
			return err
		}
		at, err := p.sealed(ctx, head)
		if err != nil {
			return err
		}
		if _, ok := at.find(name); !ok {
			return noSecret(f.env, name)
		}
		if err := p.stillCompiles(ctx, at, without(at.all, name)); err != nil {
			return err
		}
		m := secrets.Replace(at.manifest, secrets.PathOf(name), store.Entry{})
		return p.amended(ctx, t, at, m, nil, store.KindPush, "secret remove "+name)
	}
	return cmd
}

func noSecret(env, name string) error {
	return badInput("%s has no secret %q; shoal secret list shows those it has", env, name)
}

// secretInfo is one line of the list.
type secretInfo struct {
	Name    string    `json:"name"`
	Version uint64    `json:"version"`
	On      string    `json:"on"`
	Set     time.Time `json:"set"`
	// Nodes may have it now.
	Nodes []string `json:"nodes"`
	// Exposed had a chance to read it, and may not have it: set it again.
	Exposed []string `json:"exposed"`
}

func newSecretList(t *terminal) *cobra.Command {
	var env string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "The secrets of an environment: who may have them, and which should be changed",
		Long: `The secrets of an environment: who may have them, and which should be changed.

EXPOSED names those that could read the value and may not have it any more, because they were evicted or are granted other tags now: it
stands there until the secret is set again.`,
		Args: cobra.NoArgs,
	}
	connect := nodeFlag(cmd)
	cmd.Flags().StringVar(&env, "env", "production", "the environment")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client := connect()
		at, err := sealedNow(cmd.Context(), client, env)
		if err != nil {
			return err
		}
		who, err := peopleOf(cmd.Context(), client)
		if err != nil {
			return err
		}
		list := []secretInfo{}
		for _, s := range at.all {
			list = append(list, secretInfo{s.Name, s.Version, s.On, time.Unix(s.Time, 0).UTC(), names(s.Granted(who.now)), names(s.Exposed(who.former, who.current))})
		}
		return t.printSecrets(list, env)
	}
	return cmd
}

func (t *terminal) printSecrets(list []secretInfo, env string) error {
	if t.json {
		return t.printJSON(list)
	}
	if len(list) == 0 {
		t.note("%s has no secrets", env)
		return nil
	}
	var rows [][]string
	exposed := 0
	for _, s := range list {
		if len(s.Exposed) > 0 {
			exposed++
		}
		rows = append(rows, []string{s.Name, fmt.Sprint(s.Version), s.Set.Local().Format(time.DateTime), s.On, fmt.Sprint(len(s.Nodes)), strings.Join(s.Exposed, " ")})
	}
	t.table([]string{"NAME", "VERSION", "SET", "ON", "NODES", "EXPOSED"}, rows)
	if exposed > 0 {
		t.note("%d could be read by machines that may not have them any more: shoal secret set NAME", exposed)
	}
	return nil
}

func newSecretShow(t *terminal) *cobra.Command {
	var env string
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Print a value, on a machine that may have it",
		Long: `Print a value, on a machine that may have it: it is decrypted by this command, with the key in the machine's data folder, which root
alone can read. No node hands out a value.`,
		Args: cobra.ExactArgs(1),
	}
	connect := nodeFlag(cmd)
	cmd.Flags().StringVar(&env, "env", "", "the environment (default: that of the machine)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		value, err := showSecret(cmd.Context(), connect(), env, args[0])
		if err != nil {
			return err
		}
		if t.json {
			return t.printJSON(map[string]string{"name": args[0], "value": value})
		}
		t.printf("%s\n", strings.TrimSuffix(value, "\n"))
		return nil
	}
	return cmd
}

func showSecret(ctx context.Context, client *api.Client, env, name string) (string, error) {
	self, err := client.Self(ctx)
	if err != nil {
		return "", err
	}
	if env == "" {
		env = self.Env
	}
	at, err := sealedNow(ctx, client, env)
	if err != nil {
		return "", err
	}
	s, ok := at.find(name)
	if !ok {
		return "", noSecret(env, name)
	}
	member := membership.Member{ID: self.ID, Name: self.Name, Zone: self.Zone, Tags: grantedOf(self.Tags)}
	if !s.Grants(member) {
		return "", refused("%s may not have %s: it is for %s", self.Name, name, s.On)
	}
	given, err := machineSecrets(at.files, env, member, self.DataDir)
	if err != nil {
		return "", err
	}
	if given.Named[name].Lacking != "" {
		return "", &exitError{exitUnavailable, fmt.Errorf("%s may have %s, and nobody has handed it the key yet", self.Name, name)}
	}
	return given.Named[name].Value, nil
}

// ownSecrets are those that the machine of the node that answers may have, for whoever may read its key.
func ownSecrets(ctx context.Context, client *api.Client, self api.SelfInfo) (*states.Secrets, error) {
	at, err := sealedNow(ctx, client, self.Env)
	if err != nil {
		return nil, err
	}
	member := membership.Member{ID: self.ID, Name: self.Name, Zone: self.Zone, Tags: grantedOf(self.Tags)}
	if given, err := machineSecrets(at.files, self.Env, member, self.DataDir); err == nil {
		return given, nil
	}
	given := standIns(at.all)(states.Node{Name: self.Name, Zone: self.Zone, Tags: self.Tags})
	for name, s := range given.Named {
		if s.Value = ""; s.Lacking == "" {
			s.Lacking = states.Unread
		}
		given.Named[name] = s
	}
	return given, nil
}

// machineSecrets opens with the key of a machine what is sealed for it.
func machineSecrets(tree fs.FS, env string, member membership.Member, dataDir string) (*states.Secrets, error) {
	key, err := readKey(filepath.Join(dataDir, nodeKeyFile))
	if errors.Is(err, fs.ErrPermission) {
		return nil, refused("the key of this machine is root's: %v", err)
	}
	if err != nil {
		return nil, badInput("the key of the node that answers is not on this machine: %v", err)
	}
	opener, err := agebox.NewNodeKey(key)
	if err != nil {
		return nil, err
	}
	return keyring.New(keysDir(dataDir), opener).Look(tree, env, member)
}

func keysDir(dataDir string) string { return filepath.Join(dataDir, "secrets") }
