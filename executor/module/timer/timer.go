// Package timer is the module timer: timers of systemd, each with the service that it starts.
package timer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"shoal/executor"
	"shoal/internal/codec"
	"shoal/internal/hostfile"
	"shoal/states"
)

// Modules are the functions of this package.
func Modules() []executor.Module { return []executor.Module{unit{present: true}, unit{}} }

// unit is timer.present and timer.absent.
type unit struct{ present bool }

const folder = "/etc/systemd/system/"

var nameParam = states.Param{Name: "name", Type: states.String, Required: true, Provides: states.ResourcePath, Within: folder + "*.timer",
	Doc: "name of the timer, without .timer"}

func (m unit) Function() states.Function {
	f := states.Function{
		Module: "timer", Name: "absent",
		Doc: `No such timer: it is stopped and disabled, and its file is removed, together with the service that timer.present made for it.

Example:
  no-sync:
    timer.absent: {name: sync}`,
		Params: []states.Param{nameParam},
		Outputs: []states.Output{
			{Name: "path", Type: states.Path, Doc: "the file of the timer"},
			{Name: "active", Type: states.Bool, Doc: "whether it runs"},
			{Name: "enabled", Type: states.Bool, Doc: "whether it is started with the machine"},
			{Name: "changed", Type: states.Bool, Doc: "whether this run changed it"},
		},
		CheckDoc: "The files are compared, and the service manager is asked for the timer.",
		UndoDoc:  "The files are restored, and whether the timer ran and was enabled.",
	}
	if !m.present {
		f.Validate = func(p map[string]any) error { return validName(p) }
		return f
	}
	f.Name = "present"
	f.Doc = `A timer of systemd and the service that it starts, as unit files in /etc/systemd/system; systemd reads them anew, and the timer runs now and is enabled. A timer that changes while it runs is restarted.

Example:
  backup:
    timer.present:
      name: backup
      on_calendar: Mon..Fri 03:30
      persistent: true
      argv: [/usr/local/bin/backup, --all]
      user: backup`
	f.Params = []states.Param{nameParam,
		{Name: "on_calendar", Type: states.Any, Doc: "when it fires, as systemd.time(7) has it: a string, or a list of them"},
		{Name: "on_boot", Type: states.String, Doc: "that long after the machine started, such as 5min"},
		{Name: "on_active", Type: states.String, Doc: "that long after the timer started"},
		{Name: "on_unit_active", Type: states.String, Doc: "that long after the service was last started"},
		{Name: "on_unit_inactive", Type: states.String, Doc: "that long after the service last ended"},
		{Name: "randomized_delay", Type: states.String, Doc: "up to that long later, at random"},
		{Name: "accuracy", Type: states.String, Doc: "how exact the time has to be"},
		{Name: "persistent", Type: states.Bool, Default: false, Doc: "fires at once when it was missed while the machine was off"},
		{Name: "argv", Type: states.Strings, Doc: "the command and its arguments, with no shell"},
		{Name: "shell", Type: states.String, Doc: "a script for /bin/sh -c, in place of argv"},
		{Name: "command", Type: states.String, Doc: "a command line as ExecStart= has it, in place of argv"},
		{Name: "unit", Type: states.String, Doc: "a service that is there, in place of one that is made"},
		{Name: "user", Type: states.String, Needs: states.ResourceUser, Doc: "the user it runs as; root when not given"},
		{Name: "group", Type: states.String, Needs: states.ResourceGroup, Doc: "the group it runs as"},
		{Name: "cwd", Type: states.Path, Doc: "the folder it runs in"},
		{Name: "env", Type: states.Map, Doc: "environment variables"},
		{Name: "description", Type: states.String, Doc: "what systemd shows; the name when not given"},
		{Name: "enabled", Type: states.Bool, Default: true, Doc: "whether it runs now and is started with the machine"},
	}
	f.Validate = func(p map[string]any) error {
		_, _, err := unitFiles(p)
		return err
	}
	return f
}

func validName(p executor.Params) error {
	_, _, err := unitFiles(executor.Params{"name": p.String("name"), "on_boot": "1s", "unit": "x"})
	return err
}

// aim is what the timer is to be.
type aim struct {
	name     string // of the timer, in full
	timer    *hostfile.Target
	service  *hostfile.Target // nil: none is made
	gone     []string         // files that are to be removed
	now      executor.Unit
	want     executor.Unit
	differ   []*hostfile.Target
	reloads  bool // the timer's own file differs
	describe string
}

