package node

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"shoal/executor"
	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/store"
)

// After a run that failed, a drift is looked at again after failedAgain, doubled at each failure up to Config.FullCheck: a
// rollback makes changes itself, and must not chase its own tail. The first failure of what was in force before is looked at
// again after failedOnce: mostly somebody damaged a file once more, just while it was put back.
const (
	failedOnce  = 100 * time.Millisecond
	failedAgain = 10 * time.Second
	// unreadAgain is after how long a run is tried again that could not begin or not read its tree, doubled each time.
	unreadAgain = time.Second
)

// Site is what an Enforcement needs of what is around it: a Node, or where the two are different processes, the other side of a
// Node. Its methods may be called from the goroutine of Run alone.
type Site interface {
	// Object reads an object. Those of what is to be enforced are on this machine's disk.
	Object(ctx context.Context, hash store.Hash) ([]byte, error)
	// Member is this node as its grant has it.
	Member() membership.Member
	// Fleet are all members, sorted by name.
	Fleet() []mesh.MemberInfo
	// Contact is Wanted.Contact.
	Contact(ctx context.Context) (confirm func(context.Context) error)
	// Report takes what became of a run.
	Report(ctx context.Context, r mesh.Reported)
}

// Duty is what an Enforcement is made with. Enforcer and Drift may be nil.
type Duty struct {
	Site      Site
	Enforcer  Enforcer
	Drift     <-chan []string
	FullCheck time.Duration
	Logger    *slog.Logger
	Ran       func() // unless nil, is called after each run
}

// Executive is an Enforcement, or one in another process.
type Executive interface {
	// Run works until ctx ends.
	Run(ctx context.Context)
	// Want replaces what is to be enforced.
	Want(c mesh.Converge)
	// FleetChanged tells that a member came or went, or has another grant.
	FleetChanged()
	KeyKeeper
}

// Enforcement runs the Enforcer: one run at a time, the newest revision, and never in the way of the loop. It needs no
// network.
type Enforcement struct {
	duty Duty
	wake chan struct{} // there is something in wanted; holds one
	// roster: it changed; holds one.
	roster chan struct{}
	keys   chan struct{} // one came that was lacking; holds one

	mu     sync.Mutex
	wanted *mesh.Converge

	// The rest belongs to run's goroutine.
	now   *mesh.Converge
	last  executor.Report
	drift int // things that differed since the revision
	// open are those of them that the last run left, since the policy is to report.
	open    map[string]bool
	touched []executor.Drift  // since the last run
	names   map[string]bool   // of all that was touched since; more than maxNames of them are all that there is
	failed  int               // runs of this revision in a row
	held    bool              // this revision was in force once
	member  membership.Member // as it was at the last run
	unread  bool              // the last run failed, and had begun nothing or could not read its tree
	notYet  time.Time
}

var _ Executive = (*Enforcement)(nil)

// NewEnforcement makes one that begins with nothing to enforce.
func NewEnforcement(d Duty) *Enforcement {
	return &Enforcement{duty: d, wake: make(chan struct{}, 1), roster: make(chan struct{}, 1), keys: make(chan struct{}, 1)}
}

// FleetChanged implements Executive: it asks for a run where what is enforced depends on who is in the mesh.
func (e *Enforcement) FleetChanged() {
	select {
	case e.roster <- struct{}{}:
	default:
	}
}

// Want implements Executive.
func (e *Enforcement) Want(c mesh.Converge) {
	e.mu.Lock()
	e.wanted = &c
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *Enforcement) take() *mesh.Converge {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.wanted
	e.wanted = nil
	return c
}

// reason is why a run is made.
type reason int

const (
	becauseNew reason = iota
	becauseDrift
	becauseTime
)

