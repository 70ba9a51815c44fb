package main

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"shoal/internal/ownfile"
	"shoal/mesh/api"
)

func newToken(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Let somebody ask this node over TCP",
		Long: `Let somebody ask this node over TCP (agent --api HOST:PORT), who shows a token.

The node keeps the hash of a token, and its holder the text: it is printed once, and shown to commands with SHOAL_TOKEN_FILE.
A token lets its holder hand something in, and never decide: what is pushed must be signed by a publisher, whoever brings it.`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(newTokenCreate(t), newTokenList(t), newTokenRevoke(t))
	for _, c := range cmd.Commands() {
		c.Args = inputArgs(c.Args)
	}
	return cmd
}

func accessFlags(cmd *cobra.Command) func() string {
	var root, dir string
	cmd.Flags().StringVar(&root, "root", "", "a folder, `DIR`, that stands for the machine")
	cmd.Flags().StringVar(&dir, "data-dir", "", "the agent's data folder (default: ROOT"+defaultDataDir+")")
	return func() string { return filepath.Join(dataDir(dir, cmp.Or(root, "/")), accessDir) }
}

func newTokenCreate(t *terminal) *cobra.Command {
	var scopes []string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token, and print it",
		Long: `Make a token, and print it. A scope is read (ask for members, status, reports, trees), push:ENV (and read; hand in revisions of
one environment, or of all: push:*) or records (hand in what operators have signed). No token lets a node leave.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringArrayVar(&scopes, "scope", []string{api.ScopeRead}, "read, push:`ENV` or records (repeatable)")
	cmd.Flags().DurationVar(&ttl, "ttl", 90*24*time.Hour, "how long it holds")
	dir := accessFlags(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		token, text, err := api.NewToken(rand.Reader, args[0], scopes, time.Now(), ttl)
		if err != nil {
			return badInput("%v", err)
		}
		if err := changeTokens(dir(), func(tokens []api.Token) ([]api.Token, error) {
			if slices.ContainsFunc(tokens, func(t api.Token) bool { return t.Name == token.Name }) {
				return nil, badInput("there is a token %s already; revoke it first", token.Name)
			}
			if len(tokens) >= api.MaxTokens {
				return nil, badInput("there are %d tokens; revoke some", len(tokens))
			}
			return append(tokens, token), nil
		}); err != nil {
			return err
		}
		t.note("%s may %s until %s; the agent knows it at once", token.Name, strings.Join(token.Scopes, ", "), token.Expires.Format(time.DateOnly))
		t.printf("%s\n", text)
		return nil
	}
	return cmd
}

func newTokenList(t *terminal) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the tokens of this node", Args: cobra.NoArgs}
	dir := accessFlags(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		tokens, err := readTokens(dir())
		if err != nil {
			return badInput("%v", err)
		}
		if t.json {
			return t.printJSON(append([]api.Token{}, tokens...))
		}
		for _, token := range tokens {
			state := "until"
			if time.Now().After(token.Expires) {
				state = "ended"
			}
			t.printf("%-20s  %s %s  %s\n", token.Name, state, token.Expires.Format(time.DateOnly), strings.Join(token.Scopes, ", "))
		}
		return nil
	}
	return cmd
}

func newTokenRevoke(t *terminal) *cobra.Command {
	cmd := &cobra.Command{Use: "revoke NAME", Short: "End a token, from the next request on", Args: cobra.ExactArgs(1)}
	dir := accessFlags(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		return changeTokens(dir(), func(tokens []api.Token) ([]api.Token, error) {
			left := slices.DeleteFunc(slices.Clone(tokens), func(t api.Token) bool { return t.Name == args[0] })
			if len(left) == len(tokens) {
				return nil, badInput("there is no token %s", args[0])
			}
			return left, nil
		})
	}
	return cmd
}

// changeTokens replaces the list in one step; two who change it wait for each other.
func changeTokens(dir string, change func([]api.Token) ([]api.Token, error)) error {
	if err := makeFolders("", filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return badInput("tokens: %v", err)
	}
	folder, err := os.Open(dir)
	if err != nil {
		return badInput("tokens: %v", err)
	}
	defer folder.Close() // and with it the lock
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	tokens, err := readTokens(dir)
	if err == nil {
		tokens, err = change(tokens)
	}
	var data []byte
	if err == nil {
		data, err = api.FormatTokens(tokens)
	}
	if err != nil {
		return err
	}
	if err := ownfile.Write(filepath.Join(dir, tokensFile), data, 0o600); err != nil {
		return badInput("tokens: %v", err)
	}
	return readableBelow(dir)
}
