package bubble

import (
	"bytes"
	"fmt"
	"os"
	"runtime/pprof"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"shoal/simulation/scenario"
)

// stuckTime is how long virtual time may stand still, in real time. Whoever waits for a lock that a sleeper holds stops it for ever.
const stuckTime = 2 * time.Minute

// Run plays a scenario in a bubble of its own. Should time stand still there, it prints what everybody waits for and ends the
// process: nothing within the bubble could.
func Run(t *testing.T, s *scenario.Scenario, o Options) (r *Result) {
	beat := &atomic.Uint64{}
	o.Beat = beat
	if !o.Unwatched {
		defer Watch(beat, s.File)()
	}
	began := time.Now()
	synctest.Test(t, func(*testing.T) { r = Play(s, o) })
	r.Wall = time.Since(began)
	return r
}

// Watch ends the process, and prints what everybody waits for, when time stands still in a bubble, which is when beat does; what
// names it. It must not be called in a bubble.
func Watch(beat *atomic.Uint64, what string) (stop func()) {
	return watchdog(beat, func() {
		var stacks bytes.Buffer
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 2)
		fmt.Fprintf(os.Stderr, "%s: virtual time has stood still for %s:\n%s", what, stuckTime, stacks.Bytes())
		os.Exit(2)
	})
}

// watchdog calls bark when beat has not changed for stuckTime, unless it is stopped. It must not be called in a bubble.
func watchdog(beat *atomic.Uint64, bark func()) (stop func()) {
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		last, since := beat.Load(), time.Now()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			if now := beat.Load(); now != last {
				last, since = now, time.Now()
			} else if time.Since(since) > stuckTime {
				bark()
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
