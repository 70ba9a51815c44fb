package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"shoal/internal/ownfile"
	"shoal/membership"
)

func newTicket(t *terminal) *cobra.Command {
	var (
		tags       []string
		zone, file string
		ttl        time.Duration
		uses       int
	)
	cmd := &cobra.Command{
		Use:   "ticket --tag k=v ... --ttl 1h",
		Short: "Make a join ticket, offline: one line that holds all a machine needs",
		Long: `Make a join ticket, offline: one line that holds all a machine needs to join, with the tags and the zone that it is granted.
It is a secret until it is used up or over.

Where several operators must sign, -o writes a proposal that the others sign (shoal trust sign); it holds no secret. Then shoal trust
publish prints the ticket, on the machine where it was proposed: what makes it a ticket stays in your SHOAL_HOME.`,
		Example: `  shoal ticket --tag role=web --tag dc=fra --ttl 1h > ticket
  shoal agent --ticket @ticket --join 192.0.2.10:7946   # on the machine`,
		Args: cobra.NoArgs,
	}
	key := keyFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		granted, err := parseTags(tags)
		if err != nil {
			return err
		}
		if ttl <= 0 || uses < 1 {
			return badInput("--ttl and --uses must be above zero")
		}
		return t.ticket(membership.TicketSpec{Tags: granted, Zone: zone, Expires: time.Now().Add(ttl), Uses: uses}, key(), file)
	}
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "a tag that the machine is granted, `K=V` (repeatable)")
	cmd.Flags().StringVar(&zone, "zone", "", "the zone that the machine is in; copies spread over zones")
	cmd.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long the ticket may be used")
	cmd.Flags().IntVar(&uses, "uses", 1, "how many machines may join with it")
	cmd.Flags().StringVarP(&file, "output", "o", "", "the `FILE` to write a proposal to, where several operators must sign")
	return cmd
}

// ticket makes a ticket, or proposes one.
func (t *terminal) ticket(spec membership.TicketSpec, named, file string) error {
	a, err := openAuthority()
	if err != nil {
		return err
	}
	if file == "" && a.chain.Threshold() > 1 {
		return badInput("%d operators must sign; name a file for the proposal with -o FILE", a.chain.Threshold())
	}
	key, err := a.home.operatorKey(named)
	if err != nil {
		return err
	}
	unsigned, seed, err := membership.ProposeTicket(rand.Reader, a.chain, spec)
	if err != nil {
		return badInput("ticket: %v", err)
	}
	if file != "" {
		path := a.home.seedFile(unsigned)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := ownfile.Write(path, seed, 0o600); err != nil {
			return err
		}
		return t.propose(context.Background(), nil, a, key, file, unsigned)
	}
	signed, err := a.sign(unsigned, key, false)
	if err != nil {
		return err
	}
	return t.printTicket(a, signed, seed)
}

// seedFile is where the secret of a ticket waits for the others' signatures.
func (h home) seedFile(s membership.Signed) string {
	return filepath.Join(h.dir, "tickets", fmt.Sprintf("%x", sha256.Sum256(s.Body)))
}

// finishTicket prints a ticket that was proposed here, and forgets its secret.
func (t *terminal) finishTicket(a authority, s membership.Signed) error {
	path := a.home.seedFile(s)
	seed, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return badInput("this ticket was proposed elsewhere (or was printed before): publish it where shoal ticket was run")
	}
	if err != nil {
		return err
	}
	if err := t.printTicket(a, s, seed); err != nil {
		return err
	}
	return os.Remove(path)
}

func (t *terminal) printTicket(a authority, s membership.Signed, seed []byte) error {
	gossip, err := a.home.gossipKey()
	if errors.Is(err, fs.ErrNotExist) {
		return badInput("there is no gossip.key in %s; get it from another operator", a.home.dir)
	}
	if err != nil {
		return err
	}
	ticket, err := membership.FinishTicket(a.chain, gossip, s, seed)
	if err != nil {
		return badInput("ticket: %v", err)
	}
	if t.json {
		spec := ticket.Spec()
		return t.printJSON(map[string]any{"ticket": ticket.String(), "id": ticket.ID(), "tags": spec.Tags, "zone": spec.Zone, "uses": spec.Uses,
			"expires": spec.Expires.UTC().Format(time.RFC3339)})
	}
	t.note("ticket %s", ticket.ID())
	t.printf("%s\n", ticket)
	return nil
}
