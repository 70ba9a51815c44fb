package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"shoal/executor/local"
	"shoal/mesh/api"
	"shoal/states"
	"shoal/states/disk"
)

func newValidate(t *terminal) *cobra.Command {
	var o validateOptions
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
	cmd.Flags().StringVar(&o.env, "env", "production", "the environment whose nodes it is compiled for")
	inventoryFlag(cmd, &o.inventory)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tree, err := disk.Open(treeArg(args))
		if err != nil {
			return badInput("%v", err)
		}
		problems, who, err := o.validate(cmd.Context(), connect(), cmd.Flags().Changed("node"), tree)
		if err != nil {
			return err
		}
		if t.json {
			return t.problemsJSON(problems)
		}
		if len(problems) > 0 {
			return problems
		}
		t.note("%s: fine for %s", treeArg(args), who)
		return nil
	}
	return cmd
}

// validateOptions are the flags of validate.
type validateOptions struct{ env, inventory string }

// validate compiles for the nodes of an inventory that is named, else of the mesh, else of the tree's own inventory, else for
// all that the tree's texts mention; and says which.
func (o validateOptions) validate(ctx context.Context, client *api.Client, asked bool, tree fs.FS) (states.Problems, string, error) {
	if o.inventory == "" {
		nodes, fleet, err := nodesIfAny(ctx, client, o.env, asked)
		if err != nil {
			return nil, "", err
		}
		if len(nodes) > 0 {
			at, err := sealedNow(ctx, client, o.env)
			if err != nil {
				return nil, "", err
			}
			return states.Validate(tree, nodes, fleet, functions(), standIns(at.all)), fmt.Sprintf("all %d nodes of %s", len(nodes), o.env), nil
		}
	}
	listed, err := inventoryOf(o.inventory, tree)
	if err != nil {
		return nil, "", err
	}
	if len(listed) > 0 {
		nodes := withFactsOf(listed, local.Facts("/"))
		return states.Validate(tree, nodes, listed, functions(), nil), fmt.Sprintf("all %d nodes of the inventory", len(listed)), nil
	}
	problems, tried := validateLikely(tree)
	said := fmt.Sprintf("every combination of tags that its targets and conditions mention (%d)", tried.Nodes)
	if tried.More {
		said = fmt.Sprintf("the first %d combinations of tags that its targets and conditions mention, of more", tried.Nodes)
	}
	return problems, said, nil
}

// validateLikely compiles a tree for all that it mentions, on machines like this one.
func validateLikely(tree fs.FS) (states.Problems, states.Tried) {
	return states.ValidateLike(tree, states.Node{Name: "node", Tags: local.Facts("/")}, functions())
}

// nodesIfAny returns the nodes of an environment and of the whole mesh; none when no agent answers, unless one was asked for
// by name.
func nodesIfAny(ctx context.Context, client *api.Client, env string, asked bool) (nodes, fleet []states.Node, err error) {
	nodes, fleet, err = meshNodes(ctx, client, env)
	var e *api.Error
	if !asked && errors.As(err, &e) && e.Kind == api.Unavailable {
		return nil, nil, nil
	}
	return nodes, fleet, err
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
