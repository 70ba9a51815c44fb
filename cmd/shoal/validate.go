package main

import (
	"context"
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"shoal/executor/local"
	"shoal/mesh/api"
	"shoal/states"
	"shoal/states/disk"
)

func newValidate(t *terminal) *cobra.Command {
	var env string
	cmd := &cobra.Command{
		Use:   "validate [TREE]",
		Short: "Compile a tree for every node of the mesh, or for all tags that it mentions",
		Long: `Compile a tree for every node of the mesh, or, where no agent answers, for every combination of tags that its targets mention.
Every mistake is shown with its place, not the first alone; the exit status is then 2.`,
		Example: `  shoal validate
  shoal validate mytree --json`,
		Args: cobra.MaximumNArgs(1),
	}
	connect := nodeFlag(cmd)
	cmd.Flags().StringVar(&env, "env", "production", "the environment whose nodes it is compiled for")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tree, err := disk.Open(treeArg(args))
		if err != nil {
			return badInput("%v", err)
		}
		nodes, err := nodesIfAny(cmd.Context(), connect(), env, cmd.Flags().Changed("node"))
		if err != nil {
			return err
		}
		problems := validateTree(tree, nodes)
		if t.json {
			return t.problemsJSON(problems)
		}
		if len(problems) > 0 {
			return problems
		}
		if len(nodes) > 0 {
			t.note("%s: fine for all %d nodes of %s", treeArg(args), len(nodes), env)
		} else {
			t.note("%s: fine for every combination of tags that its targets mention", treeArg(args))
		}
		return nil
	}
	return cmd
}

// validateTree compiles a tree for nodes; for all that its targets mention, on machines like this one, where there are none.
func validateTree(tree fs.FS, nodes []states.Node) states.Problems {
	if len(nodes) > 0 {
		return states.Validate(tree, nodes, functions())
	}
	return states.ValidateLike(tree, states.Node{Name: "node", Tags: local.Facts("/")}, functions())
}

// nodesIfAny returns the nodes of the mesh; none when no agent answers, unless one was asked for by name.
func nodesIfAny(ctx context.Context, client *api.Client, env string, asked bool) ([]states.Node, error) {
	nodes, err := meshNodes(ctx, client, env)
	var e *api.Error
	if !asked && errors.As(err, &e) && e.Kind == api.Unavailable {
		return nil, nil
	}
	return nodes, err
}

// problem is a states.Problem as JSON.
type problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
	Source  string `json:"source,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

func (t *terminal) problemsJSON(problems states.Problems) error {
	list := []problem{}
	for _, p := range problems {
		list = append(list, problem{p.Place.File, p.Place.Line, p.Place.Column, p.Message, p.Source, p.Hint})
	}
	if err := t.printJSON(map[string]any{"problems": list}); err != nil {
		return err
	}
	if len(problems) > 0 {
		return &exitError{status: exitBadInput}
	}
	return nil
}
