package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"shoal/simulation/bubble"
)

// maxLate is how many late nodes are told of one by one.
const maxLate = 20

func (o options) print(out io.Writer, r *bubble.Result) {
	if r.Scenario.Title != "" {
		fmt.Fprintln(out, r.Scenario.Title)
	}
	if o.timeline || r.Problem != nil {
		fmt.Fprint(out, r.Timeline())
	}
	if r.Problem != nil {
		fmt.Fprintf(out, "NOT as expected\n%v\n", r.Problem)
	} else {
		fmt.Fprintln(out, "all as expected")
	}
	if o.exact {
		fmt.Fprintf(out, "trace:     %016x\n", r.Trace)
	}
	printConverged(out, r)
	packets, streams := r.Bytes()
	perNode := float64(packets+streams) / float64(len(r.Nodes))
	fmt.Fprintf(out, "sent:      %s, %s of them gossip; %s for each node, %s a second\n", bytesOf(float64(packets+streams)), bytesOf(float64(packets)),
		bytesOf(perNode), bytesOf(perNode/max(r.Virtual.Seconds(), 1)))
	fmt.Fprintf(out, "time:      %s of %d nodes took %s\n", r.Virtual.Round(time.Second), len(r.Nodes), r.Wall.Round(time.Millisecond))
}

func printConverged(out io.Writer, r *bubble.Result) {
	if !r.Pushed {
		fmt.Fprintln(out, "converged: nothing was committed")
		return
	}
	var took []time.Duration
	for _, n := range r.Nodes {
		if n.Took >= 0 {
			took = append(took, n.Took)
		}
	}
	slices.Sort(took)
	if len(took) == 0 {
		fmt.Fprintf(out, "converged: none of %d nodes\n", len(r.Nodes))
	} else {
		fmt.Fprintf(out, "converged: %d of %d nodes after the last push that changed something: half of them within %s, the last after %s\n", len(took), len(r.Nodes),
			seconds(took[len(took)/2]), seconds(took[len(took)-1]))
	}
	late := r.Late()
	for i, n := range late {
		if i == maxLate {
			fmt.Fprintf(out, "late:      and %d more\n", len(late)-maxLate)
			break
		}
		when := "not at all"
		if n.Took >= 0 {
			when = seconds(n.Took)
		}
		fmt.Fprintf(out, "late:      %s, %s: %s\n", n.Name, when, orUnknown(n.Why))
	}
}

func orUnknown(why string) string {
	if why == "" {
		return "nothing befell it"
	}
	return why
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func bytesOf(n float64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", n/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", n/(1<<10))
	}
	return fmt.Sprintf("%.0f bytes", n)
}

// answer is a Result for programs.
type answer struct {
	AsExpected  bool       `json:"as_expected"`
	Problem     string     `json:"problem,omitempty"`
	Converged   bool       `json:"converged"`
	VirtualS    float64    `json:"virtual_s"`
	WallS       float64    `json:"wall_s"`
	PacketBytes int64      `json:"packet_bytes"`
	StreamBytes int64      `json:"stream_bytes"`
	Nodes       []nodeLine `json:"nodes"`
}

type nodeLine struct {
	Name    string   `json:"name"`
	Up      bool     `json:"up"`
	Version uint64   `json:"version"`
	Result  string   `json:"result"`
	Error   string   `json:"error,omitempty"`
	TookS   *float64 `json:"took_s"` // null: it does not match the last push
	Why     string   `json:"why,omitempty"`
}

func printJSON(out io.Writer, r *bubble.Result) error {
	a := answer{AsExpected: r.Problem == nil, VirtualS: r.Virtual.Seconds(), WallS: r.Wall.Seconds(), Nodes: []nodeLine{}}
	if r.Problem != nil {
		a.Problem = r.Problem.Error()
	}
	a.Converged, _ = r.Converged()
	a.PacketBytes, a.StreamBytes = r.Bytes()
	for _, n := range r.Nodes {
		line := nodeLine{Name: n.Name, Up: n.Up, Version: n.Version, Result: n.Result, Error: n.Error, Why: n.Why}
		if n.Took >= 0 {
			took := n.Took.Seconds()
			line.TookS = &took
		}
		a.Nodes = append(a.Nodes, line)
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(a)
}