func (m unit) aim(ctx context.Context, h executor.Host, p executor.Params) (*aim, error) {
	a := &aim{name: p.String("name") + ".timer"}
	var err error
	if a.now, err = h.Unit(ctx, a.name); err != nil {
		return nil, err
	}
	a.want = executor.Unit{Masked: a.now.Masked}
	stem := folder + p.String("name")
	if !m.present {
		if a.gone, err = a.ours(h, stem); err == nil {
			for _, name := range a.gone {
				a.describe += "remove " + name + "\n"
			}
		}
		return a, err
	}
	if enabled, _ := p.Bool("enabled"); enabled {
		a.want = executor.Unit{Active: true, Enabled: true}
	}
	timer, service, err := unitFiles(p)
	if err != nil {
		return nil, err
	}
	a.timer = file(h, stem+".timer", timer)
	if service != "" {
		a.service = file(h, stem+".service", service)
	}
	return a, a.compare(ctx, h)
}

// ours lists the files of a timer that are there.
func (a *aim) ours(h executor.Host, stem string) ([]string, error) {
	var names []string
	st, err := hostfile.Look(h, stem+".timer")
	if err != nil {
		return nil, err
	}
	if st != nil {
		names = append(names, stem+".timer")
	}
	data, err := h.ReadFile(stem + ".service")
	if errors.Is(err, fs.ErrNotExist) {
		return names, nil
	}
	if err == nil && bytes.HasPrefix(data, []byte(mark)) {
		names = append(names, stem+".service")
	}
	return names, err
}

func file(h executor.Host, name, text string) *hostfile.Target {
	mode, me := hostfile.DefaultFileMode, hostfile.Self(h)
	t := &hostfile.Target{Path: name}
	t.Mode, t.UID, t.GID, t.Owner, t.Group = &mode, &me.UID, &me.GID, fmt.Sprint(me.UID), fmt.Sprint(me.GID)
	t.Holding([]byte(text))
	return t
}

func (a *aim) compare(ctx context.Context, h executor.Host) error {
	for _, t := range []*hostfile.Target{a.service, a.timer} {
		if t == nil {
			continue
		}
		change, err := t.Check(ctx, h)
		if err != nil {
			return err
		}
		if change.Needed {
			a.differ = append(a.differ, t)
			a.describe += change.Diff
			a.reloads = t == a.timer
		}
	}
	return nil
}

func (a *aim) unitDiff() string {
	var s string
	for _, f := range []struct {
		field    string
		old, new bool
	}{{"active", a.now.Active, a.want.Active}, {"enabled", a.now.Enabled, a.want.Enabled}, {"masked", a.now.Masked, a.want.Masked}} {
		if f.old != f.new {
			s += fmt.Sprintf("%s: %s: %t -> %t\n", a.name, f.field, f.old, f.new)
		}
	}
	return s
}

func (a *aim) outputs(changed bool) map[string]any {
	return map[string]any{"path": folder + a.name, "active": a.want.Active, "enabled": a.want.Enabled, "changed": changed}
}

func (m unit) Check(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	a, err := m.aim(ctx, h, p)
	if err != nil {
		return executor.Change{}, err
	}
	diff := a.describe + a.unitDiff()
	change := executor.Change{Needed: diff != "", Diff: diff, Outputs: a.outputs(diff != "")}
	if user := p.String("user"); user != "" && m.present {
		if _, ok, err := h.LookupUser(user); err != nil {
			return executor.Change{}, err
		} else if !ok {
			return change, &executor.Missing{Kind: states.ResourceUser, Name: user}
		}
	}
	return change, nil
}

// undo is the files and the timer as they were.
type undo struct {
	Files   []byte `cbor:"1,keyasint"` // of hostfile.CaptureAll
	Exists  bool   `cbor:"2,keyasint"`
	Active  bool   `cbor:"3,keyasint"`
	Enabled bool   `cbor:"4,keyasint"`
	Masked  bool   `cbor:"5,keyasint"`
}

