package bubble

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/local"
	"shoal/internal/builtin"
	"shoal/internal/enforcer"
	"shoal/membership"
	"shoal/membership/gossip"
	"shoal/mesh"
	"shoal/mesh/node"
	"shoal/store"
	"shoal/store/badger"
	"shoal/store/memory"
)

// ticketTime is how long a machine may take from its ticket to its mesh.
const ticketTime = time.Hour

// Machine is a host with a disk and, while it runs, a node.
type Machine struct {
	Name string
	Zone string
	Tags map[string]string

	world  *World
	key    ed25519.PrivateKey
	id     membership.NodeID
	addr   string
	grant  *membership.Signed // nil: never started, or wiped
	host   *fake.Host
	data   *fake.Data
	gate   *gate
	kept   *memory.KV // what is on the disk; nil where the store is a folder
	saved  *memory.KV // as it was when somebody copied it
	starts int
	// lineage is another after each power cut: only where a process ended is its disk known to have kept everything.
	lineage uint64
	// highest is the newest version that it ever applied.
	highest uint64
	faults  hostFaults
	full    atomic.Bool
	platter platter

	run atomic.Pointer[running] // nil: down; who pushes looks while others crash

	mu   sync.Mutex
	runs []Enforcement
}

// Enforcement is one run.
type Enforcement struct {
	At     time.Time
	Report executor.Report
}

// running is what ends with the process.
type running struct {
	node   *node.Node
	port   *Port
	gossip *voice
	disk   *disk
	brake  *brake
	drift  chan []string
	cancel context.CancelFunc
	ended  chan error
}

// voice is the gossip, which a crash silences.
type voice struct {
	*gossip.Gossip
	gone atomic.Bool
}

var errGone = errors.New("the power is gone")

// Leave implements node.Gossip.
func (v *voice) Leave(ctx context.Context) error {
	if v.gone.Load() {
		return errGone
	}
	return v.Gossip.Leave(ctx)
}

// disk is the store that a node sees: it is lost for those who run when the power goes, not for those who start after.
type disk struct {
	store.KV
	brake *brake
	// lineage is 0 for one in a folder.
	lineage uint64
	gone    atomic.Bool
	full    *atomic.Bool
	below   *platter      // of a store in memory
	lost    chan struct{} // closed when the power goes
	closer  func() error
}

// Write implements store.KV.
func (d *disk) Write(ctx context.Context, changes []store.Change) error {
	switch d.brake.pass(); {
	case d.gone.Load():
		return fmt.Errorf("write: %w: %w", store.ErrBroken, errGone)
	case d.full.Load():
		return fmt.Errorf("write: %w", store.ErrReserve)
	}
	kv, inMemory := d.KV.(*memory.KV)
	if !inMemory {
		return d.KV.Write(ctx, changes)
	}
	d.below.writes(kv)
	if err := d.KV.Write(ctx, changes); err != nil {
		return err
	}
	if !d.below.sync(d.lost) {
		return fmt.Errorf("write: %w: %w", store.ErrBroken, errGone)
	}
	return nil
}

// Volatile implements store.KV.
func (d *disk) Volatile() bool { return false }

// Lineage implements store.KV.
func (d *disk) Lineage() uint64 { return d.lineage }

// Close implements store.KV.
func (d *disk) Close() error { return d.closer() }

// Up tells whether the machine's node runs.
func (m *Machine) Up() bool { return m.run.Load() != nil }

// Node is the node that runs; nil when none does.
func (m *Machine) Node() *node.Node {
	if r := m.run.Load(); r != nil {
		return r.node
	}
	return nil
}

