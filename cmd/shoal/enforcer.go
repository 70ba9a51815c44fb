package main

import (
	"context"
	"log/slog"
	"sync"

	"shoal/executor"
	"shoal/mesh/node"
	"shoal/states"
	"shoal/store"
)

// enforcer joins the node to the executor: it compiles a revision for this machine, and makes the machine match.
type enforcer struct {
	machine *machine
	tags    map[string]string
	log     *slog.Logger

	mu       sync.Mutex // one run at a time; a drift comes while a revision is applied
	compiled store.Hash // the revision of plan
	plan     *states.Plan
	watch    func(paths []string)
}

// Enforce implements node.Enforcer.
func (e *enforcer) Enforce(ctx context.Context, w node.Wanted) executor.Report {
	e.mu.Lock()
	defer e.mu.Unlock()
	of := executor.Of{Env: w.Env, Version: w.Version, Revision: w.Revision.String()}
	if err := e.compile(w); err != nil {
		return executor.Report{
			Node: w.Member.Name, Env: of.Env, Version: of.Version, Revision: of.Revision,
			Result: executor.RunFailed, States: []executor.StateReport{}, Error: "the tree does not compile for this node: " + err.Error(),
		}
	}
	report := e.machine.apply(ctx, e.plan, w.Tree, of)
	e.watch(e.machine.engine.Managed())
	return report
}

// compile keeps the plan of the newest revision, so that putting a deleted file back costs no compilation.
func (e *enforcer) compile(w node.Wanted) error {
	if e.plan != nil && e.compiled == w.Revision {
		return nil
	}
	n := states.Node{Name: w.Member.Name, Zone: w.Member.Zone, Tags: map[string]string{}}
	for k, v := range e.tags {
		n.Tags[k] = v
	}
	for k, v := range w.Member.Tags {
		n.Tags[k] = v
	}
	plan, err := states.Compile(w.Tree, n, functions())
	if err != nil {
		return err
	}
	e.plan, e.compiled = plan, w.Revision
	return nil
}


