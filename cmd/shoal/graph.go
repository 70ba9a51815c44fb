package main

import (
	"github.com/spf13/cobra"

	"shoal/mesh/api"
	"shoal/states"
)

// printGraphs prints the graph of each plan that is asked for.
func (t *terminal) printGraphs(cmd *cobra.Command, o planOptions, client *api.Client, args []string) error {
	if err := oneOf("--graph", o.graph, "text", "dot"); err != nil {
		return err
	}
	if o.exitCode {
		return badInput("--graph looks at no machine, so that --exit-code cannot tell whether there are changes")
	}
	pictures := []states.Picture{}
	o.draw = func(p *states.Plan) { pictures = append(pictures, p.Picture()) }
	if _, err := o.plan(cmd.Context(), client, cmd.Flags().Changed("node"), args); err != nil {
		return err
	}
	switch {
	case t.json && o.on == "":
		return t.printJSON(pictures[0])
	case t.json:
		return t.printJSON(pictures)
	}
	for i, p := range pictures {
		if o.graph == "dot" {
			t.printf("%s", p.DOT())
			continue
		}
		if i > 0 {
			t.printf("\n")
		}
		t.printf("%s", p.Text())
	}
	return nil
}
