package main

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"shoal/internal/ownfile"
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
	return ownfile.Write(path, s.Body, 0o600)
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
	if err := ownfile.Write(filepath.Join(h.dir, gossipKeyFile), ticket.GossipKey(), 0o600); err != nil {
		return err
	}
	return h.saveChain(chain)
}
