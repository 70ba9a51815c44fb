package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/api"
	"shoal/store"
)

func newTrust(t *terminal) *cobra.Command {
	cmd := &cobra.Command{Use: "trust", Short: "Who may sign, and what only the operators can decide", Args: cobra.NoArgs}
	cmd.AddCommand(newTrustShow(t), newTrustKey(t), newTrustPropose(t), newTrustSign(t), newTrustPublish(t), newTrustUpdate(t), newRecoverHead(t), newTrustAdmission(t))
	for _, c := range cmd.Commands() {
		c.Args = inputArgs(c.Args)
	}
	return cmd
}

func newRecoverHead(t *terminal) *cobra.Command {
	var (
		yes, force bool
		file       string
	)
	cmd := &cobra.Command{
		Use:   "recover-head ENV",
		Short: "Choose new acceptors for an environment that has lost a majority of them for good",
		Long: `Choose new acceptors for an environment that has lost a majority of them for good.

Without --yes it tells what would be done: from which version the environment would go on, how many nodes hold that, and who
would decide from then on. With --yes you sign it with the operator's key and the mesh follows.

Whatever the lost acceptors committed that no node who answers knows of is given up. Should they come back, they follow the
others. So do this only when they are gone for good, and evict them first. Where several operators must sign, name a file with
-o: the others sign it with shoal trust sign, and shoal trust publish hands it in.`,
		Example: `  shoal trust recover-head production
  shoal trust recover-head production --yes`,
		Args: cobra.ExactArgs(1),
	}
	connect, key := nodeFlag(cmd), keyFlag(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "sign it and hand it in")
	cmd.Flags().BoolVar(&force, "force", false, "also while a majority of the acceptors is there")
	cmd.Flags().StringVarP(&file, "output", "o", "", "the `FILE` to write a proposal to, where several operators must sign")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := openAuthority()
		if err != nil {
			return err
		}
		if file == "" && a.chain.Threshold() > 1 {
			return badInput("%d operators must sign; name a file for the proposal with -o FILE", a.chain.Threshold())
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
		signer, err := a.home.operatorKey(key())
		if err != nil {
			return err
		}
		return a.recover(cmd.Context(), t, connect(), signer, file, standing)
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

// recover signs what was shown, and hands it in or writes it down for the others.
func (a authority) recover(ctx context.Context, t *terminal, client *api.Client, key crypto.Signer, file string, standing mesh.StandingInfo) error {
	recovery, err := standing.Recovery()
	if err != nil {
		return err
	}
	if recovery.Mesh != a.chain.Mesh() {
		return refused("%s is of mesh %s, your keys are for %s", standing.Env, recovery.Mesh, a.chain.Mesh())
	}
	if len(recovery.Value) > 0 { // what is signed here is what was shown
		v, _, err := store.OpenHeadValue(standing.Env, recovery.Value, a.chain)
		if err != nil || v.Version != standing.Version || v.Hash() != standing.Revision {
			return refused("the node proposes another version than it shows: %w", errors.Join(err, store.ErrCertificate))
		}
	}
	unsigned, err := membership.Unsigned(membership.DomainRecovery, recovery)
	if err != nil {
		return err
	}
	if err := t.propose(ctx, client, a, key, file, unsigned); err != nil || file != "" {
		return err
	}
	t.note("%s goes on from version %d; era %d has begun", standing.Env, standing.Version, recovery.Era)
	return nil
}