// Start starts the node, the first time with a ticket and the addresses of whom it joins.
func (m *Machine) Start(join []string) error {
	if m.Up() {
		return fmt.Errorf("%s runs already", m.Name)
	}
	if m.grant == nil {
		if err := m.redeem(); err != nil {
			return err
		}
	} else if m.kept != nil || m.world.Dir != "" {
		join = nil // it remembers
	}
	roster, err := m.roster()
	if err != nil {
		return err
	}
	r := &running{drift: make(chan []string, 16), ended: make(chan error, 1), brake: &brake{}}
	if r.disk, err = m.openDisk(); err != nil {
		return err
	}
	r.disk.brake, r.disk.below, r.disk.lost = r.brake, &m.platter, make(chan struct{})
	m.gate = &gate{Host: m.host, files: m.host.Files, data: m.data, faults: &m.faults, brake: r.brake, disk: &m.platter, gone: r.disk.lost}
	engine := m.engine()
	if _, _, err := engine.Recover(context.Background()); err != nil {
		return err
	}
	m.starts++
	r.node, err = node.New(node.Config{
		Key: m.key, Seed: m.world.draw(), Roster: roster, Join: join, Place: m.world.places.update,
		GossipKey: m.world.gossipKey, Grace: m.world.Grace, FullCheck: m.world.FullCheck, Logger: m.world.logger(m.Name),
	}, node.Ports{KV: r.disk, Drift: r.drift, Enforcer: &recorder{m, &enforcer.Enforcer{
		Engine: engine, Functions: builtin.Functions(), Facts: m.facts(), Secrets: rehearsed,
	}}})
	if err != nil {
		return err
	}
	r.port = m.world.Fabric.connect(m.Name, m.id, m.addr, r.node, r.brake)
	g, err := gossip.Start(gossip.Options{
		Self: m.id, Network: r.port, Keys: r.node.GossipKeys(), Allowed: r.node.Known, Leaving: r.node.Leaving, Meet: r.node.Meet, Logger: m.world.logger(m.Name),
	})
	if err != nil {
		return errors.Join(err, r.port.Close())
	}
	r.gossip = &voice{Gossip: g}
	r.node.Attach(r.port, r.gossip, m.addr)
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.ended <- r.node.Run(ctx) }()
	m.run.Store(r)
	return nil
}

// roster is what the node has to show, and at its first start in a mesh that is acquainted the grants of all.
func (m *Machine) roster() (*membership.Roster, error) {
	if m.starts == 0 && m.world.met != nil {
		return m.world.met.Clone(), nil
	}
	roster := membership.NewRoster(m.world.chain)
	_, err := roster.Add(time.Now(), *m.grant)
	return roster, err
}

func (m *Machine) redeem() error {
	seed := keyOf(fmt.Sprint("ticket of ", m.Name, m.starts)).Seed()
	ticket, err := membership.NewTicket(bytes.NewReader(seed), m.world.chain, m.world.gossipKey,
		membership.TicketSpec{Expires: time.Now().Add(ticketTime), Tags: m.Tags, Zone: m.Zone}, m.world.operator)
	if err != nil {
		return err
	}
	grant, err := ticket.Redeem(m.key, m.Name)
	m.grant = &grant
	return err
}

func (m *Machine) openDisk() (*disk, error) {
	d := &disk{full: &m.full, closer: func() error { return nil }}
	if m.world.Dir == "" {
		if m.kept == nil {
			m.kept = memory.New()
		}
		d.lineage = m.lineage + 1
		d.KV = m.kept
		return d, nil
	}
	kv, err := badger.Open(badger.Options{
		Dir: filepath.Join(m.world.Dir, m.Name), Logger: m.world.logger(m.Name), Forgot: []store.Change{mesh.ForgotRecord()},
		Ballast: -1, Free: func(string) (free, total uint64, err error) { return 1 << 40, 1 << 41, nil },
	})
	if err != nil {
		return nil, err
	}
	d.KV, d.closer = kv, kv.Close
	return d, nil
}

func (m *Machine) engine() *executor.Engine {
	return &executor.Engine{
		Host: m.gate, Modules: executor.Catalogue(builtin.Modules()...), Workers: 4,
		Journal: m.gate, Ledger: m.gate, Vault: vault{m.data, m.gate}, Lock: m.data, Clock: local.Clock{},
	}
}

func (m *Machine) facts() map[string]string {
	return map[string]string{"os.name": "debian", "os.version": "12", "os.hostname": m.Name, "hw.arch": "amd64", "hw.cpus": "2", "hw.memory_mb": "2048"}
}

// Crash ends the node as a power cut does: nothing is written or sent any more.
func (m *Machine) Crash() error {
	r := m.run.Load()
	if r == nil {
		return fmt.Errorf("%s is down already", m.Name)
	}
	m.run.Store(nil)
	m.lineage++
	r.gossip.gone.Store(true)
	r.disk.gone.Store(true)
	m.gate.shut.Store(true)
	close(r.disk.lost)
	r.brake.release(true)
	if m.kept != nil {
		m.kept = m.kept.Clone() // what still runs keeps the other
	}
	err := r.port.Close()
	r.cancel()
	<-r.ended // that it could not write any more is no news
	m.kept = m.platter.cut(m.kept, m.host.Files, m.data)
	m.data.Release()
	return errors.Join(err, r.gossip.Close(), r.disk.Close())
}

