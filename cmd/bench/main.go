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
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, *binary, *files, *idle)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, binary string, files int, idle time.Duration) error {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "shoal-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := benchApply(ctx, binary, filepath.Join(dir, "apply"), files); err != nil {
		return err
	}
	return benchMesh(ctx, binary, filepath.Join(dir, "mesh"), idle)
}

// median of n runs of work; before prepares each run outside of the clock.
func median(n int, before func() error, work func() error) (time.Duration, error) {
	var all []time.Duration
	for range n {
		if before != nil {
			if err := before(); err != nil {
				return 0, err
			}
		}
		started := time.Now()
		if err := work(); err != nil {
			return 0, err
		}
		all = append(all, time.Since(started))
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

func row(what string, value any, note string) { fmt.Printf("  %-52s %14v  %s\n", what, value, note) }

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
