package group

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"shoal/executor"
	"shoal/internal/codec"
	"shoal/states"
)

type absent struct{}

func (absent) Function() states.Function {
	return states.Function{
		Module: "group", Name: "absent",
		Doc: "A group does not exist. One that is the primary group of a user is not removed: that is an error. Files keep its number.",
		Params: []states.Param{
			{Name: "name", Type: states.String, Required: true, Provides: states.ResourceGroup, Doc: "Name of the group."},
		},
		Outputs: []states.Output{{Name: "removed", Type: states.Bool, Doc: "Whether this run removed it."}},
		Example: `games:
  group.absent: {name: games}`,
		CheckDoc: "Reads the group database.",
		UndoDoc:  "The row of the group comes back as it was: number, members, password and its place in the file.",
		Validate: func(params map[string]any) error {
			if executor.Params(params).String("name") == "root" {
				return errors.New("root: the machine needs it")
			}
			return nil
		},
	}
}

func (absent) Check(_ context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	g, there, err := h.LookupGroup(p.String("name"))
	if err != nil || !there {
		return executor.Change{Outputs: map[string]any{"removed": false}}, err
	}
	diff := fmt.Sprintf("group %s: present (gid %d) -> absent\n", g.Name, g.GID)
	if len(g.Members) > 0 {
		diff += fmt.Sprintf("members: %s -> \n", strings.Join(g.Members, ","))
	}
	return executor.Change{Needed: true, Diff: diff, Outputs: map[string]any{"removed": true}}, nil
}

func (absent) Capture(_ context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	return capture(h, p.String("name"))
}

func (absent) Apply(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	return map[string]any{"removed": true}, h.RemoveGroup(ctx, p.String("name"))
}

func (absent) Revert(ctx context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	var old before
	if err := codec.Unmarshal(u.Data, &old); err != nil || !old.Existed {
		return err
	}
	return old.restore(ctx, h, p.String("name"))
}
