// Package enforcer joins a node to the executor: it compiles a revision for one machine, and makes the machine match. The agent
// has it on a real machine, the simulation on one in memory.
package enforcer

import (
	"context"
	"reflect"

	"shoal/executor"
	"shoal/internal/keyring"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/node"
	"shoal/states"
	"shoal/store"
)

// Enforcer implements node.Enforcer and node.FleetReader. The node calls it from one goroutine.
type Enforcer struct {
	Engine    *executor.Engine
	Functions []states.Function
	Facts     map[string]string
	// Watch, unless nil, is called after a run that looked at everything: what the engine manages may be another by now.
	Watch func(*executor.Engine)
	// Keys, unless nil, has what is sealed for this machine; without it Secrets says what secret() answers.
	Keys    *keyring.Keyring
	Secrets *states.Secrets

	compiled  store.Hash // the revision that plan is of
	plan      *states.Plan
	fleet     []states.Node
	node      states.Node // plan is for
	secrets   *states.Secrets
	converged bool // the machine matched plan once
}

var (
	_ node.Enforcer    = (*Enforcer)(nil)
	_ node.FleetReader = (*Enforcer)(nil)
)

// ReadsFleet implements node.FleetReader.
func (e *Enforcer) ReadsFleet() bool { return e.plan != nil && e.plan.ReadsFleet }

// Enforce implements node.Enforcer.
func (e *Enforcer) Enforce(ctx context.Context, w node.Wanted) executor.Report {
	meta := executor.RunMeta{Env: w.Env, Version: w.Version, Revision: w.Revision.String(), Contact: w.Contact, Touched: w.Touched}
	if err := e.compile(w); err != nil {
		return executor.Report{
			Node: w.Member.Name, Env: meta.Env, Version: meta.Version, Revision: meta.Revision,
			Result: executor.RunFailed, States: []executor.StateReport{}, Error: "the tree does not compile for this node: " + err.Error(),
		}
	}
	contents := executor.TreeContents(w.Tree)
	meta.Resolver = states.NewLate(w.Tree, e.plan).With(e.secrets)
	if e.converged && e.plan.Policy.Drift == "report" {
		return e.Engine.Check(ctx, e.plan, contents, meta) // what drifted is told, and left
	}
	report := e.Engine.Apply(ctx, e.plan, contents, meta)
	e.converged = e.converged || report.Result == executor.Converged
	if report.NotLookedAt == 0 && e.Watch != nil {
		e.Watch(e.Engine)
	}
	return report
}

// compile keeps the plan of the newest revision, so that putting a deleted file back costs no compilation; one that reads the
// fleet is made again when that has changed, and any when this node is granted something else.
func (e *Enforcer) compile(w node.Wanted) error {
	fleet := Fleet(w.Fleet)
	self := NodeOf(w.Member, e.Facts)
	if e.plan != nil && e.compiled == w.Revision && reflect.DeepEqual(e.node, self) && (!e.plan.ReadsFleet || reflect.DeepEqual(e.fleet, fleet)) {
		return nil
	}
	sealed, err := e.sealed(w)
	if err != nil {
		return err
	}
	plan, err := states.Compile(w.Tree, states.Input{Node: self, Fleet: fleet, Secrets: sealed}, e.Functions)
	if err != nil {
		return err
	}
	e.plan, e.compiled, e.fleet, e.node, e.secrets, e.converged = plan, w.Revision, fleet, self, sealed, false
	return nil
}

func (e *Enforcer) sealed(w node.Wanted) (*states.Secrets, error) {
	if e.Keys == nil {
		return e.Secrets, nil
	}
	return e.Keys.Read(w.Tree, w.Env, w.Member, w.Fleet)
}

// NodeOf is a member as the language knows it, with the facts of its machine.
func NodeOf(m membership.Member, facts map[string]string) states.Node {
	return states.Node{Name: m.Name, Zone: m.Zone, Tags: WithFacts(m.Tags, facts)}
}

// Fleet are the members of a mesh as the language knows them: what their grants say, and not who of them is up, so that it
// is the same on every node.
func Fleet(members []mesh.MemberInfo) []states.Node {
	fleet := make([]states.Node, len(members))
	for i, m := range members {
		fleet[i] = states.Node{Name: m.Name, Zone: m.Zone, Tags: m.Tags}
	}
	return fleet
}

// WithFacts adds the facts of a machine to what was granted; a fact never hides a grant.
func WithFacts(granted, facts map[string]string) map[string]string {
	tags := map[string]string{}
	for k, v := range facts {
		tags[k] = v
	}
	for k, v := range granted {
		tags[k] = v
	}
	return tags
}
