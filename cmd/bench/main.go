// Command bench measures what users feel, as ratios against a twin that does the least that could do the same work, in
// the same run on the same disk. It asserts nothing: it prints.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

func main() {
	binary := flag.String("shoal", "bin/shoal", "the binary to measure")
	files := flag.Int("files", 1000, "managed files in the apply measurements")
	idle := flag.Duration("idle", time.Minute, "how long the idle mesh is watched")
	only := flag.String("only", "", "compile: the compiler alone, which needs no binary; large: one large file alone")
	large := flag.Int64("large", 1<<30, "bytes of the large file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, *binary, *only, *files, *large, *idle)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, binary, only string, files int, large int64, idle time.Duration) error {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "shoal-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if only == "compile" {
		return benchCompile(filepath.Join(dir, "compile"))
	}
	if only == "large" {
		return benchLarge(ctx, binary, filepath.Join(dir, "large"), large)
	}
	if err := benchApply(ctx, binary, filepath.Join(dir, "apply"), files); err != nil {
		return err
	}
	if err := benchCompile(filepath.Join(dir, "compile")); err != nil {
		return err
	}
	if err := benchMesh(ctx, binary, filepath.Join(dir, "mesh"), idle); err != nil {
		return err
	}
	return benchLarge(ctx, binary, filepath.Join(dir, "large"), large)
}

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
		slices.Sort(times)
		mid[i] = times[len(times)/2]
	}
	return mid, nil
}

func row(what string, value any, note string) { fmt.Printf("  %-52s %14v  %s\n", what, value, note) }

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