// Run implements Executive.
func (e *Enforcement) Run(ctx context.Context) {
	full := time.NewTimer(e.fullCheck())
	defer full.Stop()
	var later <-chan time.Time // of a drift that has to wait
	for {
		why := becauseDrift
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
			if c := e.take(); c != nil {
				e.now, e.drift, e.failed, e.notYet, e.held = c, 0, 0, time.Time{}, false
				e.open, e.touched, e.names = nil, nil, nil
			}
			why = becauseNew
		case <-e.roster:
			reader, ok := e.duty.Enforcer.(FleetReader)
			if (!ok || !reader.ReadsFleet()) && !e.granted() {
				continue
			}
			why = becauseNew
		case <-e.keys:
			if e.last.Result != executor.RunFailed {
				continue // it did without
			}
			why = becauseNew
		case names := <-e.duty.Drift:
			e.notice(names)
			if wait := time.Until(e.notYet); wait > 0 {
				if later == nil {
					later = time.After(wait)
				}
				continue
			}
		case <-later:
			later = nil
		case <-full.C:
			full.Reset(e.fullCheck())
			why = becauseTime
		}
		if e.now != nil && e.duty.Enforcer != nil {
			e.once(ctx, why)
			if e.unread && later == nil {
				later = time.After(min(unreadAgain<<min(e.failed, 10), e.duty.FullCheck))
			}
		}
	}
}

// granted tells whether this node was granted something else since the last run.
func (e *Enforcement) granted() bool {
	now := e.duty.Site.Member()
	return now.Name != e.member.Name || now.Zone != e.member.Zone || !maps.Equal(now.Tags, e.member.Tags)
}

// openOf are the parts of a report that differ and are left as they are.
func openOf(r executor.Report) map[string]bool {
	open := map[string]bool{}
	for i, s := range r.States {
		if s.Result == executor.WouldChange || s.Result == executor.Unknown {
			open[fmt.Sprintf("%d %s %s", i, s.ID, s.Diff)] = true
		}
	}
	return open
}

// maxTouched is how many of the things that were touched a report names.
const maxTouched = 100

// maxNames is for how many things that were touched a run is narrowed.
const maxNames = 10_000

// notice keeps what was touched, and when, for the report of the run that it leads to.
func (e *Enforcement) notice(names []string) {
	now := time.Now().UTC().Format(time.RFC3339Nano)
	if e.names == nil {
		e.names = map[string]bool{}
	}
	for _, name := range names {
		if len(e.names) <= maxNames {
			e.names[name] = true
		}
		known := slices.ContainsFunc(e.touched, func(d executor.Drift) bool { return d.Name == name })
		if !known && len(e.touched) < maxTouched {
			e.touched = append(e.touched, executor.Drift{Name: name, Seen: now})
		}
	}
}

// fullCheck is jittered, so that not all machines work at the same time.
func (e *Enforcement) fullCheck() time.Duration {
	d := e.duty.FullCheck
	return d*3/4 + rand.N(d/2+1)
}

func (e *Enforcement) once(ctx context.Context, why reason) {
	head := e.now.Head
	tree := treeReader{get: e.duty.Site.Object}
	report := e.enforce(ctx, &tree, e.about(why))
	if e.duty.Ran != nil {
		e.duty.Ran()
	}
	if ctx.Err() != nil {
		return // cut short: it says nothing about the machine
	}
	begun := report.Result != executor.RunFailed || len(report.States) > 0
	e.unread = report.Result != executor.Converged && (tree.failed.Load() || !begun)
	open, known := openOf(report), 0
	for row := range open {
		if e.open[row] {
			known++
		}
	}
	if report.Result == executor.Converged {
		e.failed, e.notYet, e.held = 0, time.Time{}, true
		if why != becauseNew {
			e.drift += report.Changed - known
		}
	} else {
		e.notYet = time.Now().Add(e.patience())
		e.failed++
	}
	same := report.Result == e.last.Result && report.Revision == e.last.Revision && report.Error == e.last.Error && maps.Equal(open, e.open)
	if why == becauseDrift && same && (report.Changed == len(open) || report.Result != executor.Converged) {
		e.touched = nil
		return // an echo of our own changes: nothing to tell
	}
	if why != becauseNew {
		report.Drift = e.touched
	}
	e.open, e.touched = open, nil
	e.last = report
	e.duty.Logger.Info("enforced", "env", head.Env, "version", head.Version, "result", report.Result, "changed", report.Changed,
		"error", report.Error)
	e.duty.Site.Report(ctx, mesh.Reported{Summary: mesh.Summary{
		Env: head.Env, Version: head.Version, Revision: head.Revision, Result: string(report.Result),
		Changed: report.Changed, Drift: e.drift, Error: report.Error,
	}, Report: encodeReport(report)})
}

