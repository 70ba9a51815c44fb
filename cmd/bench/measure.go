package main

import (
	"fmt"
	"math"
	"slices"
	"syscall"
	"time"
)

// work is one thing to measure; before prepares each run of it outside of the clock.
type work struct {
	do, before func() error
	clock      func() time.Duration // nil: the clock on the wall
}

var start = time.Now()

func sinceStart() time.Duration { return time.Since(start) }

// ownCPU is the processor time of this process, collector included: other programs do not show in it.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return sinceStart()
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// medians of n runs of each. They take turns, so that what else the machine is doing meets all of them alike.
func medians(n int, all ...work) ([]time.Duration, error) {
	took := make([][]time.Duration, len(all))
	for range n {
		for i, w := range all {
			if w.before != nil {
				if err := w.before(); err != nil {
					return nil, err
				}
			}
			clock := w.clock
			if clock == nil {
				clock = sinceStart
			}
			started := clock()
			if err := w.do(); err != nil {
				return nil, err
			}
			took[i] = append(took[i], clock()-started)
		}
	}
	mid := make([]time.Duration, len(all))
	for i, times := range took {
		mid[i] = quantile(times, 0.5)
	}
	return mid, nil
}

// quantile sorts times, and returns the one at q of 0 to 1.
func quantile(times []time.Duration, q float64) time.Duration {
	slices.Sort(times)
	return times[min(int(q*float64(len(times))), len(times)-1)]
}

// growth collects what was measured at some sizes.
type growth struct{ x, y []float64 }

func (g *growth) add(size int, y float64) { g.x, g.y = append(g.x, float64(size)), append(g.y, y) }

// row prints the line through the points, and the exponent of the power of the size that fits them best: 1 is linear.
func (g *growth) row(what string, scale float64, unit string) {
	slope, r2 := fitLine(g.x, g.y)
	exponent, exponentR2 := fitLine(logs(g.x), logs(g.y))
	row(what, fmt.Sprintf("%.1f %s", slope*scale, unit), fmt.Sprintf("R² %.4f; grows with the size to the power of %.2f (R² %.4f)", r2, exponent, exponentR2))
}

func logs(x []float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = math.Log(v)
	}
	return out
}

// fitLine is the least-squares line through points, by its slope and its coefficient of determination.
func fitLine(x, y []float64) (slope, r2 float64) {
	var sx, sy, sxx, sxy, syy float64
	n := float64(len(x))
	for i := range x {
		sx, sy, sxx, sxy, syy = sx+x[i], sy+y[i], sxx+x[i]*x[i], sxy+x[i]*y[i], syy+y[i]*y[i]
	}
	xx, xy, yy := sxx-sx*sx/n, sxy-sx*sy/n, syy-sy*sy/n
	return xy / xx, xy * xy / (xx * yy)
}

func title(format string, args ...any) { fmt.Printf("\n"+format+"\n", args...) }

func row(what string, value any, note string) { fmt.Printf("  %-56s %14v  %s\n", what, value, note) }

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

func mib(bytes float64) string { return fmt.Sprintf("%.1f MiB", bytes/(1<<20)) }
