package main

import (
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"shoal/states"
)

// inventoryFlag adds --inventory, which says who is in the fleet where no mesh does.
func inventoryFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "inventory", "", "a file that says which nodes there are, in place of a mesh (default: inventory.yaml of the tree)")
}

// inventoryOf reads the file that was named, else the tree's own; nil where there is neither.
func inventoryOf(file string, tree fs.FS) ([]states.Node, error) {
	if file == "" && tree == nil {
		return nil, nil
	}
	if file == "" {
		for _, name := range []string{"inventory.yaml", "inventory.json"} {
			if _, err := fs.Stat(tree, name); err == nil {
				return states.ReadInventory(tree, name)
			}
		}
		return nil, nil
	}
	dir, base := filepath.Split(file)
	if _, err := os.Stat(file); err != nil {
		return nil, badInput("--inventory: %v", err)
	}
	if dir == "" {
		dir = "."
	}
	return states.ReadInventory(os.DirFS(dir), base)
}

// listed gives a node what the inventory says of it, where nothing else does.
func listed(n states.Node, inventory []states.Node) states.Node {
	for _, other := range inventory {
		if other.Name != n.Name {
			continue
		}
		if n.Zone == "" {
			n.Zone = other.Zone
		}
		for k, v := range other.Tags {
			if _, given := n.Tags[k]; !given {
				n.Tags[k] = v
			}
		}
	}
	return n
}

// withFactsOf gives nodes the facts of a machine where they have none of their own: what they are is not known here.
func withFactsOf(nodes []states.Node, here map[string]string) []states.Node {
	facts := map[string]string{}
	for k, v := range here {
		if isFact(k) {
			facts[k] = v
		}
	}
	out := make([]states.Node, len(nodes))
	for i, n := range nodes {
		out[i] = states.Node{Name: n.Name, Zone: n.Zone, Tags: withFacts(n.Tags, facts)}
	}
	return out
}

// selectedOf are the nodes that --for or --on means.
func selectedOf(nodes []states.Node, forName, on string, tree fs.FS) ([]states.Node, error) {
	var groups map[string]string
	if on != "" && tree != nil {
		var err error
		if groups, err = states.Groups(tree); err != nil {
			return nil, err
		}
	}
	var out []states.Node
	for _, n := range nodes {
		if forName != "" && n.Name != forName {
			continue
		}
		if on != "" {
			selected, err := states.Selects(on, n, groups)
			if err != nil {
				return nil, badInput("--on: %v", err)
			}
			if !selected {
				continue
			}
		}
		out = append(out, n)
	}
	return out, nil
}
