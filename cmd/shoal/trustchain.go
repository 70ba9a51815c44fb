package main

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"shoal/internal/signkey"
	"shoal/membership"
	"shoal/mesh/api"
)

// authority is this operator's folder, opened to sign.
type authority struct {
	home  home
	chain *membership.Chain
}

func openAuthority() (authority, error) {
	h, err := openHome("")
	if err != nil {
		return authority{}, err
	}
	chain, err := h.chain()
	return authority{h, chain}, err
}

// fits tells whether a record may be signed: what it is about must be what this folder knows.
func (a authority) fits(s membership.Signed) error {
	if s.Domain == membership.DomainStatement {
		st, err := statementOf(s)
		if err != nil {
			return err
		}
		switch err := a.chain.Fits(st); {
		case errors.Is(err, membership.ErrFork):
			return refused("it is for height %d, and the trust chain is at height %d already: it is out of date, propose it again", st.Height, a.chain.Height())
		case errors.Is(err, membership.ErrGap):
			return refused("it is for height %d, and your copy of the trust chain ends at height %d: shoal trust update", st.Height, a.chain.Height())
		case err != nil:
			return refused("statement %d: %w", st.Height, err)
		}
		return nil
	}
	_, mesh, err := words(s)
	if err != nil {
		return err
	}
	if mesh != a.chain.Mesh() {
		return refused("it is for mesh %s, and your keys are for %s", mesh, a.chain.Mesh())
	}
	return nil
}

// sign adds the operator's signature, when the operator may give it.
func (a authority) sign(s membership.Signed, key crypto.Signer, again bool) (membership.Signed, error) {
	if err := a.fits(s); err != nil {
		return s, err
	}
	public := signkey.Public(key)
	if !among(a.chain.Operators(), public) {
		return s, refused("your key %s is not that of an operator of this mesh", signkey.Fingerprint(public))
	}
	if s.Domain == membership.DomainStatement {
		if err := a.home.remember(s, public, again); err != nil {
			return s, err
		}
	}
	return s.Endorsed(key)
}

// remember writes down that a statement was signed, before it is: who signs two of one height forks the chain.
func (h home) remember(s membership.Signed, key ed25519.PublicKey, again bool) error {
	st, err := statementOf(s)
	if err != nil {
		return err
	}
	dir := filepath.Join(h.dir, "signed")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, fmt.Sprintf("%x-%x-%d", st.Mesh[:8], key[:8], st.Height))
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && string(before) != string(s.Body) && !again {
		return refused("you have signed another statement for height %d; two of one height fork the trust chain.\n    If nobody can publish the other any more, say --again", st.Height)
	}
	return writeFile(path, s.Body, 0o600)
}

// missing tells how many signatures of operators a record lacks.
func (a authority) missing(s membership.Signed) (int, error) {
	keys, err := signersOf(s)
	if err != nil {
		return 0, err
	}
	n := a.chain.Threshold()
	for _, key := range keys {
		if among(a.chain.Operators(), key) {
			n--
		}
	}
	return max(n, 0), nil
}

// describe shows records and who has signed them.
func (t *terminal) describe(records []membership.Signed) error {
	for _, s := range records {
		text, mesh, err := words(s)
		if err != nil {
			return err
		}
		signers, err := signersOf(s)
		if err != nil {
			return err
		}
		if mesh != (membership.MeshID{}) {
			text += "\n    of mesh " + mesh.String()[:12]
		}
		t.note("%s", printable(text))
		for _, key := range signers {
			t.note("    signed by %s", signkey.Fingerprint(key))
		}
	}
	return nil
}

// printable keeps what a file says from moving the cursor.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

// propose hands a record over to the operators: to a file where several must sign, with this operator's signature; or it is published.
func (t *terminal) propose(ctx context.Context, client *api.Client, a authority, key crypto.Signer, file string, records ...membership.Signed) error {
	if file == "" && a.chain.Threshold() > 1 {
		return badInput("%d operators must sign; name a file for the proposal with -o FILE", a.chain.Threshold())
	}
	for i, s := range records {
		signed, err := a.sign(s, key, false)
		if err != nil {
			return err
		}
		records[i] = signed
	}
	if err := t.describe(records); err != nil {
		return err
	}
	if file == "" {
		return t.publishRecords(ctx, client, a, records)
	}
	if err := writeProposals(file, records); err != nil {
		return err
	}
	t.note("\nwritten to %s, signed by you\n    the others: shoal trust sign %s\n    then anyone: shoal trust publish %s", file, file, file)
	return nil
}

