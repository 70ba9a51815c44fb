package main

import (
	"context"
	"crypto/ed25519"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"shoal/membership"
	"shoal/mesh/api"
)

// newProposeGrants renews grants before they end, and is for the days before an operator goes: what rests on their signature would
// lapse with them.
func newProposeGrants(t *terminal) *cobra.Command {
	var (
		file        string
		ttl, within time.Duration
	)
	cmd := &cobra.Command{
		Use:   "grants [NAME...]",
		Short: "Sign anew what the members are: with a new end, or so that it does not rest on an operator who goes",
		Long: `Sign anew what the members are, all or those that are named: their names, tags and zones as they are, their ends too unless --ttl says
another. The new grant holds at once and the old one until its end, so nothing waits for the change; a machine that is off meanwhile gets the
new one from any member when it is back, also after the old one has ended.

What an operator signed counts only as long as they are one, so do this, without them, before remove-operator: a machine whose ticket then
lacks signatures is no member any more.`,
		Example: `  shoal trust propose grants --ttl 2160h                  # all members, for 90 days
  shoal trust propose grants --within 720h --ttl 2160h    # those that end within 30 days: for a timer`,
	}
	connect, key := nodeFlag(cmd), keyFlag(cmd)
	cmd.Flags().StringVarP(&file, "output", "o", "", "the `FILE` to write the proposal to")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how long the new grants hold (default: to the same end as the old)")
	cmd.Flags().DurationVar(&within, "within", 0, "only grants that have ended, or end within this time")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if ttl < 0 || within < 0 {
			return badInput("--ttl and --within must be above zero")
		}
		a, err := openAuthority()
		if err != nil {
			return err
		}
		now := time.Now()
		roster, err := t.shownRoster(cmd.Context(), connect(), a)
		if err != nil {
			return err
		}
		grants, err := renewed(roster, args, ttl, within, now)
		if err != nil {
			return err
		}
		if len(grants) == 0 && within > 0 {
			t.note("no grant ends within %s", within)
			return nil
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

// shownRoster is the roster that a node shows, as far as the own trust chain bears it out.
func (t *terminal) shownRoster(ctx context.Context, client *api.Client, a authority) (*membership.Roster, error) {
	records, err := client.Roster(ctx)
	if err != nil {
		return nil, err
	}
	roster := membership.NewRoster(a.chain)
	if _, err := roster.Add(time.Now(), records...); err != nil {
		t.note("of what the node shows, this does not hold: %v", err)
	}
	return roster, nil
}

// renewed are the grants of members to sign anew; with within also of those whose grants have just ended.
func renewed(roster *membership.Roster, names []string, ttl, within time.Duration, now time.Time) (grants []membership.Signed, err error) {
	members := roster.Members(now)
	if within > 0 {
		members = roster.Ending(now, within)
	}
	for _, m := range members {
		if len(names) > 0 && !slices.Contains(names, m.Name) {
			continue
		}
		g := membership.Grant{Mesh: roster.Chain().Mesh(), Node: m.ID, Name: strings.Split(m.Name, "~")[0], Tags: m.Tags, Zone: m.Zone, Serial: roster.NextSerial(m.ID, now)}
		if !m.Expires.IsZero() {
			g.NotAfter = m.Expires.Unix()
		}
		if ttl > 0 {
			g.NotAfter = now.Add(ttl).Unix()
		}
		s, err := membership.Unsigned(membership.DomainGrant, g)
		if err != nil {
			return nil, err
		}
		grants = append(grants, s)
	}
	return grants, nil
}

// newProposeGrant makes a machine a member whose key is known, without a ticket.
func newProposeGrant(t *terminal) *cobra.Command {
	var (
		name, zone, file string
		tags             []string
		ttl              time.Duration
	)
	cmd := &cobra.Command{
		Use:   "grant NODE --name NAME",
		Short: "Make a machine a member whose key is known, without a ticket",
		Long: `Make a machine a member whose key is known, without a ticket: NODE is what shoal agent --print-id prints there. For a member it takes
the place of what it was granted before.

Where one operator is enough the line is printed that the machine's agent takes as --ticket; where several must sign, shoal trust admission
prints it later. It is no secret.`,
		Example: `  shoal trust propose grant 12D3KooW... --name db-1 --tag role=db --zone fra --ttl 2160h`,
		Args:    cobra.ExactArgs(1),
	}
	connect, key := nodeFlag(cmd), keyFlag(cmd)
	cmd.Flags().StringVarP(&file, "output", "o", "", "the `FILE` to write the proposal to")
	cmd.Flags().StringVar(&name, "name", "", "what the machine is called")
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "a tag that the machine is granted, `K=V` (repeatable)")
	cmd.Flags().StringVar(&zone, "zone", "", "the zone that the machine is in; copies spread over zones")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how long the grant holds (default: it does not end)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		granted, err := parseTags(tags)
		if err != nil {
			return err
		}
		a, err := openAuthority()
		if err != nil {
			return err
		}
		now := time.Now()
		roster, err := t.shownRoster(cmd.Context(), connect(), a)
		if err != nil {
			return err
		}
		node := membership.NodeID(args[0])
		if _, evicted := roster.Revocation(node); evicted {
			return badInput("%s was evicted, and its key counts for nothing any more; remove its data folder, and grant its new key", node)
		}
		g := membership.Grant{Mesh: a.chain.Mesh(), Node: node, Name: name, Tags: granted, Zone: zone, Serial: roster.NextSerial(node, now)}
		if ttl < 0 {
			return badInput("--ttl must be above zero")
		}
		if ttl > 0 {
			g.NotAfter = now.Add(ttl).Unix()
		}
		unsigned, err := membership.SignGrant(g) // by nobody yet: it is checked
		if err != nil {
			return badInput("%v", err)
		}
		signer, err := a.home.operatorKey(key())
		if err != nil {
			return err
		}
		records := []membership.Signed{unsigned}
		if err := t.propose(cmd.Context(), connect(), a, signer, file, records...); err != nil || file != "" {
			return err
		}
		return t.printAdmission(a, records[0])
	}
	return cmd
}

