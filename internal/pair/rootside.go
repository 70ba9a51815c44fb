package pair

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"shoal/internal/anchor"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/node"
	"shoal/store"
)

// Times and limits of the executor's side.
const (
	objectTime  = 2 * time.Minute // for one more object of those that were asked for
	pursueAgain = 5 * time.Second // a revision whose objects did not come
	askTime     = 10 * time.Second
	// maxRefused is how much that does not hold one process on the mesh's side may show before it is ended, and another started.
	maxRefused = 64
	// eachCosts is the time between two messages whose signatures are looked at: the other side may not keep a core busy.
	eachCosts = 5 * time.Millisecond
	getBatch  = 32
)

var (
	// errAway is returned for what only the mesh's side could answer.
	errAway = errors.New("the side that is on the network is down")
	// ErrLiar ends a connection whose other side shows what does not hold, again and again.
	ErrLiar = errors.New("the mesh's side shows too much that does not hold")
)

// RootSide is the executor's side. It implements node.Site for an Enforcement, from what is on its own disk, and takes from the
// other side what it can verify. It is made once; processes on the other side come and go.
type RootSide struct {
	log     *slog.Logger
	objects kept
	confirm time.Duration

	believe sync.Mutex // anchor
	anchor  *anchor.Anchor

	pursuing sync.Mutex // held while objects are gathered, so that nobody clears them away
	offered  chan mesh.Proof
	exec     node.Executive

	mu      sync.Mutex
	conn    *Conn
	changed chan struct{} // closed when conn changes
	pending map[store.Hash][]chan Object
	asked   uint64
	asks    map[uint64]chan Told
	unsaid  *mesh.Reported // the last report that nobody took
}

var _ node.Site = (*RootSide)(nil)

// NewRootSide keeps the objects of the applied revision in dir. confirm is how long after a change a peer may take to answer.
func NewRootSide(a *anchor.Anchor, dir string, confirm time.Duration, log *slog.Logger) *RootSide {
	return &RootSide{
		log: log, objects: kept{dir}, confirm: confirm, anchor: a, offered: make(chan mesh.Proof, 1), changed: make(chan struct{}),
		pending: map[store.Hash][]chan Object{}, asks: map[uint64]chan Told{},
	}
}

// Run enforces what was applied last, and then what is offered and holds, until ctx ends.
func (s *RootSide) Run(ctx context.Context, exec node.Executive) {
	s.believe.Lock()
	s.exec = exec
	was, ok := s.anchor.Applied()
	env := s.anchor.Env()
	s.believe.Unlock()
	if ok {
		exec.Want(mesh.Converge{Head: store.Head{Env: env, Version: was.Version, Revision: was.Revision}, Manifest: was.Manifest})
	}
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { s.follow(ctx) })
	exec.Run(ctx)
}

// follow gathers what was offered and wants it enforced: the newest offer takes the place of one that cannot be gathered.
func (s *RootSide) follow(ctx context.Context) {
	var again <-chan time.Time
	var proof mesh.Proof
	for {
		select {
		case <-ctx.Done():
			return
		case proof = <-s.offered:
		case <-again:
		}
		again = nil
		err := s.pursue(ctx, proof)
		if errors.Is(err, errAway) || ctx.Err() != nil {
			continue // the next process offers it again
		}
		if err != nil {
			s.log.Warn("cannot apply what was offered", "error", err)
			again = time.After(pursueAgain)
		}
	}
}

// pursue brings all objects of a verified revision here, and then wants it: what is enforced never waits for the other side.
func (s *RootSide) pursue(ctx context.Context, p mesh.Proof) error {
	s.believe.Lock()
	proven, err := s.anchor.Verify(p)
	s.believe.Unlock()
	if err != nil {
		return err
	}
	s.pursuing.Lock()
	defer s.pursuing.Unlock()
	if err := s.gather(ctx, proven.Manifest); err != nil {
		return fmt.Errorf("version %d of %s: %w", proven.Head.Version, proven.Head.Env, err)
	}
	s.believe.Lock()
	before, _ := s.anchor.Applied()
	proven, err = s.anchor.Commit(p)
	s.believe.Unlock()
	if err != nil {
		return err
	}
	if before.Revision != proven.Head.Revision {
		s.exec.Want(mesh.Converge{Head: proven.Head, Manifest: proven.Manifest})
	}
	return nil
}

func (s *RootSide) gather(ctx context.Context, manifest store.Hash) error {
	all, err := needed(ctx, manifest, s.get)
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	var lacking []store.Hash
	var bytes int64
	for h, size := range all {
		if !s.objects.has(h, size) {
			lacking, bytes = append(lacking, h), bytes+size
		}
	}
	if err := s.objects.room(bytes); err != nil {
		return err
	}
	for len(lacking) > 0 {
		n := min(len(lacking), getBatch)
		if err := s.fetch(ctx, lacking[:n]); err != nil {
			return err
		}
		lacking = lacking[n:]
	}
	return s.objects.sync()
}

// get reads an object, from here or from the other side.
func (s *RootSide) get(ctx context.Context, h store.Hash) ([]byte, error) {
	data, err := s.objects.get(h)
	if err == nil {
		return data, nil
	}
	if err := s.fetch(ctx, []store.Hash{h}); err != nil {
		return nil, err
	}
	return s.objects.get(h)
}

