package main

import (
	"context"
	"fmt"
	"time"

	"shoal/executor"
	"shoal/mesh"
	"shoal/mesh/api"
)

// progress is one line that fills up. Where nobody looks it prints nothing but its end.
type progress struct {
	t       *terminal
	what    string
	done    int
	total   int
	started time.Time
}

func (t *terminal) progress(what string, total int) *progress {
	p := &progress{t: t, what: what, total: total, started: time.Now()}
	p.draw("")
	return p
}

func (p *progress) add(n int) { p.set(p.done+n, "") }

// set draws the bar at done, with a few words behind it.
func (p *progress) set(done int, words string) {
	if done == p.done && done < p.total && words == "" {
		return
	}
	p.done = done
	p.draw(words)
}

func (p *progress) draw(words string) {
	took := time.Since(p.started).Round(10 * time.Millisecond)
	line := fmt.Sprintf("%s %d/%d %s  %s %s", bar(float64(p.done)/float64(max(1, p.total)), 24), p.done, p.total, p.what, took, words)
	if !p.t.live {
		if p.done >= p.total {
			p.t.note("%s", line)
		}
		return
	}
	if r := []rune(line); len(r) >= p.t.width {
		line = string(r[:p.t.width-1])
	}
	fmt.Fprintf(p.t.err, "\r\x1b[K%s", line)
	if p.done >= p.total {
		fmt.Fprintln(p.t.err)
	}
}

// end leaves the line of a bar that will not fill up.
func (p *progress) end() {
	if p.t.live && p.done < p.total {
		fmt.Fprintln(p.t.err)
	}
}

// await draws how many nodes of the environment have reported on res, until all have. A node that is not here does
// not hold it up: it will catch up by itself.
func (t *terminal) await(ctx context.Context, client *api.Client, res mesh.PushResult, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var p *progress
	for {
		tally, err := tallyOf(ctx, client, res)
		if err != nil {
			return err
		}
		if p == nil {
			p = t.progress(fmt.Sprintf("nodes report version %d", res.Version), tally.total)
		}
		p.total = tally.total
		p.set(tally.reported, "")
		if tally.reported >= tally.total {
			return t.verdict(tally)
		}
		select {
		case <-ctx.Done():
			p.end()
			return &exitError{exitUnavailable, fmt.Errorf("waited %s; these have not reported version %d: %v", patience, res.Version, tally.missing)}
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// tally counts the nodes that a push waits for.
type tally struct {
	total, reported int
	missing, absent []string
	failed          []mesh.NodeStatus
}

func tallyOf(ctx context.Context, client *api.Client, res mesh.PushResult) (tally, error) {
	status, err := client.Status(ctx)
	if err != nil {
		return tally{}, err
	}
	members, err := client.Members(ctx)
	if err != nil {
		return tally{}, err
	}
	byName := map[string]mesh.NodeStatus{}
	for _, n := range status.Nodes {
		byName[n.Name] = n
	}
	var c tally
	for _, m := range members {
		if envOf(m.Tags) == res.Env {
			c.count(m, byName[m.Name], res.Version)
		}
	}
	return c, nil
}

func (c *tally) count(m mesh.MemberInfo, n mesh.NodeStatus, version uint64) {
	reported := n.Version >= version && n.Result != ""
	switch {
	case !reported && m.Status != "alive":
		c.absent = append(c.absent, m.Name)
		return
	case reported:
		c.reported++
	default:
		c.missing = append(c.missing, m.Name)
	}
	c.total++
	if reported && n.Result != string(executor.Converged) {
		c.failed = append(c.failed, n)
	}
}

func (t *terminal) verdict(c tally) error {
	for _, name := range c.absent {
		t.note("%s is not here; it will catch up when it returns", name)
	}
	status := exitDone
	for _, n := range c.failed {
		t.note("%s %s: %s", t.tint(red, "✗"), n.Name, n.Error)
		status = max(status, resultStatus(executor.Result(n.Result)))
	}
	if status == exitDone {
		return nil
	}
	return &exitError{status: status}
}

// resultStatus is the exit status that a run's result stands for.
func resultStatus(r executor.Result) int {
	switch r {
	case executor.Converged:
		return exitDone
	case executor.RollbackIncomplete:
		return exitIncomplete
	}
	return exitFailed
}
