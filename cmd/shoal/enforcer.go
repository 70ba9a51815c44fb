package main

import (
	"context"
	"log/slog"
	"reflect"
	"runtime/debug"

	"shoal/executor"
	"shoal/executor/local"
	"shoal/mesh/node"
	"shoal/states"
	"shoal/store"
)

// enforcer joins the node to the executor: it compiles a revision for this machine, makes the machine match, and watches
// what it made. The node calls it from one goroutine.
type enforcer struct {
	machine *machine
	watcher *local.Watcher
	units   *local.UnitWatcher // nil: the machine has no systemd
	facts   map[string]string
	log     *slog.Logger

	compiled  store.Hash // the revision that plan is of
	plan      *states.Plan
	fleet     []states.Node
	converged bool // the machine matched plan once
}

// ReadsFleet implements node.FleetReader.
func (e *enforcer) ReadsFleet() bool { return e.plan != nil && e.plan.ReadsFleet }

// Enforce implements node.Enforcer.
func (e *enforcer) Enforce(ctx context.Context, w node.Wanted) executor.Report {
	defer debug.SetGCPercent(debug.SetGCPercent(busyGrowth))
	meta := executor.RunMeta{Env: w.Env, Version: w.Version, Revision: w.Revision.String(), Contact: w.Contact, Touched: w.Touched}
	if err := e.compile(w); err != nil {
		return executor.Report{
			Node: w.Member.Name, Env: meta.Env, Version: meta.Version, Revision: meta.Revision,
			Result: executor.RunFailed, States: []executor.StateReport{}, Error: "the tree does not compile for this node: " + err.Error(),
		}
	}
	contents := executor.TreeContents(w.Tree)
	meta.Resolver = states.NewLate(w.Tree, e.plan)
	if e.converged && e.plan.Policy.Drift == "report" {
		return e.machine.engine.Check(ctx, e.plan, contents, meta) // what drifted is told, and left
	}
	report := e.machine.engine.Apply(ctx, e.plan, contents, meta)
	e.converged = e.converged || report.Result == executor.Converged
	if report.NotLookedAt > 0 {
		return report // what there is to watch is the same
	}
	e.watcher.Watch(e.machine.engine.Managed())
	if e.units != nil {
		e.units.Watch(e.machine.engine.ManagedServices())
	}
	return report
}

// compile keeps the plan of the newest revision, so that putting a deleted file back costs no compilation; one that reads the
// fleet is made again when that has changed.
func (e *enforcer) compile(w node.Wanted) error {
	fleet := fleetOf(w.Fleet)
	if e.plan != nil && e.compiled == w.Revision && (!e.plan.ReadsFleet || reflect.DeepEqual(e.fleet, fleet)) {
		return nil
	}
	tags := withFacts(w.Member.Tags, e.facts)
	node := states.Node{Name: w.Member.Name, Zone: w.Member.Zone, Tags: tags}
	plan, err := states.Compile(w.Tree, states.Input{Node: node, Fleet: fleet}, functions())
	if err != nil {
		return err
	}
	e.plan, e.compiled, e.fleet, e.converged = plan, w.Revision, fleet, false
	return nil
}