// fetch asks for objects and keeps those that are what their names say.
func (s *RootSide) fetch(ctx context.Context, hashes []store.Hash) error {
	s.mu.Lock()
	conn := s.conn
	if conn == nil {
		s.mu.Unlock()
		return errAway
	}
	answers := make(chan Object, len(hashes))
	for _, h := range hashes {
		s.pending[h] = append(s.pending[h], answers)
	}
	s.mu.Unlock()
	if err := conn.Send(&Get{Hashes: hashes}); err != nil {
		return errAway
	}
	patience := time.NewTimer(objectTime)
	defer patience.Stop()
	for range hashes {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-patience.C:
			return fmt.Errorf("no object came for %s", objectTime)
		case o := <-answers:
			if o.Err == errAway.Error() {
				return errAway
			}
			if o.Err != "" {
				return fmt.Errorf("object %s: %.200q", o.Hash.Short(), o.Err)
			}
			if store.HashOf(o.Data) != o.Hash {
				return fmt.Errorf("object %s: %w", o.Hash.Short(), store.ErrCorrupt)
			}
			if err := s.objects.put(o.Hash, o.Data); err != nil {
				return err
			}
		}
		patience.Reset(objectTime)
	}
	return nil
}

// Serve speaks with a process on the other side until it is gone, or ctx ends. up is called when it takes part; left is true when
// it was told to leave the mesh.
func (s *RootSide) Serve(ctx context.Context, conn *Conn, start []byte, up func()) (left bool, err error) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := conn.Send(&Start{Body: start}); err != nil {
		return false, err
	}
	s.swap(conn)
	defer s.swap(nil)
	refused := 0
	for {
		m, err := conn.Receive()
		if err != nil {
			return left, err
		}
		switch m := m.(type) {
		case *Up:
			up()
			s.repeat(conn)
		case *Left:
			left = true
		case *Records:
			err = s.learn(m.Records)
		case *Offer:
			err = s.offer(m.Proof)
		case *Object:
			s.answer(*m)
		case *Told:
			s.told(*m)
		case *Keys:
			s.keyed(ctx, conn, *m)
		default:
			return left, fmt.Errorf("%w: %T", ErrFrame, m)
		}
		if err != nil {
			s.log.Warn("refused what the mesh's side showed", "error", err)
			if refused++; refused >= maxRefused {
				return left, ErrLiar
			}
		}
	}
}

// swap takes another connection, and tells all who wait for the old one that nothing comes any more.
func (s *RootSide) swap(conn *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = conn
	close(s.changed)
	s.changed = make(chan struct{})
	for h, waiting := range s.pending {
		for _, w := range waiting {
			w <- Object{Hash: h, Err: errAway.Error()}
		}
	}
	for id, w := range s.asks {
		w <- Told{ID: id, Err: errAway.Error()}
	}
	s.pending, s.asks = map[store.Hash][]chan Object{}, map[uint64]chan Told{}
}

func (s *RootSide) answer(o Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.pending[o.Hash] {
		w <- o // has room for each that was asked for
	}
	delete(s.pending, o.Hash)
}

func (s *RootSide) told(t Told) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.asks[t.ID]; w != nil {
		w <- t
		delete(s.asks, t.ID)
	}
}

func (s *RootSide) learn(records []membership.Signed) error {
	time.Sleep(eachCosts)
	s.believe.Lock()
	changed, err := s.anchor.Learn(records)
	exec := s.exec
	s.believe.Unlock()
	if changed && exec != nil {
		exec.FleetChanged()
	}
	return err
}

// offer verifies at once, so that what does not hold takes the place of nothing that does.
func (s *RootSide) offer(p mesh.Proof) error {
	time.Sleep(eachCosts)
	s.believe.Lock()
	_, err := s.anchor.Verify(p)
	s.believe.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-s.offered: // the newer one counts
	default:
	}
	select {
	case s.offered <- p:
	default:
	}
	return nil
}

// Object implements node.Site.
func (s *RootSide) Object(ctx context.Context, hash store.Hash) ([]byte, error) {
	return s.get(ctx, hash)
}

// Member implements node.Site.
func (s *RootSide) Member() membership.Member {
	s.believe.Lock()
	defer s.believe.Unlock()
	return s.anchor.Member()
}

// Fleet implements node.Site.
func (s *RootSide) Fleet() []mesh.MemberInfo {
	s.believe.Lock()
	defer s.believe.Unlock()
	return s.anchor.Fleet()
}

// Report implements node.Site. What the other side does not take now it is told when it is there again.
func (s *RootSide) Report(ctx context.Context, r mesh.Reported) {
	s.mu.Lock()
	conn := s.conn
	s.unsaid = &r
	s.mu.Unlock()
	if conn != nil {
		s.repeat(conn)
	}
	s.clear(ctx, r.Summary)
}

func (s *RootSide) repeat(conn *Conn) {
	s.mu.Lock()
	r := s.unsaid
	s.mu.Unlock()
	if r == nil || conn.Send(&Done{Reported: *r}) != nil {
		return
	}
	s.mu.Lock()
	if s.unsaid == r {
		s.unsaid = nil
	}
	s.mu.Unlock()
}

// clear removes the objects of earlier revisions, once a later one was enforced.
func (s *RootSide) clear(ctx context.Context, r mesh.Summary) {
	if !s.pursuing.TryLock() {
		return // after the next run
	}
	defer s.pursuing.Unlock()
	s.believe.Lock()
	was, ok := s.anchor.Applied()
	s.believe.Unlock()
	if !ok || was.Revision != r.Revision {
		return
	}
	all, err := needed(ctx, was.Manifest, func(_ context.Context, h store.Hash) ([]byte, error) { return s.objects.get(h) })
	if err != nil {
		return // something is missing: the next run brings it back
	}
	keep := make(map[store.Hash]bool, len(all))
	for h := range all {
		keep[h] = true
	}
	if err := s.objects.only(keep); err != nil {
		s.log.Warn("could not remove what is not needed any more", "error", err)
	}
}
