package main

import (
	"crypto/rand"
	"time"

	"github.com/spf13/cobra"

	"shoal/membership"
)

func newTicket(t *terminal) *cobra.Command {
	var (
		tags []string
		zone string
		ttl  time.Duration
		uses int
	)
	cmd := &cobra.Command{
		Use:   "ticket --tag k=v ... --ttl 1h",
		Short: "Make a join ticket, offline: one line that holds all a machine needs",
		Long: `Make a join ticket, offline: one line that holds all a machine needs to join, with the tags and the zone that it is granted.
It is a secret until it is used up or over.`,
		Example: `  shoal ticket --tag role=web --tag dc=fra --ttl 1h > ticket
  shoal agent --ticket @ticket --join 192.0.2.10:7946   # on the machine`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			granted, err := parseTags(tags)
			if err != nil {
				return err
			}
			if ttl <= 0 || uses < 1 {
				return badInput("--ttl and --uses must be above zero")
			}
			ticket, err := makeTicket(membership.TicketSpec{
				Tags: granted, Zone: zone, Expires: time.Now().Add(ttl), Uses: uses,
			})
			if err != nil {
				return err
			}
			if t.json {
				return t.printJSON(map[string]any{"ticket": ticket.String(), "tags": granted, "zone": zone, "uses": uses,
					"expires": time.Now().Add(ttl).UTC().Format(time.RFC3339)})
			}
			t.printf("%s\n", ticket)
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "a tag that the machine is granted, `K=V` (repeatable)")
	cmd.Flags().StringVar(&zone, "zone", "", "the zone that the machine is in; copies spread over zones")
	cmd.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long the ticket may be used")
	cmd.Flags().IntVar(&uses, "uses", 1, "how many machines may join with it")
	return cmd
}

func makeTicket(spec membership.TicketSpec) (membership.Ticket, error) {
	h, err := openHome("")
	if err != nil {
		return membership.Ticket{}, err
	}
	chain, err := h.chain()
	if err != nil {
		return membership.Ticket{}, err
	}
	key, err := h.operatorKey()
	if err != nil {
		return membership.Ticket{}, err
	}
	gossip, err := h.gossipKey()
	if err != nil {
		return membership.Ticket{}, err
	}
	ticket, err := membership.NewTicket(rand.Reader, chain, gossip, spec, key)
	if err != nil {
		return ticket, badInput("ticket: %v", err)
	}
	return ticket, nil
}
