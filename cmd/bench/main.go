// Command bench measures what users feel, as ratios against a twin that does the least that could do the same work, in
// the same run on the same disk. It asserts nothing: it prints. What it measures is in docs/benchmarks.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options of one run.
type options struct {
	binary string // absolute
	dir    string // of this run alone; gone afterwards
	large  int    // the most files that are managed
	idle   time.Duration
	file   int64 // bytes of the large file
	// peerFiles is how many files the peers have to make: some take a third of a second for each.
	peerFiles int
	peers     string // names, with commas between
	heads     []int  // agents in each measured mesh
}

// part is one thing that is measured.
type part struct {
	name string
	run  func(context.Context, options) error
}

// parts in the order in which they run. The peers are measured when asked for: they have to be installed.
func parts() []part {
	return []part{{"apply", benchApply}, {"drift", benchDrift}, {"compile", benchCompile}, {"readers", benchReaders}, {"mesh", benchMesh}, {"heads", benchHeads}, {"moves", benchMoves}, {"repair", benchRepair}, {"bigfile", benchLarge}, {"peers", benchPeers}}
}

func main() {
	binary := flag.String("shoal", "bin/shoal", "the binary to measure")
	large := flag.Int("files", 10_000, "the most managed files; also 100 and 1,000 where that is more")
	idle := flag.Duration("idle", time.Minute, "how long the idle mesh is watched")
	file := flag.Int64("file", 1<<30, "bytes of the large file")
	peerFiles := flag.Int("peer-files", 100, "files in the comparison with other tools")
	peerNames := flag.String("peers", "shoal,ansible,puppet,cfengine,bare,etcd", "who is compared; etcd stands beside the heads of a mesh")
	heads := flag.String("heads", "3,5", "agents in each mesh whose heads are measured; empty: only by turns with etcd")
	only := flag.String("only", "apply,drift,compile,readers,mesh,heads,moves,repair,bigfile", "what is measured, of apply, drift, compile, readers, mesh, heads, moves, repair, bigfile and peers")
	flag.Parse()
	var sizes []int
	if err := json.Unmarshal([]byte("["+*heads+"]"), &sizes); err != nil {
		fmt.Fprintln(os.Stderr, "bench: -heads:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, *binary, strings.Split(*only, ","), options{large: *large, idle: *idle, file: *file, peerFiles: *peerFiles, peers: *peerNames, heads: sizes})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, binary string, only []string, o options) (err error) {
	if o.binary, err = filepath.Abs(binary); err != nil {
		return err
	}
	if o.dir, err = os.MkdirTemp("", "shoal-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	printMachine()
	ran := 0
	for _, p := range parts() {
		if !slices.Contains(only, p.name) {
			continue
		}
		ran++
		own := o
		own.dir = filepath.Join(o.dir, p.name)
		if err := os.MkdirAll(own.dir, 0o755); err != nil {
			return err
		}
		if err := p.run(ctx, own); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if ran == 0 {
		return fmt.Errorf("-only %s: nothing of that name is measured", strings.Join(only, ","))
	}
	return nil
}

// printMachine says what ran this, and what else kept it busy.
func printMachine() {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		fmt.Printf("%s/%s, %d processors\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
		return
	}
	const loadUnit = 1 << 16 // of Sysinfo
	fmt.Printf("%s/%s, %d processors, %d GiB of memory, load %.1f at the start\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(),
		(info.Totalram*uint64(info.Unit)+1<<29)>>30, float64(info.Loads[0])/loadUnit)
}
