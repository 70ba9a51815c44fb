package p2p

import (
	"errors"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"shoal/membership"
)

// What peers can make this node hold.
const (
	maxInbound     = 256 // connections that others opened, strangers in their handshake included
	maxConnections = 128 // past this, idle ones are closed early
	maxStreams     = 64  // that one peer has open here
	idleTime       = 90 * time.Second
	trimEvery      = 10 * time.Second
	strangeTime    = 20 * time.Second // how long a connection lives whose other end is no member
)

var errTooMany = errors.New("too many connections or streams")

// limits is a libp2p resource manager that counts what matters and nothing else.
type limits struct {
	network.NullResourceManager

	mu      sync.Mutex
	inbound int
	streams map[peer.ID]int
}

func newLimits() *limits { return &limits{streams: map[peer.ID]int{}} }

// OpenConnection counts inbound connections until they are done.
func (l *limits) OpenConnection(dir network.Direction, _ bool, _ ma.Multiaddr) (network.ConnManagementScope, error) {
	if dir == network.DirOutbound {
		return &network.NullScope{}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inbound >= maxInbound {
		return nil, errTooMany
	}
	l.inbound++
	return &scope{done: sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.inbound--
	})}, nil
}

// OpenStream counts a peer's streams until they are done.
func (l *limits) OpenStream(p peer.ID, dir network.Direction) (network.StreamManagementScope, error) {
	if dir == network.DirOutbound {
		return &network.NullScope{}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams[p] >= maxStreams {
		return nil, errTooMany
	}
	l.streams[p]++
	return &scope{done: sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.streams[p]--; l.streams[p] == 0 {
			delete(l.streams, p)
		}
	})}, nil
}

type scope struct {
	network.NullScope
	done func()
}

func (s *scope) Done() { s.done() }

// trim closes connections to those who are no members, and connections without streams: those idle for idleTime, and while there are more than maxConnections those
// that were idle the last time.
func (t *Transport) trim(idleSince map[network.Conn]time.Time, now time.Time) {
	var conns []network.Conn
	for _, s := range t.swarms {
		conns = append(conns, s.Conns()...)
	}
	excess := len(conns) - maxConnections
	for _, c := range conns {
		switch since, idle := idleSince[c]; {
		case now.Sub(c.Stat().Opened) >= strangeTime && !t.known(membership.NodeID(c.RemotePeer().String())):
			c.Close()
		case len(c.GetStreams()) > 0:
			delete(idleSince, c)
		case !idle:
			idleSince[c] = now
		case now.Sub(since) >= idleTime || excess > 0:
			excess--
			c.Close()
		}
	}
	for c := range idleSince {
		if c.IsClosed() {
			delete(idleSince, c)
		}
	}
}

func (t *Transport) trimLoop() {
	idleSince := map[network.Conn]time.Time{}
	ticker := time.NewTicker(trimEvery)
	defer ticker.Stop()
	for {
		select {
		case <-t.ctx.Done():
			return
		case now := <-ticker.C:
			t.trim(idleSince, now)
		}
	}
}