func newTrustAdmission(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "admission NAME",
		Short: "Print the line with which a machine joins whose key was granted a place",
		Long: `Print the line with which a machine joins whose key was granted a place (shoal trust propose grant): its agent takes it as --ticket, with
--join. NAME is its name or its id. The line is no secret.`,
		Args: cobra.ExactArgs(1),
	}
	connect := nodeFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := openAuthority()
		if err != nil {
			return err
		}
		if err := a.update(cmd.Context(), connect()); err != nil {
			return err
		}
		roster, err := t.shownRoster(cmd.Context(), connect(), a)
		if err != nil {
			return err
		}
		id := membership.NodeID(args[0])
		if m, ok := roster.Named(args[0], time.Now()); ok {
			id = m.ID
		}
		for _, s := range roster.Grants(id) {
			if s.Domain == membership.DomainGrant {
				return t.printAdmission(a, s)
			}
		}
		return badInput("no grant for %q; one that joined with a ticket needs none", args[0])
	}
	return cmd
}

func (t *terminal) printAdmission(a authority, s membership.Signed) error {
	admission, err := membership.NewAdmission(a.chain, s)
	if err != nil {
		return badInput("%v", err)
	}
	if t.json {
		return t.printJSON(map[string]any{"admission": admission.String()})
	}
	t.printf("%s\n", admission)
	return nil
}

// printNodeID prints who this machine is, and makes its key the first time.
func (t *terminal) printNodeID(c agentConfig) error {
	if err := makeFolders(c.Root, c.DataDir); err != nil {
		return err
	}
	key, err := nodeKey(filepath.Join(c.DataDir, nodeKeyFile))
	if err != nil {
		return err
	}
	id := membership.IDOf(key.Public().(ed25519.PublicKey))
	if t.json {
		return t.printJSON(map[string]any{"id": id})
	}
	t.printf("%s\n", id)
	return nil
}
