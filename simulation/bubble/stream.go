package bubble

import (
	"cmp"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"shoal/membership"
)

// window is how many bytes of one direction may be under way or unread.
const window = 1 << 20

var (
	errReset   = errors.New("connection reset by peer")
	errStalled = errors.New("connection timed out")
)

// stream is one end of a connection.
type stream struct {
	local, remote membership.NodeID
	in, out       *flow
	brake         *brake // of the machine here
	order         uint64 // of all streams of the fabric
}

// inOrder sorts streams: what is done to several at once is done in one order, whatever their addresses in memory are.
func inOrder(streams []*stream) []*stream {
	slices.SortFunc(streams, func(a, b *stream) int { return cmp.Compare(a.order, b.order) })
	return streams
}

// newStreams connects two ports.
func newStreams(f *Fabric, from, to *Port) (here, there *stream) {
	forth, back := newFlow(f, from.name, to.name), newFlow(f, to.name, from.name)
	forth.other, back.other = back, forth
	f.mu.Lock()
	f.streams += 2
	order := f.streams
	f.mu.Unlock()
	here = &stream{from.id, to.id, back, forth, from.brake, order}
	there = &stream{to.id, from.id, forth, back, to.brake, order + 1}
	from.own(here)
	to.own(there)
	return here, there
}

// nodeAddr is the address of a stream's end: the id of the node.
type nodeAddr string

func (a nodeAddr) Network() string { return "shoal" }
func (a nodeAddr) String() string  { return string(a) }

func (s *stream) LocalAddr() net.Addr               { return nodeAddr(s.local) }
func (s *stream) RemoteAddr() net.Addr              { return nodeAddr(s.remote) }
func (s *stream) SetReadDeadline(t time.Time) error { s.in.setDeadline(&s.in.readBy, t); return nil }
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.out.setDeadline(&s.out.writeBy, t)
	return nil
}

func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// Read and Write wait while the machine is stopped.

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.in.read(p)
	if !s.brake.pass() {
		return 0, net.ErrClosed
	}
	return n, err
}

func (s *stream) Write(p []byte) (int, error) {
	if !s.brake.pass() {
		return 0, net.ErrClosed
	}
	return s.out.write(p)
}

// Close lets what was written arrive. Nothing is read any more.
func (s *stream) Close() error {
	s.brake.then(func() {
		s.out.finish()
		s.in.hangUp(net.ErrClosed)
	})
	return nil
}

// Reset ends both directions, here at once and there as soon as the news arrives.
func (s *stream) Reset() error {
	s.brake.then(func() {
		s.in.hangUp(net.ErrClosed)
		s.out.giveUp(net.ErrClosed)
		s.out.breakLater()
	})
	return nil
}

// Broken tells what a node knows of the connection before it writes.
func (s *stream) Broken() bool {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	return s.out.writeErr != nil
}

// flow is one direction of a connection: what was sent arrives in order, later than it was sent, or the connection breaks.
type flow struct {
	fabric   *Fabric
	from, to string
	other    *flow

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when anything below changes
	sent     []segment
	arrived  []byte
	room     int   // bytes that may still be written
	ended    bool  // for the reader, after what has arrived
	readErr  error // for the reader
	writeErr error // for the writer
	readBy   time.Time
	writeBy  time.Time
	last     time.Time // when the newest segment is due
	stalled  time.Time // since when nothing passes; zero: it does
	underway bool
}

type segment struct {
	data []byte
	at   time.Time
	end  bool
}

func newFlow(f *Fabric, from, to string) *flow {
	return &flow{fabric: f, from: from, to: to, changed: make(chan struct{}), room: window}
}

// tell wakes all who wait. The caller holds the lock.
func (w *flow) tell() {
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *flow) setDeadline(which *time.Time, t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*which = t
	w.tell()
}

// hangUp ends the flow for its reader. What arrives then breaks the connection.
func (w *flow) hangUp(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.readErr == nil {
		w.readErr, w.arrived = err, nil
		w.tell()
	}
}

// giveUp ends the flow for its writer; what is under way is lost.
func (w *flow) giveUp(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writeErr, w.sent = err, nil
	w.tell()
}

// wait waits for a change, but not past a deadline. The caller holds the lock, which is free meanwhile.
func (w *flow) wait(by time.Time) error {
	changed := w.changed
	w.mu.Unlock()
	defer w.mu.Lock()
	if by.IsZero() {
		<-changed
		return nil
	}
	left := time.Until(by)
	if left <= 0 {
		return os.ErrDeadlineExceeded
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	}
	return nil
}

