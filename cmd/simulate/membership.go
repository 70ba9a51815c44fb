package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"shoal/membership/gossip"
	"shoal/simulation/bubble"
	"shoal/simulation/swim"
)

// gossiping are the flags of -membership.
type gossiping struct {
	on           bool
	nodes        int
	losses, cuts string
	hints, kills int
	quiet        time.Duration
	acquainted   bool
	timing       gossip.Timing
}

func (g *gossiping) flags(flags *flag.FlagSet) {
	g.timing = gossip.DefaultTiming()
	flags.BoolVar(&g.on, "membership", false, "measure the gossip alone: how soon deaths are seen, hints heard, and halves one again")
	flags.IntVar(&g.nodes, "nodes", 200, "with -membership: how many nodes")
	flags.StringVar(&g.losses, "losses", "0,10,25", "with -membership: how many of 100 packets are lost, each in a mesh of its own")
	flags.StringVar(&g.cuts, "cuts", "1m,1h", "with -membership: how long the mesh is cut in two, each in a mesh of its own")
	flags.IntVar(&g.hints, "hints", 50, "with -membership: how many hints")
	flags.IntVar(&g.kills, "crashes", 20, "with -membership: how many nodes die")
	flags.DurationVar(&g.quiet, "quiet", time.Hour, "with -membership: how long nobody dies")
	flags.BoolVar(&g.acquainted, "acquainted", false, "with -membership: nodes start knowing each other, for meshes too large to watch them meet")
	t := &g.timing
	flags.DurationVar(&t.ProbeInterval, "probe", t.ProbeInterval, "with -membership: between two probes of a node")
	flags.DurationVar(&t.ProbeTimeout, "probe-timeout", t.ProbeTimeout, "with -membership: until others are asked too")
	flags.IntVar(&t.Helpers, "helpers", t.Helpers, "with -membership: through how many others who does not answer is asked")
	flags.IntVar(&t.Suspicion, "suspicion", t.Suspicion, "with -membership: times log10(nodes) probes, until a suspect is dead")
	flags.IntVar(&t.SuspicionMost, "suspicion-most", t.SuspicionMost, "with -membership: times that, when nobody else suspects it")
	flags.DurationVar(&t.GossipInterval, "gossip", t.GossipInterval, "with -membership: between two rounds of gossip")
	flags.IntVar(&t.GossipNodes, "gossip-nodes", t.GossipNodes, "with -membership: to how many in a round")
	flags.IntVar(&t.Retransmit, "retransmit", t.Retransmit, "with -membership: times log10(nodes) packets that a piece of news is in")
	flags.DurationVar(&t.PushPullInterval, "push-pull", t.PushPullInterval, "with -membership: between two exchanges of everything, on 32 nodes")
}

// measureGossip ends the process.
func measureGossip(g gossiping, seed uint64) error {
	p := swim.Plan{Nodes: g.nodes, Seed: max(seed, 1), Timing: g.timing, Quiet: g.quiet, Hints: g.hints, Crashes: g.kills, Acquainted: g.acquainted}
	var errs []error
	for _, word := range words(g.losses) {
		percent, err := strconv.ParseFloat(word, 64)
		p.Losses, errs = append(p.Losses, percent/100), append(errs, err)
	}
	for _, word := range words(g.cuts) {
		days, isDays := strings.CutSuffix(word, "d")
		if n, err := strconv.Atoi(days); isDays && err == nil {
			word = fmt.Sprint(24*n, "h")
		}
		cut, err := time.ParseDuration(word)
		p.Cuts, errs = append(p.Cuts, cut), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	bubble.Alone(func(t *testing.T) int {
		if err := p.Print(t, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "simulate:", err)
			return 1
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Printf("\nmemory of this process: %d MiB\n", m.Sys>>20)
		return 0
	})
	return nil
}

func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}