// patience is how long a drift has to wait after a failure.
func (e *Enforcement) patience() time.Duration {
	if e.failed == 0 && e.held {
		return failedOnce
	}
	failures := e.failed
	if e.held {
		failures-- // but for the first
	}
	return min(failedAgain<<min(failures, 10), e.duty.FullCheck)
}

// about is what a run may keep to: what was touched, where the last run left the machine as it is to be; nil: to nothing.
func (e *Enforcement) about(why reason) []string {
	names := e.names
	e.names = nil
	if why != becauseDrift || !e.held || e.failed > 0 || len(names) > maxNames {
		return nil
	}
	return slices.Sorted(maps.Keys(names))
}

// treeReader notes whether an object of a tree could not be read. The run that fails for it is soon made again: what was damaged
// on this disk comes from a peer that may not have been here yet.
type treeReader struct {
	get    store.Getter
	failed atomic.Bool
}

func (t *treeReader) fetch(ctx context.Context, hash store.Hash) ([]byte, error) {
	data, err := t.get(ctx, hash)
	if err != nil {
		t.failed.Store(true)
	}
	return data, err
}

func (e *Enforcement) enforce(ctx context.Context, tree *treeReader, touched []string) executor.Report {
	site, head := e.duty.Site, e.now.Head
	member := site.Member()
	e.member = member
	// The tree is on this disk; what was damaged since comes from the others.
	manifest, err := store.OpenManifest(ctx, e.now.Manifest, tree.fetch)
	if err != nil {
		return executor.Report{
			Node: member.Name, Env: head.Env, Version: head.Version, Revision: head.Revision.String(),
			Result: executor.RunFailed, States: []executor.StateReport{}, Error: fmt.Sprintf("the tree cannot be read: %v", err),
		}
	}
	return e.duty.Enforcer.Enforce(ctx, Wanted{
		Env: head.Env, Version: head.Version, Revision: head.Revision,
		Tree: store.OpenTree(ctx, manifest, tree.fetch), Member: member, Fleet: site.Fleet(), Contact: site.Contact,
		Touched: touched,
	})
}

// encodeReport encodes a report in at most mesh.MaxReport bytes. What does not fit is left out, the bulkiest first: diffs
// and outputs, then the states that are unchanged, then the rest of the states; the result always fits.
func encodeReport(r executor.Report) []byte {
	trims := []func(){
		func() {},
		func() {
			states := append([]executor.StateReport(nil), r.States...)
			for i := range states {
				states[i].Outputs = nil
				if len(states[i].Diff) > 200 {
					states[i].Diff = states[i].Diff[:200] + "\n(cut)"
				}
			}
			r.States = states
		},
		func() {
			var states []executor.StateReport
			for _, s := range r.States {
				if s.Result != executor.Unchanged {
					s.Diff = ""
					states = append(states, s)
				}
			}
			r.States = states
		},
		func() { r.States = r.States[:min(len(r.States), 200)] },
		func() { r.States, r.Left, r.Drift = nil, nil, nil },
	}
	for _, trim := range trims {
		trim()
		if data, err := codec.Marshal(r); err == nil && len(data) <= mesh.MaxReport {
			return data
		}
	}
	r.Error = r.Error[:min(len(r.Error), 4096)]
	data, err := codec.Marshal(r)
	if err != nil {
		return nil
	}
	return data
}
