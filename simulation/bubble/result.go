package bubble

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"shoal/executor"
)

// nodes are all machines as they are now.
func (p *player) nodes() (out []NodeResult) {
	for _, m := range p.w.order {
		n := NodeResult{Name: m.Name, Up: m.Up(), Took: -1}
		if last, ok := m.Last(); ok {
			n.Version, n.Result, n.Error = last.Report.Version, string(last.Report.Result), last.Report.Error
		}
		n.Why = p.trouble[m.Name].String()
		if p.last.revision.IsZero() || envOf(m.Tags) != p.last.env {
			n.Took = 0
			out = append(out, n)
			continue
		}
		for _, run := range m.Runs() {
			if run.Report.Revision == p.last.revision.String() && run.Report.Result == executor.Converged {
				n.Took = max(0, run.At.Sub(p.last.at))
				break
			}
		}
		if n.Took < 0 && n.Error != "" {
			n.Why = firstLine(n.Error)
		}
		out = append(out, n)
	}
	return out
}

// Late are the nodes that do not match the last push, or took more than three times as long as half of them and more than 5 s.
func (r *Result) Late() (late []NodeResult) {
	var took []time.Duration
	for _, n := range r.Nodes {
		if n.Took >= 0 {
			took = append(took, n.Took)
		}
	}
	slices.Sort(took)
	limit := 5 * time.Second
	if len(took) > 0 {
		limit = max(limit, 3*took[len(took)/2])
	}
	for _, n := range r.Nodes {
		if n.Took < 0 || n.Took > limit {
			late = append(late, n)
		}
	}
	return late
}

// Converged tells whether all nodes match the last push, and how long that took.
func (r *Result) Converged() (all bool, took time.Duration) {
	for _, n := range r.Nodes {
		if n.Took < 0 || !r.Pushed {
			return false, 0
		}
		took = max(took, n.Took)
	}
	return true, took
}

// Bytes is what all nodes have sent.
func (r *Result) Bytes() (packets, streams int64) {
	for _, t := range r.Traffic {
		packets, streams = packets+t.PacketBytes, streams+t.StreamBytes
	}
	return packets, streams
}

// Timeline is all that happened, a line each.
func (r *Result) Timeline() string {
	var b strings.Builder
	for _, e := range r.Events {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}
