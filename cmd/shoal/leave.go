package main

import (
	"context"
	"github.com/spf13/cobra"

	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/api"
	"shoal/secrets"
)

func newLeave(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "leave",
		Short: "Take a node out of the mesh for now: it says goodbye and stops",
		Args:  cobra.NoArgs,
	}
	connect := nodeFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client := connect()
		self, err := client.Self(cmd.Context())
		if err != nil {
			return err
		}
		if err := client.Leave(cmd.Context()); err != nil {
			return err
		}
		t.note("%s is leaving; it comes back when its agent is started again", self.Name)
		return nil
	}
	return cmd
}

func newEvict(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "evict NAME",
		Short: "Revoke a node's grant: the mesh drops it, for good",
		Long: `Revoke a node's grant: the mesh drops it, for good. It needs the operator's key, and cannot be taken back.

The node goes on keeping its machine as it is; stop its agent as well. The secrets that it could read are named: change them (shoal secret
set), since what a machine has read it knows. To take a node out for a while, use shoal leave. Where several
operators must sign, -o writes a proposal for the others (shoal trust sign, shoal trust publish).`,
		Args: cobra.ExactArgs(1),
	}
	var file string
	connect, key := nodeFlag(cmd), keyFlag(cmd)
	cmd.Flags().StringVarP(&file, "output", "o", "", "the `FILE` to write a proposal to, where several operators must sign")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client := connect()
		members, err := client.Members(cmd.Context())
		if err != nil {
			return err
		}
		for _, m := range members {
			if m.Name != args[0] && string(m.ID) != args[0] {
				continue
			}
			a, err := openAuthority()
			if err != nil {
				return err
			}
			signer, err := a.home.operatorKey(key())
			if err != nil {
				return err
			}
			// The name is for the operators who sign after this one, far from any node.
			unsigned, err := membership.Unsigned(membership.DomainRevocation, membership.Revocation{Mesh: a.chain.Mesh(), Node: m.ID, Why: "it is called " + m.Name})
			if err != nil {
				return err
			}
			if err := t.propose(cmd.Context(), client, a, signer, file, unsigned); err != nil || file != "" {
				return err
			}
			t.note("%s (%s) is evicted", m.Name, m.ID.Short())
			return t.sayExposed(cmd.Context(), client, m)
		}
		return badInput("no member %q; shoal members lists them", args[0])
	}
	return cmd
}

// exposedSecret is a secret that a machine could read which is evicted.
type exposedSecret struct {
	Name string `json:"name"`
	Env  string `json:"env"`
}

// sayExposed names the secrets that an evicted member could read: it stays evicted when that cannot be found out.
func (t *terminal) sayExposed(ctx context.Context, client *api.Client, m mesh.MemberInfo) error {
	env := secrets.EnvOf(m.Tags)
	at, err := sealedNow(ctx, client, env)
	if err != nil {
		t.note("    which secrets it could read is not known (%v): shoal secret list tells", err)
		return nil
	}
	list := []exposedSecret{}
	for _, s := range at.all {
		if s.Grants(membership.Member{ID: m.ID, Name: m.Name, Zone: m.Zone, Tags: m.Tags}) {
			list = append(list, exposedSecret{s.Name, env})
		}
	}
	if t.json {
		return t.printJSON(map[string]any{"evicted": m.Name, "id": m.ID, "exposed": list})
	}
	if len(list) > 0 {
		t.note("    it could read these; change them where they are used, and set them again:")
	}
	for _, s := range list {
		t.printf("shoal secret set %s --env %s\n", s.Name, s.Env)
	}
	return nil
}
