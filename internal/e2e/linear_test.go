package e2e

import (
	"flag"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"shoal/internal/fleet"
	"shoal/internal/linear"
)

var (
	linearSeed   = flag.Uint64("linear.seed", 0, "seed of the faults of TestLinearizable; 0: another each time")
	linearLength = flag.Duration("linear.length", 9*time.Second, "how long things go wrong in TestLinearizable")
)

// TestLinearizable lets eight clients push at five agents while these are killed and paused, and then asks whether all that
// they were told can be true. In the lab the links are cut too.
func TestLinearizable(t *testing.T) {
	w := newWorld(t)
	w.mesh(5)
	key, err := fleet.OperatorKey(filepath.Join(w.Home, "operator.key"))
	if err != nil {
		t.Fatal(err)
	}
	seed := *linearSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	cfg := linear.Config{
		Seed: seed, Length: *linearLength, Clients: 8, Envs: []string{"one", "two", "three"}, Key: key,
		Machines: linear.Machines{
			Kill:   func(i int) error { w.Nodes[i].Kill(); return nil },
			Start:  func(i int) error { _, err := w.Nodes[i].Start(); return err },
			Pause:  func(i int) error { return w.Nodes[i].Signal(syscall.SIGSTOP) },
			Resume: func(i int) error { return w.Nodes[i].Signal(syscall.SIGCONT) },
		},
	}
	for _, n := range w.Nodes {
		cfg.Nodes = append(cfg.Nodes, linear.Node{Name: n.Name, Addr: func() string { return filepath.Join(w.Dir, n.Socket()) }})
	}
	result, err := linear.Run(w.ctx, cfg)
	t.Logf("seed %d: %s", seed, result)
	if err != nil {
		t.Error(err)
	}
	if result.Committed == 0 || result.Reads == 0 {
		t.Error("nothing was committed, or nothing read")
	}
}
