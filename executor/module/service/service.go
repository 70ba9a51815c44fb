// Package service is the module service: units of the service manager.
package service

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"shoal/executor"
	"shoal/internal/codec"
	"shoal/states"
)

// Modules are the functions of this package.
func Modules() []executor.Module {
	yes, no := true, false
	return []executor.Module{
		state{name: "running", active: &yes, canEnable: true, reaction: "restarted",
			doc: "A service runs now and, where enabled says so, is or is not started with the machine. A masked one is unmasked. When a notifier changed, it is restarted."},
		state{name: "stopped", active: &no, canEnable: true,
			doc: "A service does not run now and, where enabled says so, is or is not started with the machine."},
		state{name: "enabled", enabled: &yes, doc: "A service is started with the machine. Whether it runs now is left alone."},
		state{name: "disabled", enabled: &no, doc: "A service is not started with the machine. Whether it runs now is left alone."},
		state{name: "masked", active: &no, masked: true, doc: "A service is stopped and cannot be started by anything."},
		action{name: "restarted", act: executor.Host.RestartUnit, starts: true,
			doc: "Restarts a service each time this runs; make the state lazy and notify it. One that does not run is started."},
		action{name: "reloaded", act: reload,
			doc: "Makes a service read its configuration again each time this runs; make the state lazy and notify it. One that does not run is started."},
	}
}

// reload starts what is not active: a start reads the configuration as well.
func reload(h executor.Host, ctx context.Context, name string) error {
	u, err := h.Unit(ctx, name)
	if err != nil {
		return err
	}
	if !u.Active {
		return h.StartUnit(ctx, name)
	}
	return h.ReloadUnit(ctx, name)
}

var nameParam = states.Param{Name: "name", Type: states.String, Required: true, Provides: states.ResourceService,
	Doc: "Name of the unit; .service is added where it has no type."}

var enabledParam = states.Param{Name: "enabled", Type: states.Bool,
	Doc: "Whether it is started with the machine. Without it that is left alone."}

var unitOutputs = []states.Output{
	{Name: "active", Type: states.Bool, Doc: "Whether it runs."},
	{Name: "enabled", Type: states.Bool, Doc: "Whether it is started with the machine."},
	{Name: "started", Type: states.Bool, Doc: "Whether this run started or restarted it: then it need not react to a notifier as well."},
}

// examples are for the manual.
var examples = map[string]string{
	"running": `web:
  service.running: {name: nginx, enabled: true}
  require: [conf]
conf:
  file.managed: {path: /etc/nginx/nginx.conf, source: files/nginx.conf}
  notify: [web]    # a change restarts it`,
	"stopped": `no-printing:
  service.stopped: {name: cups, enabled: false}`,
	"enabled": `at-boot:
  service.enabled: {name: fstrim.timer}`,
	"disabled": `not-at-boot:
  service.disabled: {name: bluetooth}`,
	"masked": `never:
  service.masked: {name: rpcbind}`,
	"restarted": `conf:
  file.managed: {path: /etc/app.conf, source: files/app.conf}
  notify: [restart]
restart:
  lazy: true
  service.restarted: {name: app}`,
	"reloaded": `conf:
  file.managed: {path: /etc/nginx/nginx.conf, source: files/nginx.conf}
  notify: [reload]
reload:
  lazy: true
  service.reloaded: {name: nginx}`,
}

const undoDoc = "Whether it ran, was enabled and was masked is put back."

// state is a function that compares the unit with what it is to be; nil fields are left alone.
type state struct {
	name, doc       string
	active, enabled *bool
	masked          bool
	canEnable       bool // takes the parameter enabled
	reaction        string
}

func (s state) Function() states.Function {
	f := states.Function{
		Module: "service", Name: s.name, Doc: s.doc,
		Params: []states.Param{nameParam}, Outputs: unitOutputs, Reaction: s.reaction, Example: examples[s.name],
		CheckDoc: "Asks the service manager for the unit.", UndoDoc: undoDoc, Validate: validate, Isolated: true,
	}
	if s.canEnable {
		f.Params = append(f.Params, enabledParam)
	}
	return f
}