// update takes in what a node knows of the trust chain.
func (a *authority) update(ctx context.Context, client *api.Client) error {
	records, err := client.Roster(ctx)
	if err != nil {
		return err
	}
	statements := slices.DeleteFunc(records, func(s membership.Signed) bool { return s.Domain != membership.DomainStatement })
	if len(statements) == 0 {
		return nil // a node without a mesh
	}
	longer, err := a.chain.Extended(statements)
	if err != nil {
		return refused("the trust chain that the node shows: %w", err)
	}
	if longer == a.chain {
		return nil
	}
	a.chain = longer
	return a.home.saveChain(longer)
}

// publishRecords gives records with enough signatures to the mesh, through one node.
func (t *terminal) publishRecords(ctx context.Context, client *api.Client, a authority, records []membership.Signed) error {
	for _, s := range records {
		if s.Domain != membership.DomainTicket {
			if err := a.update(ctx, client); err != nil {
				return err
			}
			break
		}
	}
	for _, s := range records {
		if err := a.fits(s); err != nil {
			return err
		}
		n, err := a.missing(s)
		if err != nil {
			return err
		}
		if n > 0 {
			text, _, _ := words(s)
			return refused("%d more of %d signatures are needed: %s", n, a.chain.Threshold(), printable(text))
		}
	}
	for _, s := range records {
		if err := t.publishOne(ctx, client, &a, s); err != nil {
			return err
		}
	}
	return nil
}

func (t *terminal) publishOne(ctx context.Context, client *api.Client, a *authority, s membership.Signed) error {
	switch s.Domain {
	case membership.DomainTicket:
		return t.finishTicket(*a, s)
	case membership.DomainRecovery:
		return client.Recover(ctx, s)
	case membership.DomainStatement:
		longer, err := a.chain.Extended([]membership.Signed{s})
		if err != nil {
			return refused("%w", err)
		}
		// The whole chain: the node may be one that was away.
		if err := client.Submit(ctx, longer.Statements()); err != nil {
			return err
		}
		a.chain = longer
		if err := a.home.saveChain(longer); err != nil {
			return err
		}
		t.note("%s the trust chain is at height %d", t.tint(green, "published:"), longer.Height())
		return nil
	}
	if err := client.Submit(ctx, []membership.Signed{s}); err != nil {
		return err
	}
	text, _, _ := words(s)
	t.note("%s %s", t.tint(green, "published:"), printable(text))
	return nil
}

func newTrustPropose(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "propose",
		Short: "Write down a statement for the operators to sign",
		Args:  cobra.NoArgs,
		Long: `Write down a statement for the operators to sign, and sign it first. KEY is a file with a public key, or the key itself.
Where one operator is enough and no file is named, it is published at once.`,
	}
	for _, k := range []struct {
		name, short string
		kind        membership.StatementKind
	}{
		{"add-operator", "Somebody more may sign", membership.AddOperator},
		{"remove-operator", "Somebody may not sign any more; the grants and tickets that then lack signatures lapse", membership.RemoveOperator},
		{"grant-publisher", "A key may publish environments", membership.GrantPublisher},
		{"revoke-publisher", "A key may publish nothing any more", membership.RevokePublisher},
	} {
		cmd.AddCommand(newProposeKind(t, k.name, k.short, k.kind))
	}
	cmd.AddCommand(newProposeGrants(t))
	for _, c := range cmd.Commands() {
		c.Args = inputArgs(c.Args)
	}
	return cmd
}

