package user

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"shoal/executor"
	"shoal/internal/codec"
	"shoal/states"
)

type absent struct{}

func (absent) Function() states.Function {
	return states.Function{
		Module: "user", Name: "absent",
		Doc: "A user does not exist: neither in the user database nor as a member of a group. Its home, its files, its processes and the group of its own name are left.",
		Params: []states.Param{
			{Name: "name", Type: states.String, Required: true, Provides: states.ResourceUser, Doc: "Name of the user."},
		},
		Outputs: []states.Output{{Name: "removed", Type: states.Bool, Doc: "Whether this run removed it."}},
		Example: `bob:
  user.absent: {name: bob}`,
		CheckDoc: "Reads the user database.",
		UndoDoc:  "The rows of the user come back as they were: number, password, memberships and their place in the files.",
		Validate: func(params map[string]any) error {
			if executor.Params(params).String("name") == "root" {
				return fmt.Errorf("root: the machine needs it")
			}
			return nil
		},
	}
}

func (absent) Check(_ context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	u, there, err := h.LookupUser(p.String("name"))
	if err != nil || !there {
		return executor.Change{Outputs: map[string]any{"removed": false}}, err
	}
	diff := fmt.Sprintf("user %s: present (uid %d) -> absent\n", u.Name, u.UID)
	if len(u.Groups) > 0 {
		diff += fmt.Sprintf("groups: %s -> \n", strings.Join(u.Groups, ","))
	}
	return executor.Change{Needed: true, Diff: diff, Outputs: map[string]any{"removed": true}}, nil
}

func (absent) Capture(_ context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	return capture(h, p.String("name"))
}

func (absent) Apply(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	return map[string]any{"removed": true}, h.RemoveUser(ctx, p.String("name"))
}

func (absent) Revert(ctx context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	var old before
	if err := codec.Unmarshal(u.Data, &old); err != nil || !old.Existed {
		return err
	}
	return restore(ctx, h, p, old)
}

// membership is a group of the user as it was: the order of its members and its administrators are lost with the user.
type membership struct {
	Name    string   `cbor:"1,keyasint"`
	Members []string `cbor:"2,keyasint"`
	Shadow  string   `cbor:"3,keyasint"`
}

func membershipsOf(h executor.Host, u executor.User) ([]membership, error) {
	var all []membership
	for _, name := range u.Groups {
		g, _, err := h.LookupGroup(name)
		if err != nil {
			return nil, err
		}
		all = append(all, membership{Name: name, Members: g.Members, Shadow: g.Shadow})
	}
	return all, nil
}

// restoreMemberships puts the groups back as they were, but for those that others have joined or left since.
func restoreMemberships(ctx context.Context, h executor.Host, all []membership) error {
	for _, m := range all {
		g, there, err := h.LookupGroup(m.Name)
		if err != nil {
			return err
		}
		same := slices.Equal(g.Members, m.Members) && g.Shadow == m.Shadow
		if !there || same || !slices.Equal(slices.Sorted(slices.Values(g.Members)), slices.Sorted(slices.Values(m.Members))) {
			continue
		}
		g.Members, g.Shadow = m.Members, m.Shadow
		if err := h.PutGroup(ctx, g); err != nil {
			return err
		}
	}
	return nil
}
