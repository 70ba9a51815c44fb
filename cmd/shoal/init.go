package main

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"shoal/internal/ownfile"
	"shoal/internal/signkey"
	"shoal/membership"
)

// founding is how a cluster begins.
type founding struct {
	dir, key, file string
	operators      []string
	threshold      int
	locked         bool
}

func newInit(t *terminal) *cobra.Command {
	var f founding
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a cluster: your operator key, the trust chain, the gossip key",
		Long: `Make a cluster: your operator key, the trust chain, the gossip key.

With --operators it begins as a proposal: each operator makes a key (shoal trust key > me.pub) and sends the public one to whoever runs
init; each signs the proposal (shoal trust sign), and when all have, shoal trust publish makes the trust chain. From then on
--threshold of them must sign whatever changes who may do what.`,
		Example: `  shoal init
  shoal init --operators alice.pub,bob.pub,carol.pub --threshold 2 -o genesis.proposal`,
		Args: cobra.NoArgs,
	}
	key := keyFlag(cmd)
	cmd.Flags().StringVar(&f.dir, "dir", "", "folder for the keys (default: SHOAL_HOME, then the configuration folder)")
	cmd.Flags().StringSliceVar(&f.operators, "operators", nil, "the `FILES` with the public keys of all operators, yours too")
	cmd.Flags().IntVar(&f.threshold, "threshold", 1, "how many operators must sign")
	cmd.Flags().StringVarP(&f.file, "output", "o", "genesis.proposal", "with --operators: the `FILE` that all sign")
	cmd.Flags().BoolVar(&f.locked, "passphrase", false, "lock the operator's key with a passphrase (asked for, or from SHOAL_PASSPHRASE_FILE)")
	cmd.RunE = func(*cobra.Command, []string) error {
		f.key = key()
		return t.found(f)
	}
	return cmd
}

func (t *terminal) found(f founding) error {
	h, err := openHome(f.dir)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(h.dir, chainFile)); err == nil {
		return badInput("%s holds a cluster already; name another folder with --dir", h.dir)
	}
	keys, err := f.keys()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return err
	}
	key, err := h.ownKey(f.key, f.locked, len(keys) > 0)
	if err != nil {
		return err
	}
	own := signkey.Public(key)
	if len(keys) == 0 {
		keys = []ed25519.PublicKey{own}
	}
	if !among(keys, own) {
		return badInput("your own key is not among --operators: %s", signkey.Line(own, ""))
	}
	nonce, gossip := make([]byte, 32), make([]byte, membership.GossipKeySize)
	if _, err := rand.Read(nonce); err != nil {
		return err
	}
	if _, err := rand.Read(gossip); err != nil {
		return err
	}
	genesis, err := membership.ProposeGenesis(nonce, f.threshold, keys...)
	if err != nil {
		return badInput("%v", err)
	}
	if genesis, err = genesis.Endorsed(key); err != nil {
		return err
	}
	if err := ownfile.Write(filepath.Join(h.dir, gossipKeyFile), gossip, 0o600); err != nil {
		return err
	}
	if len(keys) > 1 {
		return t.proposeGenesis(f, genesis, len(keys))
	}
	return t.birth(h, genesis)
}

// keys are those of --operators.
func (f founding) keys() (keys []ed25519.PublicKey, err error) {
	for _, path := range f.operators {
		key, err := readPublic(path)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if most := max(1, len(keys)); f.threshold < 1 || f.threshold > most {
		return nil, badInput("--threshold %d of %d operators", f.threshold, most)
	}
	return keys, nil
}

// ownKey is the key that is there, or a new one. Of several operators each has sent a public key: it must be there by now.
func (h home) ownKey(named string, locked, mustBe bool) (crypto.Signer, error) {
	_, plain := os.Lstat(filepath.Join(h.dir, operatorKeyFile))
	_, agent := os.Lstat(filepath.Join(h.dir, operatorKeyNameFile))
	if named == "" && errors.Is(plain, fs.ErrNotExist) && errors.Is(agent, fs.ErrNotExist) && mustBe {
		return nil, badInput("you have no key yet; make it with: shoal trust key")
	}
	if plain == nil || agent == nil {
		return h.operatorKey(named)
	}
	return h.makeOperatorKey(named, newKey, locked)
}

func newKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

func (t *terminal) proposeGenesis(f founding, genesis membership.Signed, n int) error {
	if err := writeProposals(f.file, []membership.Signed{genesis}); err != nil {
		return err
	}
	if t.json {
		return t.printJSON(map[string]any{"proposal": f.file, "operators": n, "threshold": f.threshold})
	}
	t.printf("A cluster of %d operators is proposed, signed by you: %s\n", n, t.paint(bold, f.file))
	t.printf("  the others:    shoal trust sign %s\n  then each:     shoal trust publish %s\n", f.file, f.file)
	t.printf("  who is to make tickets needs your gossip.key too: hand it over in secret\n")
	t.warnThreshold(f.threshold, n)
	return nil
}

// begin makes the trust chain of a genesis that all have signed.
func (t *terminal) begin(s membership.Signed, st membership.Statement) error {
	h, err := openHome("")
	if err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(h.dir, chainFile)); err == nil {
		return badInput("%s holds a cluster already", h.dir)
	}
	keys, err := signersOf(s)
	if err != nil {
		return err
	}
	for _, key := range st.Operators {
		if !among(keys, key) {
			return refused("%s has not signed yet", signkey.Fingerprint(key))
		}
	}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return err
	}
	return t.birth(h, s)
}

