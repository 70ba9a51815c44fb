// Package sshkey is the module ssh_key: public keys that may log in as a user.
package sshkey

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"shoal/executor"
	"shoal/internal/codec"
	"shoal/internal/hostfile"
	"shoal/states"
)

// Modules are the functions of this package.
func Modules() []executor.Module {
	return []executor.Module{authorized{present: true}, authorized{}}
}

const (
	folderMode fs.FileMode = 0o700
	fileMode   fs.FileMode = 0o600
)

// authorized is ssh_key.present and ssh_key.absent.
type authorized struct{ present bool }

func (a authorized) Function() states.Function {
	f := states.Function{
		Module: "ssh_key", Name: "absent",
		Doc: `Public keys that may not log in as a user.

Example:
  left:
    ssh_key.absent: {user: deploy, key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"}`,
		Params: []states.Param{
			{Name: "user", Type: states.String, Required: true, Needs: states.ResourceUser, Doc: "whose authorized_keys it is"},
			{Name: "key", Type: states.String, Doc: "a public key as authorized_keys has it: options, type, key, comment"},
			{Name: "keys", Type: states.Strings, Doc: "several of them"},
			{Name: "path", Type: states.Path, Doc: "the file; .ssh/authorized_keys in the user's home when not given"},
		},
		Outputs: []states.Output{
			{Name: "path", Type: states.Path, Doc: "the file"},
			{Name: "fingerprints", Type: states.Strings, Doc: "of the keys, as ssh-keygen -l shows them"},
			{Name: "changed", Type: states.Bool, Doc: "whether this run changed it"},
		},
		CheckDoc: "The file is read; a key is the same when its type and its bytes are, whatever its comment.",
		UndoDoc:  "The file is restored as it was; where others have changed it since, the state's own keys alone are taken out or put back.",
		Validate: func(p map[string]any) error {
			_, err := keysOf(p)
			return err
		},
	}
	if !a.present {
		return f
	}
	f.Name = "present"
	f.Doc = `Public keys that may log in as a user. The file belongs to the user with mode 0600, and a .ssh that has to be made has 0700. Each key is there once, with exactly the options given. Several states may have keys of one user, unless one is exclusive. A key that is taken out of a list stays on the machine unless the state is exclusive; of a state for each key (for_each), it goes with its state.

Example:
  deployers:
    ssh_key.present:
      user: deploy
      keys:
        - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ann
      options: [no-agent-forwarding]
      exclusive: true`
	f.Params = append(f.Params,
		states.Param{Name: "options", Type: states.Strings, Doc: "options of all the keys, such as no-pty or from=\"10.0.0.0/8\"; when not given those that stand before each key"},
		states.Param{Name: "comment", Type: states.String, Doc: "comment of all the keys; when not given the one after each key, and where there is none what the file has"},
		states.Param{Name: "exclusive", Type: states.Bool, Default: false, Doc: "no other key is in the file; with an empty list of keys none at all"},
	)
	return f
}

// aim is the file as it is to be.
type aim struct {
	target *hostfile.Target
	folder *hostfile.Folder // .ssh; nil: the file is elsewhere, and its folder is not this module's
	keys   []key
	before file
	hash   string // of the file as it is
}

func (a authorized) aim(h executor.Host, p executor.Params) (*aim, error) {
	keys, err := keysOf(p)
	if err != nil {
		return nil, err
	}
	name := p.String("user")
	u, ok, err := h.LookupUser(name)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, &executor.Missing{Kind: states.ResourceUser, Name: name}
	}
	out := &aim{keys: keys, target: &hostfile.Target{Path: p.String("path"), NewMode: fileMode}}
	out.target.Owner, out.target.UID, out.target.GID = name, &u.UID, &u.GID
	mode := fileMode
	out.target.Mode = &mode
	if out.target.Path == "" {
		home, err := hostfile.Look(h, u.Home)
		if err != nil {
			return nil, err
		}
		if home == nil && a.present {
			return nil, &executor.Missing{Kind: states.ResourcePath, Name: u.Home}
		}
		mode := folderMode
		out.folder = &hostfile.Folder{Path: path.Join(u.Home, ".ssh")}
		out.folder.Owner, out.folder.UID, out.folder.GID, out.folder.Mode = name, &u.UID, &u.GID, &mode
		out.target.Path = path.Join(out.folder.Path, "authorized_keys")
	}
	return out, a.compute(h, p, out)
}

