package linear

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Machines are what the faults are done to. Nodes are numbered as those that clients ask.
type Machines struct {
	// Kill ends an agent with SIGKILL, and Start brings it back.
	Kill, Start func(node int) error
	// Pause stops an agent with SIGSTOP, and Resume lets it go on.
	Pause, Resume func(node int) error
	// Cut parts the network: the nodes that are named hear one another and nobody else, and so do the others. None are named:
	// all hear all. nil: there is no network to cut.
	Cut func(nodes []int) error
}

// fault is one thing that goes wrong and is put right again.
type fault struct {
	kind  string // kill, pause, cut
	nodes []int
	at    time.Duration
	lasts time.Duration
}

func (f fault) String() string {
	return fmt.Sprintf("%7.3fs %s %v for %s", f.at.Seconds(), f.kind, f.nodes, f.lasts.Round(time.Millisecond))
}

// schedule draws what goes wrong when. A node is not harmed twice at a time, and there is one cut at a time; most of the time a
// majority is whole. Where there is time, one cut lasts until what is pushed at the smaller side is staged.
func schedule(dice *rand.Rand, nodes int, cuts bool, length time.Duration) []fault {
	var all []fault
	busy := make([]time.Duration, nodes) // until then
	var cut time.Duration
	kinds := []string{"kill", "pause"}
	if cuts {
		kinds = append(kinds, "cut", "cut")
	}
	staging := fault{kind: "cut", at: length / 2, lasts: stageTime + time.Second}
	if cuts && length > 3*staging.lasts {
		staging.nodes = dice.Perm(nodes)[:nodes/2]
		all = append(all, staging)
	}
	span := func(low, high time.Duration) time.Duration { return low + time.Duration(dice.Int64N(int64(high-low))) }
	for at := span(0, time.Second); at < length-2*time.Second; at += span(300*time.Millisecond, 1500*time.Millisecond) {
		f := fault{kind: kinds[dice.IntN(len(kinds))], at: at}
		switch f.kind {
		case "kill":
			f.lasts = span(0, 2*time.Second)
		case "pause":
			f.lasts = span(100*time.Millisecond, 4*time.Second)
		case "cut":
			f.lasts = span(500*time.Millisecond, 5*time.Second)
		}
		if f.kind == "cut" {
			if at < cut || len(staging.nodes) > 0 && at+f.lasts > staging.at && at < staging.at+staging.lasts {
				continue
			}
			cut = at + f.lasts + 500*time.Millisecond
			f.nodes = dice.Perm(nodes)[:1+dice.IntN(nodes/2)]
			all = append(all, f)
			continue
		}
		node := dice.IntN(nodes)
		if at < busy[node] {
			continue
		}
		f.nodes = []int{node}
		busy[node] = at + f.lasts + 3*time.Second // a start takes a moment
		all = append(all, f)
	}
	return all
}

func describe(all []fault) string {
	var b strings.Builder
	for _, f := range all {
		b.WriteString(f.String() + "\n")
	}
	return b.String()
}

// happen does the faults at their times, beside one another, and returns when all is put right.
func happen(ctx context.Context, m Machines, all []fault, began time.Time) error {
	var work sync.WaitGroup
	errs := make(chan error, len(all))
	for _, f := range all {
		work.Go(func() {
			wait(ctx, time.Until(began.Add(f.at)))
			if ctx.Err() != nil {
				return
			}
			errs <- f.do(ctx, m)
		})
	}
	work.Wait()
	close(errs)
	var failed []string
	for err := range errs {
		if err != nil {
			failed = append(failed, err.Error())
		}
	}
	if len(failed) > 0 {
		slices.Sort(failed)
		return fmt.Errorf("faults: %s", strings.Join(failed, "; "))
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d): // the schedule is one of wall time
	}
}

func (f fault) do(ctx context.Context, m Machines) error {
	var harm, mend func() error
	switch f.kind {
	case "kill":
		harm, mend = func() error { return m.Kill(f.nodes[0]) }, func() error { return m.Start(f.nodes[0]) }
	case "pause":
		harm, mend = func() error { return m.Pause(f.nodes[0]) }, func() error { return m.Resume(f.nodes[0]) }
	default:
		harm, mend = func() error { return m.Cut(f.nodes) }, func() error { return m.Cut(nil) }
	}
	if err := harm(); err != nil {
		return fmt.Errorf("%s: %w", f, err)
	}
	wait(ctx, f.lasts)
	if err := mend(); err != nil {
		return fmt.Errorf("end of %s: %w", f, err)
	}
	return nil
}
