package main

import (
	"slices"
	"strings"
	"time"

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
