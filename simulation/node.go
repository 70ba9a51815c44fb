package simulation

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/store"
)

// Node is a machine: a Core with its shell, a disk, a clock and a place in the network.
type Node struct {
	Name  string
	ID    membership.NodeID
	w     *World
	num   int
	key   ed25519.PrivateKey
	first []membership.Signed // what it began with
	via   *Node               // whom it was told to join

	disk    *Disk
	images  []*Disk // of earlier, oldest first
	clock   clock
	core    *mesh.Core
	objects *store.Objects
	process

	told     map[int]membership.Status // by its own gossip
	missed   map[int]int               // looks in which another was not there
	epochs   map[string]uint64         // register -> epoch of the acceptor that was saved last, for the judge
	lost     bool                      // its disk cannot be read any more
	circular bool                      // places by another algorithm than the others
	gone     bool                      // left, or evicted and switched off
	evicted  bool
}

// process is what ends with a crash.
type process struct {
	up      bool
	halted  bool // the disk refused a write
	life    int
	timerAt time.Time
	asked   uint64
	waiting map[uint64]func(mesh.Answer, error)

	paused   bool
	pausedAt time.Duration
	slow     time.Duration // that each event takes, for a starved node
	busyTill time.Duration
	inbox    []func() // that came while it was paused or busy
	draining bool
	turns    turns
	effects  int // until it dies in the middle of what it does; 0: it does not
}

var errLost = errors.New("the connection was lost")

// boot makes a Core from what is on the disk. A disk that cannot be read keeps the node down.
func (n *Node) boot() {
	w, ctx := n.w, context.Background()
	n.life++
	n.process = process{life: n.life, waiting: map[uint64]func(mesh.Answer, error){}}
	n.disk.Cut = n.dieBriefly
	n.disk.Open(uint64(n.life))
	n.clock.start(w.now)
	core, objects, err := n.open(ctx)
	if err != nil {
		w.note(n, "does not start: %v", err)
		w.judge.notStarted(n, err)
		n.lost = true
		return
	}
	n.lost = false
	n.core, n.objects, n.up = core, objects, true
	clear(n.epochs)
	clear(n.told)
	clear(n.missed)
	w.note(n, "starts")
	w.judge.started(n)
	n.step(mesh.Start{})
	if n.up && n.via != nil && !n.gone {
		n.gossip(n.via, membership.Alive)
	}
}

func (n *Node) open(ctx context.Context) (*mesh.Core, *store.Objects, error) {
	objects, err := store.OpenObjects(ctx, n.disk)
	if err != nil {
		return nil, nil, err
	}
	kept, err := mesh.KeptObjects(ctx, n.disk)
	if err != nil {
		return nil, nil, err
	}
	saved, err := mesh.SavedRecords(ctx, n.disk)
	if err != nil {
		return nil, nil, err
	}
	now := n.clock.at(n.w.now)
	roster, ok, err := mesh.SavedRoster(saved)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		roster = membership.NewRoster(n.w.shared.chain)
		if _, err := roster.Add(now, n.first...); err != nil {
			return nil, nil, err
		}
	}
	core, err := mesh.New(n.w.plan.config(n), roster, now, saved, kept)
	return core, objects, err
}

// crash stops a node as a power cut does.
func (n *Node) crash() {
	if !n.up {
		return
	}
	n.w.note(n, "dies")
	waiting := n.waiting
	n.up, n.core, n.objects, n.inbox, n.waiting = false, nil, nil, nil, nil
	n.cutTurns()
	if n.w.now%2 == 0 { // no dice: a course is not another one for it
		n.disk.Stop()
	} else {
		n.disk.PowerCut()
	}
	for _, id := range slices.Sorted(maps.Keys(waiting)) {
		n.w.after(n.w.millis(1, 3), func() { waiting[id](mesh.Answer{}, errLost) })
	}
}

// dieBriefly is a crash in the middle of something; what watches the process starts it again, mostly at once.
func (n *Node) dieBriefly() {
	n.crash()
	if n.w.percent(60) {
		n.w.after(n.w.millis(0, 100), n.restart)
	} else {
		n.w.after(n.w.millis(100, 10_000), n.restart)
	}
}

// restart starts a node that is down, from its disk, and one that has halted too.
func (n *Node) restart() {
	if n.gone {
		return
	}
	if n.up && n.halted {
		n.crash()
	}
	if !n.up {
		n.boot()
	}
}

// later runs in the same life of the node, or not at all.
func (n *Node) later(d time.Duration, run func()) {
	life := n.life
	n.w.after(d, func() {
		if n.up && n.life == life {
			n.arrive(run)
		}
	})
}

// maxInbox bounds what waits for a node that is paused: what is beyond it is lost, as in the buffers of a socket.
const maxInbox = 4096

// arrive lets a node take something, as soon as it runs and has time.
func (n *Node) arrive(run func()) {
	if !n.up {
		return
	}
	if n.paused || n.w.now < n.busyTill || len(n.inbox) > 0 {
		if len(n.inbox) < maxInbox {
			n.inbox = append(n.inbox, run)
		}
		n.drainSoon()
		return
	}
	n.busyTill = n.w.now + n.slow
	run()
}

func (n *Node) drainSoon() {
	if n.draining || n.paused {
		return
	}
	n.draining = true
	life := n.life
	n.w.at(n.busyTill, func() {
		if !n.up || n.life != life {
			return
		}
		n.draining = false
		for n.up && n.life == life && len(n.inbox) > 0 && !n.paused && n.w.now >= n.busyTill {
			run := n.inbox[0]
			n.inbox = n.inbox[1:]
			n.busyTill = n.w.now + n.slow
			run()
		}
		if n.up && n.life == life && len(n.inbox) > 0 {
			n.drainSoon()
		}
	})
}

func (n *Node) pause() {
	if n.up && !n.paused {
		n.paused, n.pausedAt = true, n.w.now
	}
}

func (n *Node) resume() {
	if n.up && n.paused {
		n.paused = false
		n.drainSoon()
	}
}

// halt: nothing can be kept any more, so nothing may be said any more either.
func (n *Node) halt(err error) {
	n.w.note(n, "leaves the mesh: %v", err)
	n.halted = true
	waiting := n.waiting
	n.waiting = map[uint64]func(mesh.Answer, error){}
	for _, id := range slices.Sorted(maps.Keys(waiting)) {
		waiting[id](mesh.Answer{}, fmt.Errorf("the node has stopped: %w", err))
	}
	life := n.life
	n.w.after(n.w.millis(1000, 15_000), func() { // whoever looks after the machine starts it again
		if n.life == life {
			n.restart()
		}
	})
}

func (n *Node) setTimer() {
	next := n.core.Next()
	if next.IsZero() || next.Equal(n.timerAt) {
		return
	}
	n.timerAt = next
	n.later(n.clock.until(n.w.now, next), func() {
		if n.timerAt.Equal(next) {
			n.timerAt = time.Time{}
			n.step(mesh.Tick{})
		}
	})
}

// ask gives the node an event that it answers.
func (n *Node) ask(event func(id uint64) mesh.Event, answered func(mesh.Answer, error)) {
	if !n.up || n.halted {
		answered(mesh.Answer{}, errLost)
		return
	}
	n.asked++
	n.waiting[n.asked] = answered
	n.step(event(n.asked))
}
