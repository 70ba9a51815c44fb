package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"shoal/internal/fleet"
)

// benchLarge pushes a tree with one large file to three nodes, which put it in its place, then the same with 1 % of it changed, and
// watches how much memory command and agents take beyond what they had.
func benchLarge(ctx context.Context, o options) error {
	f, err := gather(ctx, o.binary, o.dir, 3)
	if err != nil {
		return err
	}
	defer f.Close()
	size := o.file
	title("a file of %d MiB in a tree, three nodes", size>>20)
	name, err := largeTree(f, size)
	if err != nil {
		return err
	}
	if err := pushLarge(ctx, f, "first push, until committed", size, 1); err != nil {
		return err
	}
	if err := overwrite(name, size/3, size/100, 2); err != nil {
		return err
	}
	return pushLarge(ctx, f, "1 % of it changed", size/100, 2)
}

func largeTree(f *fleet.Fleet, size int64) (name string, err error) {
	tree := filepath.Join(f.Dir, "tree")
	err = writeTree(tree, map[string]string{
		"site.yaml":                "targets:\n  - on: \"*\"\n    components: [c]\n",
		"components/c/states.yaml": "states:\n  f:\n    file.managed: {path: /var/large, source: large}\n",
	})
	if err != nil {
		return "", err
	}
	name = filepath.Join(tree, "components/c/large")
	return name, overwrite(name, 0, size, 1)
}

// overwrite fills a part of a file with noise.
func overwrite(name string, at, n int64, seed byte) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(io.NewOffsetWriter(file, at), 1<<20)
	if _, err = io.CopyN(out, rand.NewChaCha8([32]byte{seed}), n); err == nil {
		err = out.Flush()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// pushLarge pushes, and waits until all nodes have it. The memory of a process above idle is told twice: what is its own, and all that is
// resident, in which the pages of files are that it has mapped.
func pushLarge(ctx context.Context, f *fleet.Fleet, what string, moved int64, version int) error {
	small, err := f.Shoal(ctx, "members", "--node", f.Nodes[0].Socket())
	if err != nil || small.Status != 0 {
		return fmt.Errorf("members: %v %s", err, small.Stderr)
	}
	idle, resident, err := idleMemory(f)
	if err != nil {
		return err
	}
	stop, peaks := make(chan struct{}), make(chan []int64)
	go watchPeaks(f, stop, peaks)
	started := time.Now()
	res, err := f.Shoal(ctx, "push", "tree", "--node", f.Nodes[0].Socket())
	committed := time.Since(started)
	if err == nil && res.Status != 0 {
		err = fmt.Errorf("push: status %d: %s", res.Status, res.Stderr)
	}
	if err == nil {
		err = fleet.Eventually(ctx, 10*time.Minute, func() error { return allAt(ctx, f, version) })
	}
	close(stop)
	peak := <-peaks
	if err != nil {
		return err
	}
	row(what, ms(committed), fmt.Sprintf("all three have applied it after %s; %.0f MB/s to each", ms(time.Since(started)), float64(moved)/1e6/time.Since(started).Seconds()))
	memoryRow("the command", res.MaxRSS-small.MaxRSS, "resident; above one that lists the members")
	for i, n := range f.Nodes {
		most, err := statusOf(n.PID(), "VmHWM")
		if err != nil {
			return err
		}
		memoryRow(n.Name, peak[i]-idle[i], fmt.Sprintf("anonymous; aim: 64 MiB; resident, mapped files too: %d MiB", (most-resident[i])>>20))
	}
	return nil
}

func memoryRow(of string, bytes int64, note string) {
	row("  memory of "+of+" above idle, at most", fmt.Sprintf("%d MiB", bytes>>20), note)
}

// idleMemory is what each agent has now, anonymous and resident; the highest that the kernel remembers of it begins anew.
func idleMemory(f *fleet.Fleet) (idle, resident []int64, err error) {
	if idle, err = anonymous(f); err != nil {
		return nil, nil, err
	}
	for _, n := range f.Nodes {
		now, err := statusOf(n.PID(), "VmRSS")
		if err == nil { // proc(5): 5 resets VmHWM
			err = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", n.PID()), []byte("5"), 0o600)
		}
		if err != nil {
			return nil, nil, err
		}
		resident = append(resident, now)
	}
	return idle, resident, nil
}

func allAt(ctx context.Context, f *fleet.Fleet, version int) error {
	var status struct {
		Nodes []struct{ Version int }
	}
	if err := f.JSON(ctx, &status, "status", "--node", f.Nodes[0].Socket()); err != nil {
		return err
	}
	for _, n := range status.Nodes {
		if n.Version != version {
			return fmt.Errorf("a node is at version %d", n.Version)
		}
	}
	return nil
}

func watchPeaks(f *fleet.Fleet, stop chan struct{}, out chan []int64) {
	peak := make([]int64, len(f.Nodes))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if now, err := anonymous(f); err == nil {
			for i := range now {
				peak[i] = max(peak[i], now[i])
			}
		}
		select {
		case <-stop:
			out <- peak
			return
		case <-tick.C:
		}
	}
}

// anonymous is the memory of each agent that is not pages of files: the store maps its tables, and those pages the kernel
// takes back when it needs them.
func anonymous(f *fleet.Fleet) ([]int64, error) {
	var out []int64
	for _, n := range f.Nodes {
		bytes, err := statusOf(n.PID(), "RssAnon")
		if err != nil {
			return nil, err
		}
		out = append(out, bytes)
	}
	return out, nil
}

// statusOf reads a field of /proc/PID/status that is in KiB, in bytes.
func statusOf(pid int, field string) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), "\n"+field+":")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0, fmt.Errorf("no %s for process %d", field, pid)
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	return kb << 10, err
}