func (m unit) Capture(ctx context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	a, err := m.aim(ctx, h, p)
	if err != nil {
		return executor.Undo{}, err
	}
	stem := folder + p.String("name")
	items := []hostfile.Item{{Path: stem + ".timer"}}
	if a.service != nil || len(a.gone) > 1 {
		items = append(items, hostfile.Item{Path: stem + ".service"})
	}
	u, err := hostfile.CaptureAll(h, items)
	if err != nil || !u.Reversible {
		return u, err
	}
	u.Data, err = codec.Marshal(undo{Files: u.Data, Exists: a.now.Exists, Active: a.now.Active, Enabled: a.now.Enabled, Masked: a.now.Masked})
	return u, err
}

func (m unit) Apply(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	a, err := m.aim(ctx, h, p)
	if err != nil {
		return nil, err
	}
	if !m.present {
		return a.outputs(true), a.remove(ctx, h)
	}
	if err := hostfile.WriteAll(ctx, h, a.differ); err != nil {
		return nil, err
	}
	if len(a.differ) > 0 || !a.now.Exists {
		if err := h.ReloadManager(ctx); err != nil {
			return nil, err
		}
	}
	restart := a.reloads && a.now.Active
	return a.outputs(true), move(ctx, h, a.name, a.want, restart)
}

func (a *aim) remove(ctx context.Context, h executor.Host) error {
	if a.now.Exists && !a.now.Masked {
		if err := move(ctx, h, a.name, a.want, false); err != nil {
			return err
		}
	}
	for _, name := range a.gone {
		if err := h.Remove(name); err != nil {
			return err
		}
	}
	return h.ReloadManager(ctx)
}

// move brings a timer to a state; restart makes one that runs take up its new file.
func move(ctx context.Context, h executor.Host, name string, want executor.Unit, restart bool) error {
	now, err := h.Unit(ctx, name)
	if err != nil {
		return err
	}
	if now.Masked && !want.Masked {
		if err := h.MaskUnit(ctx, name, false); err != nil {
			return err
		}
		if now, err = h.Unit(ctx, name); err != nil {
			return err
		}
	}
	var errs []error
	if now.Enabled != want.Enabled && !now.Masked {
		errs = append(errs, h.EnableUnit(ctx, name, want.Enabled))
	}
	switch {
	case want.Active && !now.Active:
		errs = append(errs, h.StartUnit(ctx, name))
	case want.Active && restart:
		errs = append(errs, h.RestartUnit(ctx, name))
	case !want.Active && now.Active:
		errs = append(errs, h.StopUnit(ctx, name))
	}
	if want.Masked && !now.Masked {
		errs = append(errs, h.MaskUnit(ctx, name, true))
	}
	return errors.Join(errs...)
}

// Revert stops what was not there before while its file still is, puts the files back, and then the timer's state.
func (m unit) Revert(ctx context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	var old undo
	if err := codec.Unmarshal(u.Data, &old); err != nil {
		return err
	}
	name := p.String("name") + ".timer"
	now, err := h.Unit(ctx, name)
	if err != nil {
		return err
	}
	was := executor.Unit{Exists: old.Exists, Active: old.Active, Enabled: old.Enabled, Masked: old.Masked}
	if now.Exists && !was.Exists {
		if err := move(ctx, h, name, was, false); err != nil {
			return err
		}
	}
	before, err := hashes(h, p)
	if err != nil {
		return err
	}
	if err := hostfile.RevertAll(h, executor.Undo{Data: old.Files, Old: u.Old}); err != nil {
		return err
	}
	after, err := hashes(h, p)
	if err != nil {
		return err
	}
	// Also where nothing is put back now: the one before may have died between the files and this.
	if err := h.ReloadManager(ctx); err != nil || !was.Exists {
		return err
	}
	return move(ctx, h, name, was, before != after)
}

// hashes are those of the timer's file, to see whether it changes.
func hashes(h executor.Host, p executor.Params) (string, error) {
	name := nameParam.Resource(p.String("name"))
	st, err := hostfile.Look(h, name)
	if err != nil || st == nil || !st.Mode.IsRegular() {
		return "", err
	}
	return h.Hash(name, *st)
}

// Join adds what a later change was the first to touch.
func (m unit) Join(first, later []byte) ([]byte, error) {
	var one, two undo
	if err := errors.Join(codec.Unmarshal(first, &one), codec.Unmarshal(later, &two)); err != nil {
		return nil, err
	}
	var err error
	if one.Files, err = hostfile.JoinAll(one.Files, two.Files); err != nil {
		return nil, err
	}
	return codec.Marshal(one)
}