func (t *terminal) birth(h home, genesis membership.Signed) error {
	chain, err := membership.OpenChain([]membership.Signed{genesis})
	if err != nil {
		return refused("%v", err)
	}
	if err := h.saveChain(chain); err != nil { // last: its presence says that the rest is there
		return err
	}
	mesh, n := chain.Mesh(), len(chain.Operators())
	if t.json {
		return t.printJSON(map[string]string{"mesh": fmt.Sprintf("%x", mesh[:]), "dir": h.dir})
	}
	t.printf("A cluster is born: %s\n", t.paint(bold, fmt.Sprintf("%x", mesh[:6])))
	t.printf("  Keys and trust chain:  %s   (keep a copy of this folder somewhere safe)\n", h.dir)
	t.printf("  Operators:             %d of %d\n\n", chain.Threshold(), n)
	t.printf("Next, a ticket for the first machine:\n  shoal ticket --tag role=web --ttl 1h\n")
	t.warnThreshold(chain.Threshold(), n)
	if _, err := os.Lstat(filepath.Join(h.dir, gossipKeyFile)); err != nil {
		t.note("to make tickets you need the gossip.key of whoever ran shoal init, in %s", h.dir)
	}
	return nil
}

func (t *terminal) warnThreshold(threshold, n int) {
	switch {
	case n == 1:
		t.note("warning: one operator's key alone rules this cluster; whoever holds it holds every machine")
	case threshold == 1:
		t.note("warning: each of the %d operators' keys alone rules this cluster; whoever holds one holds every machine", n)
	}
}

// signGenesis adds the signature of one of those who are to rule.
func signGenesis(s membership.Signed, key crypto.Signer) (membership.Signed, error) {
	st, err := statementOf(s)
	if err != nil {
		return s, err
	}
	if err := st.CheckGenesis(); err != nil {
		return s, refused("%v", err)
	}
	if public := signkey.Public(key); !among(st.Operators, public) {
		return s, refused("your key %s is not among its operators", signkey.Fingerprint(public))
	}
	return s.Endorsed(key)
}

func newTrustKey(t *terminal) *cobra.Command {
	var locked bool
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Print your public key; the first time, make it",
		Long: `Print your public key, as a line of authorized_keys; the first time, make it. With --key ssh:… it is one that your SSH agent holds,
and SHOAL_HOME notes which.`,
		Args: cobra.NoArgs,
	}
	key := keyFlag(cmd)
	cmd.Flags().BoolVar(&locked, "passphrase", false, "lock a new key with a passphrase (asked for, or from SHOAL_PASSPHRASE_FILE)")
	cmd.RunE = func(*cobra.Command, []string) error {
		h, err := openHome("")
		if err != nil {
			return err
		}
		if err := os.MkdirAll(h.dir, 0o700); err != nil {
			return err
		}
		signer, err := h.ownKey(key(), locked, false)
		if err != nil {
			return err
		}
		public := signkey.Public(signer)
		if t.json {
			return t.printJSON(shownKey{Key: fmt.Sprintf("%x", public), Fingerprint: signkey.Fingerprint(public)})
		}
		t.printf("%s\n", signkey.Line(public, author()))
		return nil
	}
	return cmd
}