func validate(params map[string]any) error {
	name := executor.Params(params).String("name")
	if name == "" || strings.ContainsAny(name, "/ \t\n*?[") || strings.HasPrefix(name, "-") {
		return fmt.Errorf("%q is not the name of a unit", name)
	}
	return nil
}

// want is what the unit is to be, given what it is.
func (s state) want(now executor.Unit, p executor.Params) executor.Unit {
	want := executor.Unit{Exists: now.Exists, Active: now.Active, Enabled: now.Enabled, Masked: s.masked}
	if s.active != nil {
		want.Active = *s.active
	}
	if s.enabled != nil {
		want.Enabled = *s.enabled
	}
	if enabled, ok := p.Bool("enabled"); ok && s.canEnable {
		want.Enabled = enabled
	}
	// Only what is to run or to be enabled has to be unmasked for it.
	if now.Masked && !want.Active && !want.Enabled {
		want.Masked = true
	}
	if want.Masked {
		want.Enabled = now.Enabled
	}
	return want
}

func (s state) Check(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	name := p.String("name")
	now, err := h.Unit(ctx, name)
	if err != nil {
		return executor.Change{}, err
	}
	want := s.want(now, p)
	change := executor.Change{Diff: unitDiff(now, want)}
	change.Needed = change.Diff != ""
	change.Outputs = outputs(want)
	change.Outputs["started"] = want.Active && !now.Active
	if change.Needed && !now.Exists && !want.Masked {
		return change, &executor.Missing{Kind: states.ResourceService, Name: name}
	}
	return change, nil
}

func (s state) Capture(ctx context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	return capture(ctx, h, p.String("name"))
}

func (s state) Apply(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	name := p.String("name")
	now, err := h.Unit(ctx, name)
	if err != nil {
		return nil, err
	}
	want := s.want(now, p)
	if err := move(ctx, h, name, now, want); err != nil {
		return nil, err
	}
	out := outputs(want)
	out["started"] = want.Active && !now.Active
	return out, nil
}

func (s state) Revert(ctx context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	return revert(ctx, h, p.String("name"), u)
}

// action is a function that does something each time it runs. It takes the parameters of running too, because it runs in
// its place when a notifier changed.
type action struct {
	name, doc string
	act       func(executor.Host, context.Context, string) error
	starts    bool // also what runs
}

func (a action) Function() states.Function {
	return states.Function{
		Module: "service", Name: a.name, Doc: a.doc,
		Params: []states.Param{nameParam, enabledParam}, Outputs: unitOutputs, Example: examples[a.name],
		CheckDoc: "Always needed: it runs whenever it is asked to.",
		UndoDoc:  undoDoc + " One that ran before is " + a.name + " once more when all else has been put back.",
		Validate: validate,
	}
}

// running is the state that an action leaves behind.
var running = func() state { yes := true; return state{active: &yes, canEnable: true} }()

func (a action) Check(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	name := p.String("name")
	now, err := h.Unit(ctx, name)
	if err != nil {
		return executor.Change{}, err
	}
	want := running.want(now, p)
	change := executor.Change{Needed: true, Always: true, Outputs: a.outputs(now, want),
		Diff: fmt.Sprintf("%s: %s\n", name, a.name) + unitDiff(now, want)}
	if !now.Exists {
		return change, &executor.Missing{Kind: states.ResourceService, Name: name}
	}
	return change, nil
}

func (a action) Capture(ctx context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	return capture(ctx, h, p.String("name"))
}

func (a action) Apply(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	name := p.String("name")
	now, err := h.Unit(ctx, name)
	if err != nil {
		return nil, err
	}
	want := running.want(now, p)
	ready := want
	ready.Active = now.Active
	if err := move(ctx, h, name, now, ready); err != nil {
		return nil, err
	}
	if err := a.act(h, ctx, name); err != nil {
		return nil, err
	}
	return a.outputs(now, want), nil
}

