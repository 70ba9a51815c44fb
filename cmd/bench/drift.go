package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"shoal/internal/fleet"
)

const (
	driftRounds = 50   // of each kind of damage
	driftBurst  = 1000 // files that are damaged at once
	driftLimit  = 30 * time.Second
)

// damage is one way in which a managed file drifts.
type damage struct {
	name string
	do   func(path string) error
}

func damages(spare string) []damage {
	return []damage{
		{"unlink", os.Remove},
		{"truncate", func(path string) error { return os.Truncate(path, 0) }},
		{"overwrite", func(path string) error { return os.WriteFile(path, []byte("someone else's\n"), 0o644) }},
		{"rename-over", func(path string) error {
			if err := os.WriteFile(spare, []byte("someone else's\n"), 0o600); err != nil {
				return err
			}
			return os.Rename(spare, path)
		}},
	}
}

// driftBench is an agent that keeps many files, and what it must restore.
type driftBench struct {
	ctx      context.Context // of the one run that this value lives for
	node     *fleet.Node
	files    int
	want     []byte
	spare    string
	repaired int
	damaged  int
	dice     *rand.Rand
}

// benchDrift measures an agent, from the damage of a file until it is as it was, with few and with many managed files.
func benchDrift(ctx context.Context, o options) error {
	for _, files := range []int{10, o.large} {
		if err := benchDriftOf(ctx, o, files); err != nil {
			return err
		}
	}
	return nil
}

func benchDriftOf(ctx context.Context, o options, files int) (err error) {
	dir := filepath.Join(o.dir, fmt.Sprint(files))
	f, err := gather(ctx, o.binary, dir, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n := f.Nodes[0]
	b := &driftBench{ctx: ctx, node: n, files: files, want: rendered(n.Name), spare: filepath.Join(dir, "spare"), dice: rand.New(rand.NewPCG(1, 2))}
	if err := b.push(f); err != nil {
		return err
	}
	title("drift of %d managed files: from the damage until it is restored, one at a time", files)
	for _, d := range damages(b.spare) {
		if err := b.one(d); err != nil {
			return err
		}
	}
	return b.report()
}

// push brings the files up, and waits until the agent is at rest.
func (b *driftBench) push(f *fleet.Fleet) error {
	if err := writeTree(filepath.Join(f.Dir, "tree"), manyFiles(b.files)); err != nil {
		return err
	}
	res, err := f.Shoal(b.ctx, "push", "tree", "--node", b.node.Socket())
	if err != nil || res.Status != 0 {
		return fmt.Errorf("push: %v %s", err, res.Stderr)
	}
	err = fleet.Eventually(b.ctx, time.Minute, func() error {
		var status struct {
			Nodes []struct{ Result string }
		}
		if err := f.JSON(b.ctx, &status, "status", "--node", b.node.Socket()); err != nil {
			return err
		}
		if len(status.Nodes) != 1 || status.Nodes[0].Result != "converged" {
			return fmt.Errorf("not converged: %+v", status)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return b.rest()
}

// rest waits until the agent uses no processor time for a while: it has seen its own changes.
func (b *driftBench) rest() error {
	return fleet.Eventually(b.ctx, time.Minute, func() error {
		before, err := usageOf(b.node.PID())
		if err != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
		after, err := usageOf(b.node.PID())
		if err == nil && after.cpu-before.cpu > 0.02 {
			err = errors.New("the agent is busy")
		}
		return err
	})
}

func (b *driftBench) path(i int) string { return b.node.Path(filePath(i)) }

func (b *driftBench) whole(i int) bool {
	data, err := os.ReadFile(b.path(i))
	if err != nil || !bytes.Equal(data, b.want) {
		return false
	}
	st, err := os.Lstat(b.path(i))
	return err == nil && st.Mode() == 0o644
}

// one damages single files, each when the one before is whole.
func (b *driftBench) one(d damage) error {
	var took []time.Duration
	for range driftRounds {
		i := b.dice.IntN(b.files)
		if err := d.do(b.path(i)); err != nil {
			return err
		}
		started := time.Now()
		b.damaged++
		for !b.whole(i) {
			if b.ctx.Err() != nil {
				return b.ctx.Err()
			}
			if time.Since(started) > driftLimit {
				row(d.name+": NOT repaired", filePath(i), fmt.Sprintf("within %s", driftLimit))
				return b.report()
			}
			time.Sleep(50 * time.Microsecond)
		}
		took = append(took, time.Since(started))
		b.repaired++
		time.Sleep(time.Duration(b.dice.IntN(20)) * time.Millisecond) // also while the agent looks at its own change
	}
	row(d.name, ms(quantile(took, 0.5)), fmt.Sprintf("p50; p99 %s, of %d", ms(quantile(took, 0.99)), len(took)))
	return nil
}

// burst damages many at once, by all kinds in turn.
func (b *driftBench) burst() error {
	count := min(driftBurst, b.files)
	kinds, hit := damages(b.spare), b.dice.Perm(b.files)[:count]
	started := time.Now()
	for n, i := range hit {
		if err := kinds[n%len(kinds)].do(b.path(i)); err != nil {
			return err
		}
	}
	b.damaged += count
	whole := 0
	for time.Since(started) < driftLimit && b.ctx.Err() == nil {
		whole = 0
		for _, i := range hit {
			if b.whole(i) {
				whole++
			}
		}
		if whole == count {
			break
		}
		time.Sleep(time.Millisecond)
	}
	b.repaired += whole
	row(fmt.Sprintf("%d at once, until all are restored", count), ms(time.Since(started)), fmt.Sprintf("%d restored", whole))
	return b.ctx.Err()
}

func (b *driftBench) report() error {
	if err := b.burst(); err != nil {
		return err
	}
	row("repaired", fmt.Sprintf("%d of %d", b.repaired, b.damaged), fmt.Sprintf("%.2f %%, aim: 100 %%", 100*float64(b.repaired)/float64(b.damaged)))
	instances, err := inotifyInstances(b.node.PID())
	if err != nil {
		return err
	}
	row("inotify instances of the agent", instances, "aim: 1")
	u, err := usageOf(b.node.PID())
	if err != nil {
		return err
	}
	peak, err := peakOf(b.node.PID())
	if err != nil {
		return err
	}
	row("memory of the agent", mib(float64(u.rss)), "peak "+mib(float64(peak)))
	return nil
}

func inotifyInstances(pid int) (count int, err error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, fd := range fds {
		if target, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && strings.Contains(target, "inotify") {
			count++
		}
	}
	return count, nil
}

// peakOf is the most memory that a process ever had resident, in bytes.
func peakOf(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("no VmHWM in its status")
}
