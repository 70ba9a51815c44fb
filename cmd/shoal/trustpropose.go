package main

import (
	"github.com/spf13/cobra"

	"shoal/membership"
)

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
	cmd.AddCommand(newProposeGrants(t), newProposeGrant(t))
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