// compute sets what the file is to hold.
func (a authorized) compute(h executor.Host, p executor.Params, out *aim) error {
	st, err := hostfile.Look(h, out.target.Path)
	if err != nil {
		return err
	}
	var data []byte
	if st != nil {
		if !st.Mode.IsRegular() || st.Size > maxFile {
			return fmt.Errorf("%s is no regular file of at most %d MiB", out.target.Path, maxFile>>20)
		}
		if data, err = h.ReadFile(out.target.Path); err != nil {
			return err
		}
	}
	out.before, out.hash = read(data), hostfile.HashOf(data)
	now := read(data)
	for _, k := range out.keys {
		if a.present {
			now.ensure(k)
		} else {
			now.remove(k.blob)
		}
	}
	if exclusive, _ := p.Bool("exclusive"); exclusive {
		now.keepOnly(out.keys)
	}
	if !a.present && (st == nil || string(now.bytes()) == string(out.before.bytes())) {
		out.target.Path, out.folder = "", nil // nothing to take out, and owner and mode are not its business
		return nil
	}
	out.target.Holding(now.bytes())
	return nil
}

func (a authorized) outputs(p executor.Params, out *aim, changed bool) map[string]any {
	var prints []any
	for _, k := range out.keys {
		prints = append(prints, k.fingerprint())
	}
	m := map[string]any{"fingerprints": prints, "changed": changed}
	if out.target.Path != "" {
		m["path"] = out.target.Path
	}
	return m
}

func (a authorized) Check(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	out, err := a.aim(h, p)
	if err != nil {
		return executor.Change{Needed: true, Diff: "keys of " + p.String("user") + "\n"}, err
	}
	if out.target.Path == "" {
		return executor.Change{Outputs: a.outputs(p, out, false)}, nil
	}
	change, err := out.target.Check(ctx, h)
	if err != nil {
		return executor.Change{}, err
	}
	if out.folder != nil && a.present {
		diff, err := out.folder.Differs(h)
		if err != nil {
			return executor.Change{}, err
		}
		if diff != "" {
			change.Diff = out.folder.Path + ": " + diff + change.Diff
			change.Needed = true
		}
	}
	change.Outputs = a.outputs(p, out, change.Needed)
	return change, nil
}

// undo is what Revert needs: the file as it was, and the keys that this state touched, for when others have changed it.
type undo struct {
	Path  string   `cbor:"1,keyasint"`
	Exact []byte   `cbor:"2,keyasint"`           // of hostfile.CaptureAll
	After string   `cbor:"3,keyasint"`           // hash of what Apply leaves
	Added []string `cbor:"4,keyasint,omitempty"` // lines that were not there before
	Taken []string `cbor:"5,keyasint,omitempty"` // lines that were
	// Before is the hash of what was there.
	Before string `cbor:"6,keyasint,omitempty"`
}

func (a authorized) Capture(_ context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	out, err := a.aim(h, p)
	if err != nil {
		return executor.Undo{}, err
	}
	if out.target.Path == "" {
		data, err := codec.Marshal(undo{})
		return executor.Undo{Reversible: true, Data: data}, err
	}
	items := []hostfile.Item{{Path: out.target.Path}}
	if out.folder != nil {
		items = append(items, hostfile.Item{Path: out.folder.Path})
	}
	u, err := hostfile.CaptureAll(h, items)
	if err != nil || !u.Reversible {
		return u, err
	}
	after, err := out.target.Load(context.Background())
	if err != nil {
		return u, err
	}
	what := undo{Path: out.target.Path, Exact: u.Data, Before: out.hash, After: out.target.Hash}
	what.Added, what.Taken = differences(out.before.lines, read(after).lines)
	u.Stages = []string{out.target.Path}
	u.Data, err = codec.Marshal(what)
	return u, err
}

