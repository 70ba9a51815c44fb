package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"shoal/internal/codec"
	"shoal/states"
)

// Engine makes one machine match plans. It keeps nothing between runs but which paths the last one looked after, and what a run
// that is told what was touched may take as known.
type Engine struct {
	Host    Host
	Modules map[string]Module // by full name, such as file.managed
	Loader  Loader            // of extension modules; nil: they are refused
	Journal Journal
	Ledger  Ledger
	Vault   Vault
	Lock    Lock
	Clock   Clock
	// Outlived waits until what an earlier run had started, and what has outlived it, is over; nil: nothing does. It is asked before
	// such a run is rolled back.
	Outlived func(ctx context.Context) error
	// Workers is how many invocations may run at a time where the order lets them; 0 and 1: one.
	Workers int

	mu       sync.Mutex
	managed  []string
	services []string

	extensions extensions
	// settled belongs to who holds the lock.
	settled *settled
}

// Catalogue indexes modules by the names of their functions.
func Catalogue(modules ...Module) map[string]Module {
	all := make(map[string]Module, len(modules))
	for _, m := range modules {
		all[m.Function().FullName()] = m
	}
	return all
}

// RunMeta says what a run is for.
type RunMeta struct {
	Env      string
	Version  uint64
	Revision string
	// Contact, unless nil, is asked before the first change. What it gives, unless nil, is asked when everything is done and
	// before it is committed: an error rolls back. It is where a node makes sure that it still reaches whom it reached before.
	Contact func(ctx context.Context) (confirm func(context.Context) error)
	// Touched, unless empty, are the paths and services that somebody touched since the last run: the run looks at these and at
	// what may follow from them, as far as that can be told beforehand; else at everything. nil: at everything.
	Touched []string
	// Resolver evaluates what the plan left open. One that leaves nothing open needs none.
	Resolver Resolver
}

// Resolver evaluates a value that reads outputs, from the outputs of the states that have run. Contents come with the bytes
// that their hash names. states.Late is it.
type Resolver interface {
	Resolve(d states.Deferred, outputs map[states.OutputRef]any) (value any, rendered []byte, err error)
}

// Check says what Apply would do, and touches nothing.
func (e *Engine) Check(ctx context.Context, plan *states.Plan, contents Contents, meta RunMeta) (report Report) {
	r := e.newRun(plan, contents, meta)
	defer func() { report.TookMS = r.took() }()
	r.survey(ctx)
	r.report.Result = Converged
	if r.failure.err != nil {
		r.report.Result, r.report.Error = RunFailed, r.failure.err.Error()
	}
	r.foresee()
	r.show()
	r.mask()
	return r.report.Report
}

// Apply makes the machine match the plan, all of it or nothing.
func (e *Engine) Apply(ctx context.Context, plan *states.Plan, contents Contents, meta RunMeta) (report Report) {
	r := e.newRun(plan, contents, meta)
	defer func() { report.TookMS = r.took() }()
	unlock, err := e.Lock.Lock(ctx)
	if err != nil {
		return r.broken(err)
	}
	defer unlock()
	if recovered, found, err := e.recover(ctx); err != nil {
		return r.broken(err)
	} else if found {
		r.report.Left = recovered.Left
	} else if part := e.narrow(plan, meta.Touched); part != nil {
		p := e.newRun(part.plan, contents, meta)
		p.part = part
		if p.makeSo(ctx, plan); p.enough() {
			return p.report.Report
		}
		r.report.before = p.changes()
	}
	r.makeSo(ctx, plan)
	if f, ok := e.Host.(interface{ Flush() error }); ok {
		if err := f.Flush(); err != nil && r.report.Error == "" {
			r.report.Error = err.Error() // the caches: the machine is as the result says
		}
	}
	return r.report.Report
}

// makeSo is the run itself, of a plan or of a part of the whole one.
func (r *run) makeSo(ctx context.Context, whole *states.Plan) {
	r.answers.acting = true
	r.survey(ctx)
	if r.strayed = r.part != nil && r.strays(); r.strayed {
		return
	}
	r.apply(ctx)
	r.show()
	r.mask()
	r.settleFor(whole)
}

// Recover rolls back a run that was cut short, and says whether there was one.
func (e *Engine) Recover(ctx context.Context) (Report, bool, error) {
	unlock, err := e.Lock.Lock(ctx)
	if err != nil {
		return Report{}, false, err
	}
	defer unlock()
	return e.recover(ctx)
}

// Managed returns the paths that the last run looked after, and those of the ledger, sorted.
func (e *Engine) Managed() []string {
	paths := map[string]bool{}
	e.mu.Lock()
	for _, path := range e.managed {
		paths[path] = true
	}
	e.mu.Unlock()
	if led, err := e.loadLedger(); err == nil {
		for _, entry := range led.Entries {
			if path, ok := entry.path(); ok {
				paths[path] = true
			}
		}
	}
	out := make([]string, 0, len(paths))
	for path := range paths {
		out = append(out, path)
	}
	slices.Sort(out)
	return out
}

// ManagedServices returns the services that the last run looked after, sorted.
func (e *Engine) ManagedServices() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(e.services)))
}

func (e *Engine) loadLedger() (*ledger, error) {
	data, err := e.Ledger.Load()
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	return decodeLedger(data)
}

func (e *Engine) storeLedger(l *ledger) error {
	size := 1 << 10
	for i := range l.Entries {
		size += len(l.Entries[i].Saved) + len(l.Entries[i].Key) + 128
	}
	data := bytes.NewBuffer(make([]byte, 0, size))
	if err := codec.Append(data, l); err != nil {
		return err
	}
	if err := e.Ledger.Store(data.Bytes()); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	return nil
}

func (e *Engine) module(name string) (Module, error) {
	m, ok := e.Modules[name]
	if !ok {
		return nil, fmt.Errorf("no function %s on this machine", name)
	}
	return m, nil
}

// planContents opens what the plan itself holds, and asks for the rest.
type planContents struct {
	rendered map[string][]byte
	rest     Contents

	mu   sync.RWMutex
	late map[string][]byte // what was rendered from outputs
}

func (c *planContents) Bytes(ctx context.Context, content states.Content) ([]byte, error) {
	if data, ok := c.rendered[content.Hash]; ok {
		return data, nil
	}
	c.mu.RLock()
	data, ok := c.late[content.Hash]
	c.mu.RUnlock()
	if ok {
		return data, nil
	}
	if c.rest == nil {
		return nil, errors.New("no contents " + content.Hash)
	}
	return c.rest.Bytes(ctx, content)
}

func (c *planContents) add(hash string, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.late == nil {
		c.late = map[string][]byte{}
	}
	c.late[hash] = data
}

// vaultContents opens what was kept for an undo.
type vaultContents struct{ vault Vault }

func (c vaultContents) Bytes(_ context.Context, content states.Content) ([]byte, error) {
	return c.vault.Get(content.Hash)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
