package lab_test

import (
	"flag"
	"os"
	"testing"
	"time"

	"shoal/internal/fleet"
	"shoal/internal/linear"
	"shoal/simulation/lab"
)

var (
	linearSeed   = flag.Uint64("linear.seed", 0, "seed of the faults of TestLinearizable; 0: another each time")
	linearLength = flag.Duration("linear.length", time.Minute, "how long things go wrong in TestLinearizable")
)

// TestLinearizable lets eight clients push at the agents of five machines while these are killed, paused and cut off, and then
// asks whether all that they were told can be true, and whether all of it is there.
func TestLinearizable(t *testing.T) {
	if os.Getenv("SHOAL_LAB") == "" {
		t.Skip("SKIPPED: internal/e2e has the same without cut links; make lab runs this one")
	}
	l, hosts := up(t, "a", "b", "c", "d", "e")
	mesh(t, hosts)
	key, err := fleet.OperatorKey(hosts[0].Path("/root/.config/shoal/operator.key"))
	if err != nil {
		t.Fatal(err)
	}
	seed := *linearSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	signal := func(i int, name string) error {
		_, err := hosts[i].Run(t.Context(), "systemctl", "kill", "-s", name, "--kill-who=main", "shoal")
		return err
	}
	cfg := linear.Config{
		Seed: seed, Length: *linearLength, Clients: 8, Envs: []string{"one", "two", "three"}, Key: key,
		Machines: linear.Machines{
			Kill:   func(i int) error { return signal(i, "KILL") },
			Start:  func(i int) error { _, err := hosts[i].Run(t.Context(), "systemctl", "start", "shoal"); return err },
			Pause:  func(i int) error { return signal(i, "STOP") },
			Resume: func(i int) error { return signal(i, "CONT") },
			Cut:    func(nodes []int) error { return l.Set(parted(hosts, nodes)) },
		},
	}
	for _, h := range hosts {
		cfg.Nodes = append(cfg.Nodes, linear.Node{Name: h.Name, Addr: func() string { return h.Path("/var/lib/shoal/api.sock") }})
	}
	result, err := linear.Run(t.Context(), cfg)
	t.Logf("seed %d: %s", seed, result)
	if err != nil {
		t.Error(err)
		showLogs(t, hosts)
	}
	if result.Committed == 0 || result.Reads == 0 {
		t.Error("nothing was committed, or nothing read")
	}
}

// parted is a network in which some hosts hear one another, and so do the others.
func parted(hosts []*lab.Host, nodes []int) lab.Link {
	if len(nodes) == 0 {
		return lab.Link{}
	}
	parts := make([][]*lab.Host, 2)
	cut := map[int]bool{}
	for _, n := range nodes {
		cut[n] = true
	}
	for i, h := range hosts {
		side := 0
		if cut[i] {
			side = 1
		}
		parts[side] = append(parts[side], h)
	}
	return lab.Link{Parts: parts}
}

// showLogs prints the end of what each agent wrote.
func showLogs(t *testing.T, hosts []*lab.Host) {
	t.Helper()
	for _, h := range hosts {
		log, err := h.Run(t.Context(), "journalctl", "-u", "shoal", "--no-pager", "-n", "100")
		t.Logf("%s: %v\n%s", h.Name, err, log)
	}
}
