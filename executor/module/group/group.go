// Package group is the module group: rows of the group database.
package group

import (
	"context"
	"fmt"
	"math"

	"shoal/executor"
	"shoal/internal/codec"
	"shoal/states"
)

// Modules are the functions of this package.
func Modules() []executor.Module { return []executor.Module{present{}, absent{}} }

type present struct{}

// before is what Revert needs.
type before struct {
	Existed bool   `cbor:"1,keyasint"`
	GID     uint32 `cbor:"2,keyasint"`
	// The rest, should it have to be made again.
	Members []string `cbor:"3,keyasint"`
	Shadow  string   `cbor:"4,keyasint,omitempty"`
	After   string   `cbor:"5,keyasint,omitempty"`
}

func (present) Function() states.Function {
	return states.Function{
		Module: "group", Name: "present",
		Doc: "A group exists, with the number that is asked for. Its members are left alone: they are written with the users.",
		Params: []states.Param{
			{Name: "name", Type: states.String, Required: true, Provides: states.ResourceGroup, Doc: "Name of the group."},
			{Name: "gid", Type: states.Int, Doc: "Its number. Without it, a new group is given a free one and an old one keeps its own."},
			{Name: "system", Type: states.Bool, Default: false, Doc: "Choose a new group's number from the range of the system (100 to 999)."},
		},
		Outputs: []states.Output{
			{Name: "gid", Type: states.Int, Doc: "The number of the group."},
		},
		Example: `deploy:
  group.present: {name: deploy, gid: 2000}`,
		CheckDoc: "Reads the group database and compares the number.",
		UndoDoc:  "A group that was made is removed, a number that was changed is put back. Files keep the number they have.",
		Validate: validate,
	}
}

func validate(params map[string]any) error {
	p := executor.Params(params)
	if gid, ok := p.Int("gid"); ok && (gid < 0 || gid >= math.MaxUint32) {
		return fmt.Errorf("gid %d is not between 0 and %d", gid, uint32(math.MaxUint32)-1)
	}
	if gid, ok := p.Int("gid"); ok && gid == 0 && p.String("name") != "root" {
		return fmt.Errorf("gid 0 belongs to the group root")
	}
	return nil
}

func (present) Check(_ context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	name := p.String("name")
	gid, given := p.Int("gid")
	g, ok, err := h.LookupGroup(name)
	switch {
	case err != nil:
		return executor.Change{}, err
	case !ok && given:
		return executor.Change{Needed: true, Diff: fmt.Sprintf("group %s: absent -> gid %d\n", name, gid), Outputs: outputs(uint32(gid))}, nil
	case !ok:
		return executor.Change{Needed: true, Diff: fmt.Sprintf("group %s: absent -> a free gid\n", name)}, nil
	case given && uint32(gid) != g.GID:
		return executor.Change{Needed: true, Diff: fmt.Sprintf("gid: %d -> %d\n", g.GID, gid), Outputs: outputs(uint32(gid))}, nil
	}
	return executor.Change{Outputs: outputs(g.GID)}, nil
}

func (present) Capture(_ context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	return capture(h, p.String("name"))
}

func capture(h executor.Host, name string) (executor.Undo, error) {
	g, ok, err := h.LookupGroup(name)
	if err != nil {
		return executor.Undo{}, err
	}
	data, err := codec.Marshal(before{Existed: ok, GID: g.GID, Members: g.Members, Shadow: g.Shadow, After: g.After})
	return executor.Undo{Reversible: true, Data: data, Stages: []string{"/etc/group"}}, err
}

func (present) Apply(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	name := p.String("name")
	g, _, err := h.LookupGroup(name)
	if err != nil {
		return nil, err
	}
	g.Name = name
	g.System, _ = p.Bool("system")
	if gid, ok := p.Int("gid"); ok {
		g.GID = uint32(gid)
	}
	if err := h.PutGroup(ctx, g); err != nil {
		return nil, err
	}
	g, _, err = h.LookupGroup(name)
	return outputs(g.GID), err
}

func (present) Revert(ctx context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	var old before
	if err := codec.Unmarshal(u.Data, &old); err != nil {
		return err
	}
	name := p.String("name")
	if !old.Existed {
		return h.RemoveGroup(ctx, name)
	}
	return old.restore(ctx, h, name)
}

func (old before) restore(ctx context.Context, h executor.Host, name string) error {
	g, ok, err := h.LookupGroup(name)
	if err != nil || (ok && g.GID == old.GID) {
		return err
	}
	if !ok {
		return h.PutGroup(ctx, executor.Group{Name: name, GID: old.GID, Members: old.Members, Shadow: old.Shadow, After: old.After})
	}
	g.GID = old.GID // the number alone: members may have come and gone since
	return h.PutGroup(ctx, g)
}

func outputs(gid uint32) map[string]any { return map[string]any{"gid": int64(gid)} }
