package main

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"shoal/mesh"
)

func newMembers(t *terminal) *cobra.Command {
	cmd := &cobra.Command{Use: "members", Short: "Who is here", Long: `Who is here: every node that the mesh knows, whether it answers, its tags and its zone.

STATUS is alive, suspect (it did not answer just now), failed, or left (it said goodbye). Tags come from tickets and
grants; ENDS is when the grant does, where some do.`, Args: cobra.NoArgs}
	connect := nodeFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		members, err := connect().Members(cmd.Context())
		if err != nil || t.json {
			return orJSON(t, members, err)
		}
		var rows [][]string
		ending := slices.ContainsFunc(members, func(m mesh.MemberInfo) bool { return m.Expires != nil })
		for _, m := range members {
			row := []string{m.Name, string(m.Status), m.Addr, tagText(m.Tags), m.Zone, m.ID.Short()}
			if end := "never"; ending {
				if m.Expires != nil {
					end = m.Expires.UTC().Format(time.RFC3339)
				}
				row = append(row, end)
			}
			rows = append(rows, row)
		}
		head := []string{"NAME", "STATUS", "ADDRESS", "TAGS", "ZONE", "ID"}
		if ending {
			head = append(head, "ENDS")
		}
		t.table(head, rows)
		return nil
	}
	return cmd
}

func newRing(t *terminal) *cobra.Command {
	var watch bool
	cmd := &cobra.Command{Use: "ring", Short: "Who owns what", Long: `Who owns what: the trees and reports that the mesh keeps are dealt out to its nodes, three copies of each.

PARTITIONS are those of which a node is one of the owners, FIRST those of which it is the first, HELD what lies on its disk,
BEHIND the partitions that differed from another owner's when they were last compared, MOVING the objects that it fetches or
brings to others just now.`, Args: cobra.NoArgs}
	connect := nodeFlag(cmd)
	cmd.Flags().BoolVar(&watch, "watch", false, "print again whenever something changed, until interrupted")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client := connect()
		var last mesh.RingInfo
		for {
			ring, err := client.Ring(cmd.Context())
			if err != nil {
				return orInterrupted(cmd.Context(), err)
			}
			if !reflect.DeepEqual(ring, last) {
				if err := t.printRing(ring); err != nil {
					return err
				}
			}
			if last = ring; !watch {
				return nil
			}
			select {
			case <-cmd.Context().Done():
				return nil
			case <-time.After(time.Second):
			}
		}
	}
	return cmd
}

// orInterrupted is nil when it was the user who ended it.
func orInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (t *terminal) printRing(ring mesh.RingInfo) error {
	if t.json {
		return t.printJSON(ring)
	}
	t.printf("%d partitions, %d copies each, placement %s\n", ring.Partitions, ring.Replicas, ring.Placement)
	if ring.UnderReplicated > 0 {
		t.printf("%s: %d partitions have an owner that is not here\n", t.tint(yellow, "under-replicated"), ring.UnderReplicated)
	}
	for _, n := range ring.Nodes {
		if n.Placement != "" && n.Placement != ring.Placement {
			t.printf("%s: %s places by %s: nothing is kept or repaired with it until --ring is the same on all nodes\n",
				t.tint(yellow, "another placement"), n.Name, n.Placement)
		}
	}
	t.printf("\n")
	var rows [][]string
	for _, n := range ring.Nodes {
		objects, behind, moving := fmt.Sprint(n.Objects), fmt.Sprint(n.Behind), fmt.Sprint(n.Moving)
		if n.Objects < 0 {
			objects, behind, moving = "?", "?", "?"
		}
		share := float64(n.Owned) / float64(max(1, ring.Partitions*ring.Replicas))
		rows = append(rows, []string{n.Name, fmt.Sprint(n.Owned), fmt.Sprint(n.Primary), objects, bytesText(n.Bytes), behind, moving, bar(share, 20), n.Zone})
	}
	t.table([]string{"NODE", "PARTITIONS", "FIRST", "OBJECTS", "HELD", "BEHIND", "MOVING", "SHARE", "ZONE"}, rows)
	return nil
}

// orJSON prints v as JSON unless there was an error.
func orJSON(t *terminal, v any, err error) error {
	if err != nil {
		return err
	}
	return t.printJSON(v)
}

func tagText(tags map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		parts = append(parts, k+"="+tags[k])
	}
	return strings.Join(parts, " ")
}

// bar draws a share of 0 to 1 in width cells.
func bar(share float64, width int) string {
	full := int(share*float64(width) + 0.5)
	full = max(0, min(width, full))
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}