// differences lists the lines of after that before has not, and the other way round.
func differences(before, after []string) (added, taken []string) {
	has := func(list []string) map[string]bool {
		m := map[string]bool{}
		for _, line := range list {
			m[line] = true
		}
		return m
	}
	old, now := has(before), has(after)
	for _, line := range after {
		if !old[line] {
			added = append(added, line)
		}
	}
	for _, line := range before {
		if !now[line] {
			taken = append(taken, line)
		}
	}
	return added, taken
}

func (a authorized) Apply(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	out, err := a.aim(h, p)
	if err != nil {
		return nil, err
	}
	if out.target.Path == "" {
		return a.outputs(p, out, false), nil
	}
	if out.folder != nil && a.present {
		diff, err := out.folder.Differs(h)
		if err != nil {
			return nil, err
		}
		if diff != "" {
			if err := out.folder.Apply(h); err != nil {
				return nil, err
			}
		}
	}
	return a.outputs(p, out, true), hostfile.WriteAll(ctx, h, []*hostfile.Target{out.target})
}

func (a authorized) Revert(ctx context.Context, h executor.Host, _ executor.Params, u executor.Undo) error {
	var what undo
	if err := codec.Unmarshal(u.Data, &what); err != nil || what.Path == "" {
		return err
	}
	exact := executor.Undo{Data: what.Exact, Old: u.Old}
	st, err := hostfile.Look(h, what.Path)
	if err != nil {
		return err
	}
	if st == nil || !st.Mode.IsRegular() || st.Size > maxFile {
		return hostfile.RevertAll(h, exact)
	}
	data, err := h.ReadFile(what.Path)
	if err != nil {
		return err
	}
	if hash := hostfile.HashOf(data); hash != what.After && hash != what.Before {
		return what.takeBack(ctx, h, read(data))
	}
	return hostfile.RevertAll(h, exact)
}

// Join keeps what the first saw, and adds the lines of a later change; the file goes back as a whole only where nobody else
// changed it between the two.
func (a authorized) Join(first, later []byte) ([]byte, error) {
	var one, two undo
	if err := errors.Join(codec.Unmarshal(first, &one), codec.Unmarshal(later, &two)); err != nil {
		return nil, err
	}
	if one.Path != two.Path {
		return first, nil // the home has moved: what is in the old one stays its
	}
	if two.Before == one.After {
		one.After = two.After
	}
	for _, line := range two.Taken {
		if !slices.Contains(one.Added, line) && !slices.Contains(one.Taken, line) {
			one.Taken = append(one.Taken, line)
		}
	}
	for _, line := range two.Added {
		if !slices.Contains(one.Added, line) {
			one.Added = append(one.Added, line)
		}
	}
	return codec.Marshal(one)
}

// takeBack undoes the state's own part of a file that others have changed since.
func (w undo) takeBack(ctx context.Context, h executor.Host, now file) error {
	for _, line := range w.Added {
		for i := len(now.lines) - 1; i >= 0; i-- {
			if now.lines[i] == line {
				now.delete(i)
			}
		}
	}
	for _, line := range w.Taken {
		k, err := parse(line)
		if err != nil || now.find(k.blob) < 0 {
			now.append(line)
		}
	}
	t := hostfile.Target{Path: w.Path}
	t.Holding(now.bytes())
	different, err := t.Differs(h)
	if err != nil || !different {
		return err
	}
	return hostfile.WriteAll(ctx, h, []*hostfile.Target{&t})
}
