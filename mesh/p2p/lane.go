package p2p

import (
	"bufio"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"shoal/mesh"
)

// What waits for a peer, per lane.
const (
	maxQueued      = 256
	maxQueuedBytes = 8 << 20
	BulkSize       = 16 << 10 // frames longer than this take the bulk lane
	maxWait        = 30 * time.Second
	writeTime      = 10 * time.Second
	laneIdle       = time.Minute
	steadyTime     = 5 * time.Second // a stream that held for longer is replaced at once when it breaks
	minBackoff     = 100 * time.Millisecond
	maxBackoff     = 30 * time.Second
)

// Lane is one queue to one peer and, while there is something to send, one goroutine that empties it into one stream.
// Small frames and bulk have a lane each, so that a question does not queue behind an object. The simulation has lanes over
// streams of its own.
type Lane struct {
	open func(context.Context) (Stream, error)
	kick chan struct{} // something to send

	again chan struct{} // a reason to dial now

	mu      sync.Mutex
	queue   []queued
	bytes   int
	running bool
}

// Stream is what a lane needs of one.
type Stream interface {
	Write([]byte) (int, error)
	SetWriteDeadline(time.Time) error
	Close() error
	Reset() error
	Broken() bool // the connection below is closed
}

type queued struct {
	data []byte
	at   time.Time
}

// NewLane makes an empty lane over the streams that open gives.
func NewLane(open func(context.Context) (Stream, error)) *Lane {
	return &Lane{open: open, kick: make(chan struct{}, 1), again: make(chan struct{}, 1)}
}

// Push never blocks. start tells the caller to call Run.
func (l *Lane) Push(data []byte) (start bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) >= maxQueued || l.bytes+len(data) > maxQueuedBytes {
		return false, mesh.ErrQueueFull
	}
	l.queue = append(l.queue, queued{data, time.Now()})
	l.bytes += len(data)
	start = !l.running
	l.running = true
	nudge(l.kick)
	return start, nil
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pop takes the oldest frame that is still worth sending; whoever wanted an older one has asked again or given up.
func (l *Lane) pop(now time.Time) (data []byte, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) > 0 {
		first := l.queue[0]
		l.queue[0] = queued{}
		l.queue = l.queue[1:]
		l.bytes -= len(first.data)
		if now.Sub(first.at) < maxWait {
			return first.data, true
		}
	}
	l.queue = nil
	return nil, false
}

// waiting drops what has waited too long, and tells whether anything is left.
func (l *Lane) waiting(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) > 0 && now.Sub(l.queue[0].at) >= maxWait {
		l.bytes -= len(l.queue[0].data)
		l.queue[0] = queued{}
		l.queue = l.queue[1:]
	}
	return len(l.queue) > 0
}

// stop ends the run unless something came meanwhile.
func (l *Lane) stop() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) > 0 {
		return false
	}
	l.queue, l.running = nil, false
	return true
}

// Run sends until ctx ends or nothing has come for laneIdle.
func (l *Lane) Run(ctx context.Context) {
	backoff := minBackoff
	for ctx.Err() == nil {
		if !l.waiting(time.Now()) {
			if l.stop() {
				return
			}
			continue
		}
		opened := time.Now()
		if s, err := l.open(ctx); err == nil {
			if l.drain(ctx, s) {
				continue
			}
			if time.Since(opened) > steadyTime {
				backoff = minBackoff
				continue
			}
		}
		l.pause(ctx, backoff)
		backoff = min(2*backoff, maxBackoff)
	}
	l.stop()
}

// Retry says that there is a reason to dial now.
func (l *Lane) Retry() { nudge(l.again) }

// pause is the back-off, half of it fixed and half random, so that peers that lost the same node do not come back in
// step. It ends early when there is a reason to try now.
func (l *Lane) pause(ctx context.Context, backoff time.Duration) {
	timer := time.NewTimer(backoff/2 + rand.N(backoff/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-l.again:
	}
}

// drain writes frames until the stream breaks (false) or has been idle (true). The frames in flight when it breaks are
// lost, as mesh.Transport says.
func (l *Lane) drain(ctx context.Context, s Stream) (idle bool) {
	w := bufio.NewWriterSize(s, 4096)
	timer := time.NewTimer(laneIdle)
	defer timer.Stop()
	for {
		if s.Broken() {
			_ = s.Reset()
			return false
		}
		data, ok := l.pop(time.Now())
		if ok {
			if s.SetWriteDeadline(time.Now().Add(writeTime)) != nil || writeFrame(w, data) != nil {
				_ = s.Reset()
				return false
			}
			continue
		}
		if w.Flush() != nil {
			_ = s.Reset()
			return false
		}
		timer.Reset(laneIdle)
		select {
		case <-l.kick:
		case <-timer.C:
			_ = s.Close()
			return true
		case <-ctx.Done():
			_ = s.Reset()
			return true
		}
	}
}

// Clear drops what waits.
func (l *Lane) Clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue, l.bytes = nil, 0
}