// Pause stops the node's process as SIGSTOP does, and Resume lets it go on. What comes meanwhile waits in its sockets, until they are full.
func (m *Machine) Pause() error {
	if r := m.run.Load(); r == nil || !r.brake.stop() {
		return fmt.Errorf("%s is down, or paused already", m.Name)
	}
	return nil
}

// Resume is told with Pause.
func (m *Machine) Resume() error {
	if r := m.run.Load(); r == nil || !r.brake.release(false) {
		return fmt.Errorf("%s is not paused", m.Name)
	}
	return nil
}

// going is the node that runs and is not paused.
func (m *Machine) going() (*running, error) {
	r := m.run.Load()
	switch {
	case r == nil:
		return nil, fmt.Errorf("%s is down", m.Name)
	case r.brake.stopped():
		return nil, fmt.Errorf("%s is paused", m.Name)
	case m.platter.hanging():
		return nil, fmt.Errorf("%s waits for its disk: mend its syncs, or crash it", m.Name)
	}
	return r, nil
}

// Stop ends the node as its service manager does: it says goodbye.
func (m *Machine) Stop() error {
	r, err := m.going()
	if err != nil {
		return err
	}
	m.run.Store(nil)
	r.cancel()
	return m.settle(r)
}

// Leave takes the node out of the mesh for good.
func (m *Machine) Leave() error {
	r, err := m.going()
	if err != nil {
		return err
	}
	m.run.Store(nil)
	r.node.Leave()
	return m.settle(r)
}

func (m *Machine) settle(r *running) error {
	err := <-r.ended
	r.cancel()
	return errors.Join(err, r.gossip.Close(), r.port.Close(), r.disk.Close())
}

// Runs are all enforcements so far.
func (m *Machine) Runs() []Enforcement {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.runs)
}

// Last is the newest enforcement.
func (m *Machine) Last() (Enforcement, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.runs) == 0 {
		return Enforcement{}, false
	}
	return m.runs[len(m.runs)-1], true
}

// maxRuns is how many enforcements of a machine are remembered.
const maxRuns = 10000

// recorder notes what the enforcer did.
type recorder struct {
	m *Machine
	*enforcer.Enforcer
}

// Enforce implements node.Enforcer.
func (r *recorder) Enforce(ctx context.Context, w node.Wanted) executor.Report {
	report := r.Enforcer.Enforce(ctx, w)
	r.m.gate.brake.pass()
	if r.m.gateShut() {
		return report // nobody hears of it
	}
	r.m.mu.Lock()
	if len(r.m.runs) < maxRuns {
		r.m.runs = append(r.m.runs, Enforcement{time.Now(), report})
	} else {
		r.m.runs[len(r.m.runs)-1] = Enforcement{time.Now(), report}
	}
	r.m.mu.Unlock()
	r.m.world.enforced(r.m, report)
	return report
}

// breakOf is what breaks.
func (m *Machine) breakOf(what string) *atomic.Bool {
	return map[string]*atomic.Bool{
		"packages": &m.faults.packages, "services": &m.faults.services, "commands": &m.faults.commands, "files": &m.faults.files,
	}[what]
}

var errUpOrOnDisk = errors.New("the node must be down, and its store in memory")

// Wipe loses the store, as when its folder is removed; the node's key and its grant stay.
func (m *Machine) Wipe() error {
	if m.Up() || m.world.Dir != "" {
		return errUpOrOnDisk
	}
	m.kept, m.highest = nil, 0
	m.lineage++
	return nil
}

// Save copies the store, and Restore puts the copy in its place: the disk goes back in time.
func (m *Machine) Save() error {
	if m.world.Dir != "" || m.kept == nil {
		return errors.New("the store must be in memory, and not empty")
	}
	m.saved = m.kept.Clone()
	return nil
}

// Restore is told with Save.
func (m *Machine) Restore() error {
	if m.Up() || m.saved == nil {
		return errors.New("the node must be down, and saved before")
	}
	m.kept, m.highest = m.saved.Clone(), 0
	m.lineage++
	return nil
}

func (m *Machine) gateShut() bool { return m.gate.shut.Load() }

// Touched tells the node that somebody changed something on its machine, as a watcher would.
func (m *Machine) Touched(name string) {
	r := m.run.Load()
	if r == nil {
		return
	}
	select {
	case r.drift <- []string{name}:
	default: // the full check finds it
	}
}

func tagsOf(tags map[string]string) map[string]string { return maps.Clone(tags) }