func newProposeKind(t *terminal, name, short string, kind membership.StatementKind) *cobra.Command {
	var file string
	var envs []string
	cmd := &cobra.Command{Use: name + " KEY", Short: short, Args: cobra.ExactArgs(1)}
	connect, key := nodeFlag(cmd), keyFlag(cmd)
	cmd.Flags().StringVarP(&file, "output", "o", "", "the `FILE` to write the proposal to")
	if kind == membership.GrantPublisher {
		cmd.Flags().StringSliceVar(&envs, "env", nil, "an environment that it may publish; * for every one (repeatable)")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		public, err := readPublic(args[0])
		if err != nil {
			return err
		}
		if kind == membership.GrantPublisher && len(envs) == 0 {
			return badInput("which environments? --env E, or --env '*' for every one")
		}
		a, err := openAuthority()
		if err != nil {
			return err
		}
		if file == "" && a.chain.Threshold() == 1 { // at once: on what the mesh has now
			if err := a.update(cmd.Context(), connect()); err != nil {
				return err
			}
		}
		s, err := membership.Unsigned(membership.DomainStatement, a.chain.Propose(membership.Statement{Kind: kind, Key: public, Envs: envs}))
		if err != nil {
			return err
		}
		signer, err := a.home.operatorKey(key())
		if err != nil {
			return err
		}
		return t.propose(cmd.Context(), connect(), a, signer, file, s)
	}
	return cmd
}

func newTrustSign(t *terminal) *cobra.Command {
	var yes, again bool
	cmd := &cobra.Command{
		Use:   "sign FILE",
		Short: "Read a proposal, and sign it; offline",
		Long: `Read a proposal, and sign it; offline. What is signed is shown in words first. A proposal that does not fit the trust chain as your
SHOAL_HOME knows it is refused (exit status 5), and so is a second statement for a height for which you have signed one.`,
		Args: cobra.ExactArgs(1),
	}
	key := keyFlag(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&again, "again", false, "also when you have signed another statement for the same height")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		records, err := readProposals(args[0])
		if err != nil {
			return err
		}
		if err := t.describe(records); err != nil {
			return err
		}
		h, err := openHome("")
		if err != nil {
			return err
		}
		sign, err := signingOf(h, records, again)
		if err != nil {
			return err
		}
		if !yes {
			if ok, err := confirmed("Sign this?"); err != nil || !ok {
				return errors.Join(err, badInput("nothing was signed"))
			}
		}
		signer, err := h.operatorKey(key())
		if err != nil {
			return err
		}
		for i := range records {
			if records[i], err = sign(records[i], signer); err != nil {
				return err
			}
		}
		if err := writeProposals(args[0], records); err != nil {
			return err
		}
		t.note("signed by %s", signkey.Fingerprint(signkey.Public(signer)))
		return nil
	}
	return cmd
}

// signingOf is how records are signed: a genesis without a chain, all else by it. What does not fit is refused before anybody is asked.
func signingOf(h home, records []membership.Signed, again bool) (func(membership.Signed, crypto.Signer) (membership.Signed, error), error) {
	if len(records) == 1 {
		if st, err := statementOf(records[0]); err == nil && records[0].Domain == membership.DomainStatement && st.Kind == membership.Genesis {
			return signGenesis, nil
		}
	}
	chain, err := h.chain()
	if err != nil {
		return nil, err
	}
	a := authority{h, chain}
	for _, s := range records {
		if err := a.fits(s); err != nil {
			return nil, err
		}
	}
	return func(s membership.Signed, key crypto.Signer) (membership.Signed, error) { return a.sign(s, key, again) }, nil
}

func newTrustPublish(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "publish FILE...",
		Short: "Give a proposal that enough operators have signed to the mesh, through any node",
		Long: `Give a proposal that enough operators have signed to the mesh, through any node. Of several files the signatures are put
together. The beginning of a cluster (shoal init --operators) and a ticket need no node: the one makes the trust chain in your SHOAL_HOME,
the other is printed.`,
		Args: cobra.MinimumNArgs(1),
	}
	connect := nodeFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		records, err := readProposals(args...)
		if err != nil {
			return err
		}
		for _, s := range records {
			if st, err := statementOf(s); s.Domain == membership.DomainStatement && err == nil && st.Kind == membership.Genesis {
				return t.begin(s, st)
			}
		}
		a, err := openAuthority()
		if err != nil {
			return err
		}
		return t.publishRecords(cmd.Context(), connect(), a, records)
	}
	return cmd
}

