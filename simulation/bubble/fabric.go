// Package bubble runs whole nodes in virtual time: memberlist and serf, the store, the node's loop, and the executor over a
// machine in memory, joined by a network of its own. All of it lives in one testing/synctest bubble, where time passes only when
// everybody waits. Scenarios say what happens, and what is to come of it.
package bubble

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"shoal/membership"
)

// How the network is when nothing is wrong with it.
const (
	latency   = 2 * time.Millisecond // one way
	jitter    = time.Millisecond
	bandwidth = 50 << 20 // bytes a second, of one stream
	resend    = 200 * time.Millisecond
	stallTime = 30 * time.Second // a stream that gets nothing through for so long is broken
)

// Fabric is a network. One goroutine delivers all that is under way, in the order in which it is due.
type Fabric struct {
	mu      sync.Mutex
	dice    *rand.Rand
	due     schedule
	count   uint64 // of events
	streams uint64
	wake    chan struct{}
	done    chan struct{}
	work    sync.WaitGroup

	ports  map[membership.NodeID]*Port
	byAddr map[string]*Port
	cuts   map[int]cut
	loss   float64
	mute   bool                     // no packet arrives; streams do
	slow   map[string]time.Duration // by name of a node: how much later all of its traffic comes
	cutID  int

	// Beats grows with each delivery, for whoever watches from outside whether time passes.
	Beats atomic.Uint64
	// trace is a hash of all that was sent: when, by whom, to whom and how much.
	trace uint64
	began time.Time
	// said are the last messages between nodes, of small fleets.
	said messages
	// moved are the bytes that were sent, by the name of the sender.
	moved map[string]*Traffic
}

// Traffic is what one node has sent.
type Traffic struct {
	Packets     int64 `json:"packets"`
	PacketBytes int64 `json:"packet_bytes"`
	StreamBytes int64 `json:"stream_bytes"`
}

// cut is one fault of the network: nothing passes from one set to the other.
type cut struct {
	from, to map[string]bool
	both     bool
}

func (c cut) holds(from, to string) bool {
	return c.from[from] && c.to[to] || c.both && c.from[to] && c.to[from]
}

type event struct {
	at    time.Time
	order uint64
	do    func()
}

type schedule []event

func (s schedule) Len() int { return len(s) }
func (s schedule) Less(i, j int) bool {
	if !s[i].at.Equal(s[j].at) {
		return s[i].at.Before(s[j].at)
	}
	return s[i].order < s[j].order
}
func (s schedule) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)   { *s = append(*s, x.(event)) }
func (s *schedule) Pop() any {
	old := *s
	last := old[len(old)-1]
	old[len(old)-1] = event{}
	*s = old[:len(old)-1]
	return last
}

// NewFabric begins to deliver; Close ends it.
func NewFabric(seed uint64) *Fabric {
	f := &Fabric{
		dice: rand.New(rand.NewPCG(seed, 0x5ea)), wake: make(chan struct{}, 1), done: make(chan struct{}),
		ports: map[membership.NodeID]*Port{}, byAddr: map[string]*Port{}, cuts: map[int]cut{},
		slow: map[string]time.Duration{}, moved: map[string]*Traffic{}, began: time.Now(),
	}
	f.work.Go(f.run)
	return f
}

// Close drops what is under way.
func (f *Fabric) Close() {
	close(f.done)
	f.work.Wait()
}

func (f *Fabric) run() {
	for {
		// A timer that is set earlier before it has fired makes the bubble look through all its timers, and it has one for each stream.
		timer := time.NewTimer(f.deliver())
		select {
		case <-timer.C:
		case <-f.wake:
		case <-f.done:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// deliver does all that is due and says how long nothing else is.
func (f *Fabric) deliver() time.Duration {
	for {
		f.mu.Lock()
		if len(f.due) == 0 {
			f.mu.Unlock()
			return time.Hour
		}
		if wait := time.Until(f.due[0].at); wait > 0 {
			f.mu.Unlock()
			return wait
		}
		ev := heap.Pop(&f.due).(event)
		f.mu.Unlock()
		f.Beats.Add(1)
		ev.do()
	}
}

// later has the scheduler call do, which must not wait. The caller holds the lock.
func (f *Fabric) later(at time.Time, do func()) {
	f.count++
	heap.Push(&f.due, event{at, f.count, do})
	if f.due[0].order == f.count {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

// delay is how long something is under way. The caller holds the lock.
func (f *Fabric) delay(from, to string) time.Duration {
	return latency + time.Duration(f.dice.Int64N(int64(jitter))) + f.slow[from] + f.slow[to]
}

// lost draws whether a packet is lost. The caller holds the lock.
func (f *Fabric) lost() bool { return f.loss > 0 && f.dice.Float64() < f.loss }

// blocked tells whether nothing passes. The caller holds the lock.
func (f *Fabric) blocked(from, to string) bool {
	for _, c := range f.cuts {
		if c.holds(from, to) {
			return true
		}
	}
	return false
}

func (f *Fabric) traffic(name string) *Traffic {
	t := f.moved[name]
	if t == nil {
		t = &Traffic{}
		f.moved[name] = t
	}
	return t
}

// note adds something that is sent to the trace. The caller holds the lock.
func (f *Fabric) note(from, to string, size int) {
	h := mix(mix(f.trace, uint64(time.Since(f.began))), uint64(size))
	for _, name := range [2]string{from, to} {
		for i := range len(name) {
			h = (h ^ uint64(name[i])) * fnvPrime
		}
		h *= fnvPrime // ends the name
	}
	f.trace = h
}

// fnvPrime is that of FNV-1a with 64 bits.
const fnvPrime = 1099511628211

func mix(h, v uint64) uint64 {
	for ; v > 0; v >>= 8 {
		h = (h ^ v&0xff) * fnvPrime
	}
	return h * fnvPrime
}

// Trace is a hash of all that was sent so far: when, by whom, to whom and how much.
func (f *Fabric) Trace() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trace
}

// Traffic is what each node has sent so far.
func (f *Fabric) Traffic() map[string]Traffic {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]Traffic{}
	for name, t := range f.moved {
		out[name] = *t
	}
	return out
}

// Cut lets nothing pass from one set of nodes to another, or between them, until the fault that it returns is healed.
func (f *Fabric) Cut(from, to []string, both bool) (fault int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cutID++
	f.cuts[f.cutID] = cut{setOf(from), setOf(to), both}
	return f.cutID
}

// Heal ends a Cut.
func (f *Fabric) Heal(fault int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.cuts, fault)
}

// Lose has a part of all packets lost from now on; streams take longer instead.
func (f *Fabric) Lose(part float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loss = part
}

// Mute has all packets lost, and streams work as ever, until it is called with false.
func (f *Fabric) Mute(mute bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mute = mute
}

// Slow has all traffic of a node take longer by d.
func (f *Fabric) Slow(name string, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slow[name] = d
}

func setOf(names []string) map[string]bool {
	set := map[string]bool{}
	for _, n := range names {
		set[n] = true
	}
	return set
}

// HealAll ends all faults.
func (f *Fabric) HealAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.cuts)
	clear(f.slow)
	f.loss, f.mute = 0, false
}
