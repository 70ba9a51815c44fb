package bubble

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/membership"
	"shoal/store"
)

// World is a mesh, its operator, and the network between. It must be made, used and closed in a bubble; see Run.
type World struct {
	Fabric *Fabric
	// Dir is where the stores of the nodes are; empty: in memory.
	Dir string
	// Grace, FullCheck: as node.Config has them.
	Grace, FullCheck time.Duration
	// Log, unless nil, gets what the nodes log.
	Log io.Writer

	operator  ed25519.PrivateKey
	chain     *membership.Chain
	gossipKey []byte
	met       *membership.Roster // what all know who start acquainted; nil: nobody does
	machines  map[string]*Machine
	order     []*Machine
	began     time.Time

	places placements

	mu        sync.Mutex
	dice      *rand.Rand
	committed map[string]map[uint64]store.Hash // by environment and version
	broken    []string
}

func keyOf(word string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(word))
	return ed25519.NewKeyFromSeed(seed[:])
}

// NewWorld makes a mesh of no machines.
func NewWorld(seed uint64) (*World, error) {
	w := &World{
		operator: keyOf("operator"), gossipKey: make([]byte, membership.GossipKeySize), machines: map[string]*Machine{},
		dice: rand.New(rand.NewPCG(seed, 0xb0b)), began: time.Now(), committed: map[string]map[uint64]store.Hash{},
	}
	genesis, err := membership.NewGenesis(w.gossipKey, 1, w.operator)
	if err == nil {
		w.chain, err = membership.OpenChain([]membership.Signed{genesis})
	}
	if err != nil {
		return nil, err
	}
	w.Fabric = NewFabric(seed)
	return w, nil
}

// Add makes a machine that is down.
func (w *World) Add(name, zone string, tags map[string]string) *Machine {
	number := len(w.order) + 1
	key := keyOf("node " + name)
	m := &Machine{
		Name: name, Zone: zone, Tags: tags, world: w, key: key, id: membership.IDOf(key.Public().(ed25519.PublicKey)),
		addr: fmt.Sprintf("10.%d.%d.%d:7077", number>>16, number>>8&0xff, number&0xff), host: fake.New(), data: fake.NewData(),
	}
	m.host.Exec = rehearse
	m.platter.synced(m.host.Files)
	w.machines[name] = m
	w.order = append(w.order, m)
	return m
}

// rehearse plays the commands of a tree: they all succeed, and say nothing.
func rehearse(executor.Command) (executor.Exit, error) { return executor.Exit{}, nil }

// Machines are all, in the order in which they were added.
func (w *World) Machines() []*Machine { return slices.Clone(w.order) }

// Machine finds one by its name.
func (w *World) Machine(name string) *Machine { return w.machines[name] }

// Since is the virtual time since the world began.
func (w *World) Since() time.Duration { return time.Since(w.began) }

func (w *World) draw() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dice.Uint64()
}

func (w *World) logger(name string) *slog.Logger {
	if w.Log == nil {
		return nil
	}
	return slog.New(slog.NewTextHandler(w.Log, &slog.HandlerOptions{Level: slog.LevelDebug})).With("on", name)
}

// NameOf is the machine of a node.
func (w *World) NameOf(id membership.NodeID) string {
	for _, m := range w.order {
		if m.id == id {
			return m.Name
		}
	}
	return id.Short()
}

// wrong notes that an invariant was broken.
func (w *World) wrong(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.broken) < 20 {
		w.broken = append(w.broken, fmt.Sprintf("%s  ", clock(w.Since()))+fmt.Sprintf(format, args...))
	}
}

// Broken are the invariants that were broken, in sentences.
func (w *World) Broken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.broken)
}

// Close ends all that runs, the network last.
func (w *World) Close() error {
	var errs []error
	for _, m := range w.order {
		if m.Up() {
			errs = append(errs, m.Crash())
		}
	}
	time.Sleep(30 * time.Second) // virtual: what serf has begun comes to its end
	w.Fabric.Close()
	return errors.Join(errs...)
}

func clock(d time.Duration) string {
	d = d.Round(100 * time.Millisecond)
	if d < time.Hour {
		return fmt.Sprintf("%d:%04.1f", d/time.Minute, (d % time.Minute).Seconds())
	}
	return fmt.Sprintf("%d:%02d:%04.1f", d/time.Hour, d%time.Hour/time.Minute, (d % time.Minute).Seconds())
}
