package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/api"
	"shoal/store"
)

func newTrust(t *terminal) *cobra.Command {
	cmd := &cobra.Command{Use: "trust", Short: "Decide what only the operators can", Args: cobra.NoArgs}
	cmd.AddCommand(newRecoverHead(t))
	for _, c := range cmd.Commands() {
		c.Args = inputArgs(c.Args)
	}
	return cmd
}

func newRecoverHead(t *terminal) *cobra.Command {
	var (
		yes, force bool
		signatures string
	)
	cmd := &cobra.Command{
		Use:   "recover-head ENV",
		Short: "Choose new acceptors for an environment that has lost a majority of them for good",
		Long: `Choose new acceptors for an environment that has lost a majority of them for good.

Without --yes it tells what would be done: from which version the environment would go on, how many nodes hold that, and who
would decide from then on. With --yes you sign it with the operator's key and the mesh follows.

Whatever the lost acceptors committed that no node who answers knows of is given up. Should they come back, they follow the
others. So do this only when they are gone for good, and evict them first. Where several operators must sign, name a file with
--signatures: each adds a signature, and the last one hands it in.`,
		Example: `  shoal trust recover-head production
  shoal trust recover-head production --yes`,
		Args: cobra.ExactArgs(1),
	}
	connect := nodeFlag(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "sign it and hand it in")
	cmd.Flags().BoolVar(&force, "force", false, "also while a majority of the acceptors is there")
	cmd.Flags().StringVar(&signatures, "signatures", "", "the `FILE` in which several operators gather their signatures")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := newSigner(signatures)
		if err != nil {
			return err
		}
		standing, err := connect().Standing(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if err := t.printStanding(standing); err != nil {
			return err
		}
		if standing.Deciding && !force {
			return badInput("a majority of the acceptors of %s is here: nothing is lost. Wait, or see shoal status\n    (--force begins anew all the same)", args[0])
		}
		if !yes {
			t.note("nothing was done; with --yes it is signed and done")
			return nil
		}
		return s.recover(cmd.Context(), t, connect(), standing)
	}
	return cmd
}

// printStanding tells what is left of an environment, and how it would go on.
func (t *terminal) printStanding(s mesh.StandingInfo) error {
	if t.json {
		return t.printJSON(s)
	}
	var rows [][]string
	for _, a := range s.Acceptors {
		rows = append(rows, []string{a.Name, string(a.Status), map[bool]string{true: "yes", false: "no"}[a.Votes]})
	}
	t.table([]string{"ACCEPTOR", "STATUS", "VOTES"}, rows)
	from := fmt.Sprintf("version %d (%s), held by %d of the %d nodes that answered", s.Version, s.Revision.Short(), s.HeldBy, s.Answered)
	switch {
	case s.Version == 0:
		from = "nothing: no revision was ever committed"
	case s.Accepted:
		from = fmt.Sprintf("version %d (%s), which an acceptor has accepted: whoever pushed it may have been told that it is committed", s.Version, s.Revision.Short())
	}
	t.printf("\n%s would go on from %s\nits new acceptors: %s\n", s.Env, from, strings.Join(s.Chosen, ", "))
	return nil
}

// signer signs a recovery, alone or as one of several.
type signer struct {
	home  home
	chain *membership.Chain
	file  string // of the signatures so far; empty: one is enough
}

func newSigner(file string) (signer, error) {
	h, err := openHome("")
	if err != nil {
		return signer{}, err
	}
	chain, err := h.chain()
	if err == nil && file == "" && chain.Threshold() > 1 {
		err = badInput("%d operators must sign; name a file for the signatures with --signatures", chain.Threshold())
	}
	return signer{h, chain, file}, err
}

func (s signer) recover(ctx context.Context, t *terminal, client *api.Client, standing mesh.StandingInfo) error {
	recovery, err := standing.Recovery()
	if err != nil {
		return err
	}
	if recovery.Mesh != s.chain.Mesh() {
		return &exitError{exitRefused, fmt.Errorf("%s is of mesh %s, your keys are for %s", standing.Env, recovery.Mesh, s.chain.Mesh())}
	}
	if len(recovery.Value) > 0 { // what is signed here is what was shown
		v, _, err := store.OpenHeadValue(standing.Env, recovery.Value, s.chain)
		if err != nil || v.Version != standing.Version || v.Hash() != standing.Revision {
			return &exitError{exitRefused, fmt.Errorf("the node proposes another version than it shows: %w", errors.Join(err, store.ErrCertificate))}
		}
	}
	signed, err := s.sign(recovery)
	if err != nil {
		return err
	}
	if n := len(signed.Signatures); n < s.chain.Threshold() {
		t.note("signed; %d of %d signatures are in %s", n, s.chain.Threshold(), s.file)
		return nil
	}
	if err := client.Recover(ctx, signed); err != nil {
		return err
	}
	t.note("%s goes on from version %d; era %d has begun", standing.Env, standing.Version, recovery.Era)
	return nil
}

// sign adds a signature to those that are in the file: to what the first operator signed, whatever the mesh shows by now.
func (s signer) sign(r store.Recovery) (membership.Signed, error) {
	key, err := s.home.operatorKey()
	if err != nil {
		return membership.Signed{}, err
	}
	if s.file == "" {
		return membership.Sign(membership.DomainRecovery, r, key)
	}
	before, err := readRecovery(s.file)
	if err != nil {
		return before, err
	}
	if len(before.Signatures) > 0 {
		var first store.Recovery
		if _, err := before.Open(membership.DomainRecovery, &first); err != nil {
			return before, badInput("%s: %v", s.file, err)
		}
		if first.Env != r.Env || first.Era != r.Era || string(first.Value) != string(r.Value) {
			return before, badInput("%s is for something else than what is shown; remove it, and let all sign anew", s.file)
		}
		r = first
	}
	signed, err := membership.Sign(membership.DomainRecovery, r, key)
	if err != nil {
		return signed, err
	}
	for _, sig := range before.Signatures {
		if !sig.Key.Equal(signed.Signatures[0].Key) {
			signed.Signatures = append(signed.Signatures, sig)
		}
	}
	data, err := codec.Marshal(signed)
	if err != nil {
		return signed, err
	}
	return signed, writeFile(s.file, data, 0o600)
}

func readRecovery(file string) (signed membership.Signed, err error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return signed, nil
	}
	if err == nil {
		err = codec.Unmarshal(data, &signed)
	}
	if err != nil {
		return signed, badInput("%s: %v", file, err)
	}
	return signed, nil
}