func newTrustUpdate(t *terminal) *cobra.Command {
	var ticket string
	cmd := &cobra.Command{
		Use:   "update",
		Short: "Bring your copy of the trust chain up to date, from any node",
		Long: `Bring your copy of the trust chain up to date, from any node. With --ticket a folder that has none begins with what the ticket
holds: its trust chain and the gossip key. It need not be redeemed for that.`,
		Args: cobra.NoArgs,
	}
	connect := nodeFlag(cmd)
	cmd.Flags().StringVar(&ticket, "ticket", "", "begin with this `TICKET`, or @FILE")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		h, err := openHome("")
		if err != nil {
			return err
		}
		if ticket != "" {
			if err := h.beginWith(ticket); err != nil {
				return err
			}
			t.note("%s has the ticket's trust chain", h.dir)
			return nil
		}
		chain, err := h.chain()
		if err != nil {
			return err
		}
		a := authority{h, chain}
		if err := a.update(cmd.Context(), connect()); err != nil {
			return err
		}
		t.note("the trust chain is at height %d", a.chain.Height())
		return nil
	}
	return cmd
}

// beginWith makes a folder of an operator or a publisher from a ticket.
func (h home) beginWith(text string) error {
	if _, err := os.Lstat(filepath.Join(h.dir, chainFile)); err == nil {
		return badInput("%s holds a cluster already", h.dir)
	}
	text, err := readTicket(text)
	if err != nil {
		return err
	}
	ticket, err := membership.ParseTicket(text)
	if err != nil {
		return badInput("%v", err)
	}
	chain, err := ticket.Chain()
	if err != nil {
		return badInput("%v", err)
	}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(h.dir, gossipKeyFile), ticket.GossipKey(), 0o600); err != nil {
		return err
	}
	return h.saveChain(chain)
}

type shownKey struct {
	Key          string   `json:"key"`
	Fingerprint  string   `json:"fingerprint"`
	Environments []string `json:"environments,omitempty"`
}

type shownFork struct {
	Height uint64   `json:"height"`
	Holds  string   `json:"holds"`
	Lost   string   `json:"lost"`
	Both   []string `json:"signed_both"`
	Open   bool     `json:"undecided"`
}

type shownChain struct {
	Mesh       string      `json:"mesh"`
	Height     uint64      `json:"height"`
	Tip        string      `json:"tip"`
	Threshold  int         `json:"threshold"`
	Operators  []shownKey  `json:"operators"`
	Publishers []shownKey  `json:"publishers"`
	Forks      []shownFork `json:"forks,omitempty"`
}

func shownOf(chain *membership.Chain) (shownChain, error) {
	tip := chain.Tip()
	c := shownChain{Mesh: chain.Mesh().String(), Height: chain.Height(), Tip: hex.EncodeToString(tip[:]), Threshold: chain.Threshold()}
	for _, key := range chain.Operators() {
		c.Operators = append(c.Operators, shownKey{Key: hex.EncodeToString(key), Fingerprint: signkey.Fingerprint(key)})
	}
	for key, envs := range chain.Publishers() {
		k := ed25519.PublicKey(key)
		c.Publishers = append(c.Publishers, shownKey{hex.EncodeToString(k), signkey.Fingerprint(k), envs})
	}
	slices.SortFunc(c.Publishers, func(a, b shownKey) int { return strings.Compare(a.Key, b.Key) })
	for _, f := range chain.Forks() {
		holds, _, err := words(f.Holds)
		if err != nil {
			return c, err
		}
		lost, _, err := words(f.Lost)
		if err != nil {
			return c, err
		}
		shown := shownFork{Height: f.Height, Holds: printable(holds), Lost: printable(lost), Open: f.Open, Both: []string{}}
		for _, key := range f.Both {
			shown.Both = append(shown.Both, signkey.Fingerprint(key))
		}
		c.Forks = append(c.Forks, shown)
	}
	return c, nil
}

