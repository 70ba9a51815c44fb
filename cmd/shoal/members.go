package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func newMembers(t *terminal) *cobra.Command {
	cmd := &cobra.Command{Use: "members", Short: "Who is here", Long: `Who is here: every node that the mesh knows, whether it answers, its tags and its zone.

STATUS is alive, suspect (it did not answer just now), failed, or left (it said goodbye). Tags come from tickets.`, Args: cobra.NoArgs}
	connect := nodeFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		members, err := connect().Members(cmd.Context())
		if err != nil || t.json {
			return orJSON(t, members, err)
		}
		var rows [][]string
		for _, m := range members {
			rows = append(rows, []string{m.Name, string(m.Status), m.Addr, tagText(m.Tags), m.Zone, m.ID.Short()})
		}
		t.table([]string{"NAME", "STATUS", "ADDRESS", "TAGS", "ZONE", "ID"}, rows)
		return nil
	}
	return cmd
}

func newRing(t *terminal) *cobra.Command {
	cmd := &cobra.Command{Use: "ring", Short: "Who owns what", Long: `Who owns what: the trees and reports that the mesh keeps are dealt out to its nodes, three copies of each.

PARTITIONS are those of which a node is one of the owners, FIRST those of which it is the first, HELD what lies on its disk.`, Args: cobra.NoArgs}
	connect := nodeFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ring, err := connect().Ring(cmd.Context())
		if err != nil || t.json {
			return orJSON(t, ring, err)
		}
		t.printf("%d partitions, %d copies each, placement %s\n\n", ring.Partitions, ring.Replicas, ring.Placement)
		var rows [][]string
		for _, n := range ring.Nodes {
			objects := fmt.Sprint(n.Objects)
			if n.Objects < 0 {
				objects = "?"
			}
			share := float64(n.Owned) / float64(max(1, ring.Partitions*ring.Replicas))
			rows = append(rows, []string{n.Name, fmt.Sprint(n.Owned), fmt.Sprint(n.Primary), objects, bytesText(n.Bytes), bar(share, 20), n.Zone})
		}
		t.table([]string{"NODE", "PARTITIONS", "FIRST", "OBJECTS", "HELD", "SHARE", "ZONE"}, rows)
		return nil
	}
	return cmd
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
