package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"shoal/internal/fleet"
)

// benchMesh measures a push to five nodes, and the same five when nothing happens.
func benchMesh(ctx context.Context, o options) error {
	f, err := gather(ctx, o.binary, o.dir, 5)
	if err != nil {
		return err
	}
	defer f.Close()
	title("push of a one-line change to five nodes")
	for version := 1; version <= 6; version++ {
		if err := push(ctx, f, version); err != nil {
			return err
		}
	}
	title("an idle agent in a five-node mesh, over %s", o.idle)
	return watchIdle(ctx, f, o.idle)
}

// gather makes a folder and starts a mesh of so many nodes from it.
func gather(ctx context.Context, binary, dir string, count int) (*fleet.Fleet, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := fleet.New(binary, dir)
	if err != nil {
		return nil, err
	}
	if err := join(ctx, f, count); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func join(ctx context.Context, f *fleet.Fleet, count int) error {
	if res, err := f.Shoal(ctx, "init"); err != nil || res.Status != 0 {
		return fmt.Errorf("init: %v %s", err, res.Stderr)
	}
	var last *fleet.Node
	for i := range count {
		n := f.Add(fmt.Sprintf("n%d", i+1), "role=bench")
		if _, err := n.Ticket(ctx); err != nil {
			return err
		}
		if _, err := n.Join(ctx, last); err != nil {
			return err
		}
		last = n
		if err := fleet.Eventually(ctx, 30*time.Second, func() error { return n.Sees(ctx, min(i+1, 2)) }); err != nil {
			return err
		}
	}
	return fleet.Eventually(ctx, 30*time.Second, func() error {
		for _, n := range f.Nodes {
			if err := n.Sees(ctx, count); err != nil {
				return err
			}
		}
		return nil
	})
}

// push writes a new version of the tree and says where the time went, seen from outside: the command until committed,
// then until the first and the last node have the file.
func push(ctx context.Context, f *fleet.Fleet, version int) error {
	want := fmt.Sprintf("version %d\n", version)
	if _, err := fileTree(f, want); err != nil {
		return err
	}
	started := time.Now()
	res, err := f.Shoal(ctx, "push", "tree", "--node", f.Nodes[version%5].Socket())
	if err != nil || res.Status != 0 {
		return fmt.Errorf("push: %v %s", err, res.Stderr)
	}
	committed := time.Since(started)
	first, last, err := arrivals(ctx, f, want, started)
	if err != nil {
		return err
	}
	var report struct {
		TookMS float64 `json:"took_ms"`
	}
	if err := f.JSON(ctx, &report, "report", "--node", f.Nodes[0].Socket()); err != nil {
		return err
	}
	row(fmt.Sprintf("version %d: until all five have applied it", version), ms(last), fmt.Sprintf(
		"command until committed %s; first node has it at %s; its run %.1f ms", ms(committed), ms(first), report.TookMS))
	return nil
}

// fileTree writes a tree that keeps one file on every node, and returns its folder.
func fileTree(f *fleet.Fleet, content string) (dir string, err error) {
	dir = filepath.Join(f.Dir, "tree")
	return dir, writeTree(dir, map[string]string{
		"site.yaml":                "targets:\n  - on: \"*\"\n    components: [c]\n",
		"components/c/states.yaml": fmt.Sprintf("states:\n  f:\n    file.managed: {path: /etc/f, content: %q}\n", content),
	})
}

// arrivals waits until every node has the file, and returns when the first and the last had it.
func arrivals(ctx context.Context, f *fleet.Fleet, want string, started time.Time) (first, last time.Duration, err error) {
	have := map[string]bool{}
	for len(have) < len(f.Nodes) {
		for _, n := range f.Nodes {
			data, err := os.ReadFile(n.Path("etc/f"))
			if have[n.Name] || err != nil || string(data) != want {
				continue
			}
			if have[n.Name] = true; len(have) == 1 {
				first = time.Since(started)
			}
		}
		if time.Since(started) > 30*time.Second || ctx.Err() != nil {
			return 0, 0, fmt.Errorf("after 30 s only %d of 5 have applied it", len(have))
		}
		time.Sleep(time.Millisecond)
	}
	return first, time.Since(started), nil
}

// usage is what the kernel says of an agent: of its one process, or of both.
type usage struct {
	rss     int64   // bytes
	own     int64   // bytes, of them those that no file holds: the binary, which both processes have, is left out
	network int64   // of rss: the side on the network, where there are two
	cpu     float64 // seconds
}

func (u *usage) add(other usage) {
	u.rss, u.own, u.network, u.cpu = u.rss+other.rss, u.own+other.own, u.network+other.network, u.cpu+other.cpu
}

func watchIdle(ctx context.Context, f *fleet.Fleet, idle time.Duration) error {
	before, wire, err := sample(f)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(idle):
	}
	after, wireAfter, err := sample(f)
	if err != nil {
		return err
	}
	var all usage
	for i := range after {
		all.add(after[i])
		all.cpu -= before[i].cpu
	}
	n := float64(len(after))
	mebi := func(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/n/(1<<20)) }
	row("resident memory, mean", mebi(all.rss), "aim: 40 MB or less")
	row("  of it, not of files", mebi(all.own), "heap and stacks")
	if all.network > 0 {
		row("  of it, the side on the network", mebi(all.network), "with files; the binary counts for both")
	}
	row("CPU, share of one core, mean", fmt.Sprintf("%.2f %%", 100*all.cpu/n/idle.Seconds()), "aim: 0.7 % or less")
	row("bytes per second on the wire, sent, mean", fmt.Sprintf("%.0f B/s", float64(wireAfter-wire)/n/idle.Seconds()), "all of loopback, headers included")
	return nil
}

func sample(f *fleet.Fleet) ([]usage, int64, error) {
	var all []usage
	for _, n := range f.Nodes {
		u, err := usageOf(n.PID())
		if pid, divided := n.MeshSide(); err == nil && divided {
			var other usage
			other, err = usageOf(pid)
			other.network = other.rss
			u.add(other)
		}
		if err != nil {
			return nil, 0, err
		}
		all = append(all, u)
	}
	data, err := os.ReadFile("/sys/class/net/lo/statistics/tx_bytes")
	if err != nil {
		return nil, 0, err
	}
	wire, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	return all, wire, err
}

// usageOf reads proc(5): statm fields 2 and 3 in pages, stat fields 14 and 15 in ticks of 10 ms.
func usageOf(pid int) (usage, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return usage{}, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	var pages, ofFiles int64
	if _, err := fmt.Sscan(strings.Join(strings.Fields(string(statm))[1:3], " "), &pages, &ofFiles); err != nil {
		return usage{}, err
	}
	page := int64(os.Getpagesize())
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks float64
	for _, field := range fields[11:13] {
		t, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return usage{}, err
		}
		ticks += t
	}
	return usage{rss: pages * page, own: (pages - ofFiles) * page, cpu: ticks / 100}, nil
}