func newTrustShow(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Who the operators and publishers are, and how high the trust chain is; or what a proposal says",
		Long: `Who the operators and publishers are, and how high the trust chain is, as your SHOAL_HOME knows it; with --node as that node knows it;
with FILE what a proposal says. Where operators have signed two statements of one height, that is shown, with the keys that signed both.`,
		Args: cobra.MaximumNArgs(1),
	}
	connect := nodeFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			records, err := readProposals(args[0])
			if err != nil {
				return err
			}
			return t.describe(records)
		}
		chain, err := chainToShow(cmd.Context(), connect, cmd.Flags().Changed("node"))
		if err != nil {
			return err
		}
		shown, err := shownOf(chain)
		if err != nil {
			return err
		}
		if t.json {
			return t.printJSON(shown)
		}
		t.printChain(shown)
		return nil
	}
	return cmd
}

func chainToShow(ctx context.Context, connect func() *api.Client, ofNode bool) (*membership.Chain, error) {
	if !ofNode {
		a, err := openAuthority()
		return a.chain, err
	}
	records, err := connect().Roster(ctx)
	if err != nil {
		return nil, err
	}
	statements := slices.DeleteFunc(records, func(s membership.Signed) bool { return s.Domain != membership.DomainStatement })
	if len(statements) == 0 {
		return nil, badInput("the node has no mesh")
	}
	return membership.RestoreChain(statements)
}

func (t *terminal) printChain(c shownChain) {
	t.printf("mesh %s, height %d; %d of %d operators must sign\n\n", c.Mesh[:12], c.Height, c.Threshold, len(c.Operators))
	var rows [][]string
	for _, k := range c.Operators {
		rows = append(rows, []string{"operator", k.Fingerprint, ""})
	}
	for _, k := range c.Publishers {
		rows = append(rows, []string{"publisher", k.Fingerprint, strings.Join(k.Environments, " ")})
	}
	t.table([]string{"MAY", "KEY", "ENVIRONMENTS"}, rows)
	for _, f := range c.Forks {
		t.printf("\n%s at height %d\n  holds:  %s\n  lost:   %s\n", t.paint(yellow, "FORK"), f.Height, f.Holds, f.Lost)
		for _, key := range f.Both {
			t.printf("  signed both: %s\n", key)
		}
		if f.Open {
			t.printf("  %s each side has removed operators of the other: nodes stay with what they saw first\n", t.paint(red, "undecided:"))
		}
	}
}

// newProposeGrants is for the days before an operator goes: what rests on their signature would lapse with them.
func newProposeGrants(t *terminal) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "grants [NAME...]",
		Short: "Sign anew what the members are, so that it does not rest on an operator who goes",
		Long: `Sign anew what the members are, all or those that are named: their names, tags and zones as they are. What an operator signed counts only
as long as they are one, so do this, without them, before remove-operator: a machine whose ticket then lacks signatures is no member
any more.`,
	}
	connect, key := nodeFlag(cmd), keyFlag(cmd)
	cmd.Flags().StringVarP(&file, "output", "o", "", "the `FILE` to write the proposal to")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := openAuthority()
		if err != nil {
			return err
		}
		records, err := connect().Roster(cmd.Context())
		if err != nil {
			return err
		}
		now, roster := time.Now(), membership.NewRoster(a.chain)
		if _, err := roster.Add(now, records...); err != nil {
			t.note("of what the node shows, this does not hold: %v", err)
		}
		var grants []membership.Signed
		for _, m := range roster.Members(now) {
			if len(args) > 0 && !slices.Contains(args, m.Name) {
				continue
			}
			g := membership.Grant{Mesh: a.chain.Mesh(), Node: m.ID, Name: strings.Split(m.Name, "~")[0], Tags: m.Tags, Zone: m.Zone, Serial: uint64(now.Unix())}
			if !m.Expires.IsZero() {
				g.NotAfter = m.Expires.Unix()
			}
			s, err := membership.Unsigned(membership.DomainGrant, g)
			if err != nil {
				return err
			}
			grants = append(grants, s)
		}
		if len(grants) == 0 {
			return badInput("no such members")
		}
		signer, err := a.home.operatorKey(key())
		if err != nil {
			return err
		}
		return t.propose(cmd.Context(), connect(), a, signer, file, grants...)
	}
	return cmd
}