func (w *flow) read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		switch {
		case len(w.arrived) > 0:
			n := copy(p, w.arrived)
			w.arrived = w.arrived[n:]
			w.room += n
			w.tell()
			return n, nil
		case w.readErr != nil:
			return 0, &net.OpError{Op: "read", Net: "shoal", Err: w.readErr}
		case w.ended:
			return 0, io.EOF
		}
		if err := w.wait(w.readBy); err != nil {
			return 0, &net.OpError{Op: "read", Net: "shoal", Err: err}
		}
	}
}

func (w *flow) write(p []byte) (written int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(p) > 0 {
		if w.writeErr != nil {
			return written, &net.OpError{Op: "write", Net: "shoal", Err: w.writeErr}
		}
		if n := min(w.room, len(p)); n > 0 {
			w.send(segment{data: append([]byte(nil), p[:n]...)})
			w.room -= n
			written += n
			p = p[n:]
			continue
		}
		if err := w.wait(w.writeBy); err != nil {
			return written, &net.OpError{Op: "write", Net: "shoal", Err: err}
		}
	}
	return written, nil
}

// finish says that nothing more comes.
func (w *flow) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.writeErr == nil {
		w.send(segment{end: true})
		w.writeErr = net.ErrClosed
	}
}

// send puts a segment on its way. The caller holds the lock.
func (w *flow) send(s segment) {
	f := w.fabric
	f.mu.Lock()
	now := time.Now()
	s.at = now.Add(f.delay(w.from, w.to) + time.Duration(len(s.data))*time.Second/bandwidth)
	for tries := resend; f.lost(); tries *= 2 { // sent again until it arrives
		s.at = s.at.Add(tries)
	}
	f.note(w.from, w.to, len(s.data))
	f.traffic(w.from).StreamBytes += int64(len(s.data))
	f.mu.Unlock()
	if s.at.Before(w.last) {
		s.at = w.last
	}
	w.last = s.at
	w.sent = append(w.sent, s)
	if !w.underway {
		w.underway = true
		w.schedule(s.at)
	}
}

func (w *flow) schedule(at time.Time) {
	w.fabric.mu.Lock()
	defer w.fabric.mu.Unlock()
	w.fabric.later(at, w.advance)
}

// advance lets the first segment arrive, unless nothing passes; then it is tried again, until the connection breaks.
func (w *flow) advance() {
	w.fabric.mu.Lock()
	blocked := w.fabric.blocked(w.from, w.to)
	w.fabric.mu.Unlock()
	w.mu.Lock()
	now := time.Now()
	if len(w.sent) == 0 {
		w.underway = false
		w.mu.Unlock()
		return
	}
	if blocked {
		if w.stalled.IsZero() {
			w.stalled = now
		}
		if now.Sub(w.stalled) < stallTime {
			w.schedule(now.Add(resend))
			w.mu.Unlock()
			return
		}
		w.underway = false
		w.mu.Unlock()
		w.breakDown(errStalled)
		return
	}
	w.stalled = time.Time{}
	if w.readErr != nil && !w.sent[0].end { // nobody reads there
		w.underway = false
		w.mu.Unlock()
		w.breakDown(errReset)
		return
	}
	w.arrive(now)
	w.mu.Unlock()
}

// arrive hands over what is due. The caller holds the lock.
func (w *flow) arrive(now time.Time) {
	for len(w.sent) > 0 && !w.sent[0].at.After(now) {
		s := w.sent[0]
		w.sent = w.sent[1:]
		w.arrived = append(w.arrived, s.data...)
		w.ended = w.ended || s.end
	}
	if w.underway = len(w.sent) > 0; w.underway {
		w.schedule(w.sent[0].at)
	}
	w.tell()
}

// breakDown ends both directions for both ends.
func (w *flow) breakDown(err error) {
	for _, flow := range []*flow{w, w.other} {
		flow.hangUp(err)
		flow.giveUp(err)
	}
}

// breakLater ends the connection for the other end when the news arrives there.
func (w *flow) breakLater() {
	f := w.fabric
	f.mu.Lock()
	defer f.mu.Unlock()
	var news func()
	latest := time.Now().Add(stallTime)
	news = func() {
		f.mu.Lock()
		waits := f.blocked(w.from, w.to) && time.Now().Before(latest)
		if waits {
			f.later(time.Now().Add(resend), news)
		}
		f.mu.Unlock()
		if !waits {
			w.breakDown(errReset)
		}
	}
	f.later(time.Now().Add(f.delay(w.from, w.to)), news)
}
