package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newInit(t *terminal) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a cluster: your operator key, the trust chain, the gossip key",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			h, err := openHome(dir)
			if err != nil {
				return err
			}
			chain, err := h.create()
			if err != nil {
				return err
			}
			mesh := chain.Mesh()
			if t.json {
				return t.printJSON(map[string]string{"mesh": fmt.Sprintf("%x", mesh[:]), "dir": h.dir})
			}
			t.printf("A cluster is born: %s\n", t.paint(bold, fmt.Sprintf("%x", mesh[:6])))
			t.printf("  Keys and trust chain:  %s   (keep a copy of this folder somewhere safe)\n", h.dir)
			t.printf("  Operators:             1 of 1\n\n")
			t.printf("Next, a ticket for the first machine:\n  shoal ticket --tag role=web --ttl 1h\n")
			t.note("warning: one operator's key alone rules this cluster; whoever holds it holds every machine")
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "folder for the keys (default: SHOAL_HOME, then the configuration folder)")
	return cmd
}