func (a action) outputs(now, want executor.Unit) map[string]any {
	out := outputs(want)
	out["started"] = a.starts || !now.Active
	return out
}

// Refreshes marks it as an executor.Refresher: what begins to run reads its files, and need not be told to.
func (a action) Refreshes() {}

func (a action) Revert(ctx context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	return revert(ctx, h, p.String("name"), u)
}

// Settle makes the service take up what a rollback has put back.
func (a action) Settle(ctx context.Context, h executor.Host, p executor.Params) error {
	name := p.String("name")
	now, err := h.Unit(ctx, name)
	if err != nil || !now.Active {
		return err
	}
	return a.act(h, ctx, name)
}

func capture(ctx context.Context, h executor.Host, name string) (executor.Undo, error) {
	u, err := h.Unit(ctx, name)
	if err != nil {
		return executor.Undo{}, err
	}
	data, err := codec.Marshal(before{Exists: u.Exists, Active: u.Active, Enabled: u.Enabled, Masked: u.Masked})
	return executor.Undo{Reversible: true, Data: data}, err
}

// before is what Revert needs.
type before struct {
	Exists  bool `cbor:"1,keyasint"`
	Active  bool `cbor:"2,keyasint"`
	Enabled bool `cbor:"3,keyasint"`
	Masked  bool `cbor:"4,keyasint"`
}

func revert(ctx context.Context, h executor.Host, name string, u executor.Undo) error {
	var old before
	if err := codec.Unmarshal(u.Data, &old); err != nil {
		return err
	}
	now, err := h.Unit(ctx, name)
	if err != nil {
		return err
	}
	if now.Unread { // what died did so between a symlink and the reload that belongs to it
		if err := h.ReloadManager(ctx); err != nil {
			return err
		}
	}
	if !old.Exists && !now.Masked {
		return nil // there was no unit, so there is no state of it to go back to
	}
	return move(ctx, h, name, now, executor.Unit{Exists: old.Exists, Active: old.Active, Enabled: old.Enabled, Masked: old.Masked})
}

// move takes a unit from now to want. A masked unit can be neither enabled nor started, so the mask comes off first and
// on last.
func move(ctx context.Context, h executor.Host, name string, now, want executor.Unit) error {
	if now.Masked && !want.Masked {
		if err := h.MaskUnit(ctx, name, false); err != nil {
			return err
		}
		seen, err := h.Unit(ctx, name)
		if err != nil {
			return err
		}
		now = seen
	}
	var errs []error
	if now.Enabled != want.Enabled && (now.Exists || want.Enabled) && !now.Masked {
		errs = append(errs, h.EnableUnit(ctx, name, want.Enabled))
	}
	// A service that does not start is still to be as enabled and as masked as it was, above all in a rollback.
	switch {
	case want.Active && !now.Active:
		errs = append(errs, h.StartUnit(ctx, name))
	case !want.Active && now.Active:
		errs = append(errs, h.StopUnit(ctx, name))
	}
	if want.Masked && !now.Masked {
		errs = append(errs, h.MaskUnit(ctx, name, true))
	}
	return errors.Join(errs...)
}

func unitDiff(now, want executor.Unit) string {
	var b strings.Builder
	for _, f := range []struct {
		field    string
		old, new bool
	}{
		{"active", now.Active, want.Active}, {"enabled", now.Enabled, want.Enabled}, {"masked", now.Masked, want.Masked},
	} {
		if f.old != f.new {
			fmt.Fprintf(&b, "%s: %s -> %s\n", f.field, yesNo(f.old), yesNo(f.new))
		}
	}
	return b.String()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func outputs(u executor.Unit) map[string]any {
	return map[string]any{"active": u.Active, "enabled": u.Enabled}
}
