package simulation

import (
	"fmt"
	"sync"
)

// Campaign is many courses, one for each seed.
type Campaign struct {
	From, Seeds uint64
	Workers     int
	// Stop ends it at the first invariant that is broken.
	Stop bool
	// Report is called for each course, by one goroutine at a time, in no order.
	Report func(Result)
}

// Totals sum up a campaign.
type Totals struct {
	Courses, Steps, Committed, Faults int
	Twice                             int // courses that were run a second time, with the same hash
	Broken                            []Result
}

// twiceEvery is which of the seeds are run again, to see that they take the same course: once as before, to the last bit, and
// once with all signatures made and verified.
const twiceEvery = 100

// Run runs the campaign.
func (c Campaign) Run() (Totals, error) {
	var (
		totals Totals
		mu     sync.Mutex
		real   sync.RWMutex // whether signatures are real is so for all workers: held to read it, and to change it
		group  sync.WaitGroup
		next   = c.From
		failed error
	)
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		if next >= c.From+c.Seeds || failed != nil || c.Stop && len(totals.Broken) > 0 {
			return 0, false
		}
		next++
		return next - 1, true
	}
	for range max(1, c.Workers) {
		shared, err := NewShared()
		if err != nil {
			return totals, err
		}
		group.Go(func() {
			for seed, ok := take(); ok; seed, ok = take() {
				r, err := runOne(seed, shared, &real)
				mu.Lock()
				totals.count(r)
				if err != nil {
					failed = err
				}
				if c.Report != nil {
					c.Report(r)
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return totals, failed
}

// runOne runs a seed, and some twice. Two courses of one seed are a bug of the simulation, or of a Core.
func runOne(seed uint64, shared *Shared, real *sync.RWMutex) (Result, error) {
	real.RLock()
	defer real.RUnlock()
	r := Run(NewPlan(seed), shared, false)
	if seed%twiceEvery != 0 {
		return r, nil
	}
	again := Run(NewPlan(seed), shared, false)
	if again.Hash != r.Hash || again.Steps != r.Steps {
		return r, fmt.Errorf("seed %d took two courses: %016x in %d steps, then %016x in %d", seed, r.Hash, r.Steps, again.Hash, again.Steps)
	}
	again = runReal(seed, shared, real)
	if again.Sized != r.Sized || again.Steps != r.Steps {
		return r, fmt.Errorf("seed %d took another course with real signatures: %016x in %d steps, then %016x in %d",
			seed, r.Sized, r.Steps, again.Sized, again.Steps)
	}
	return r, nil
}

// runReal runs a seed with real signatures, alone. The caller holds the lock to read, and has it again afterwards.
func runReal(seed uint64, shared *Shared, real *sync.RWMutex) Result {
	real.RUnlock()
	defer real.RLock()
	real.Lock()
	defer real.Unlock()
	useRealSignatures(true)
	defer useRealSignatures(false)
	return Run(NewPlan(seed), shared, false)
}

func (t *Totals) count(r Result) {
	t.Courses++
	t.Steps += r.Steps
	t.Committed += r.Committed
	t.Faults += len(r.Plan.Faults)
	if r.Plan.Seed%twiceEvery == 0 {
		t.Twice++
	}
	if r.Violation != nil {
		t.Broken = append(t.Broken, r)
	}
}
