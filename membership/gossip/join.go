package gossip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"shoal/membership"
)

const (
	maxAddrs     = 64
	maxRefused   = 256
	welcomeEvery = time.Second
	refusalTime  = 2 * time.Minute
)

// Join meets the members at addrs (IP:port) and says how many answered. That is nil and an error when none did. It may be
// called at any time and again: a member that the mesh has forgotten comes back by it.
func (g *Gossip) Join(ctx context.Context, addrs []string) (int, error) {
	if len(addrs) > maxAddrs {
		addrs = addrs[:maxAddrs]
	}
	names, err := g.whoami(ctx, addrs)
	if len(names) == 0 {
		return 0, fmt.Errorf("join: %w", cmp.Or(err, ctx.Err(), errNobody))
	}
	n, joinErr := g.join(ctx, names)
	if n > 0 {
		return n, nil
	}
	return 0, fmt.Errorf("join: %w", errors.Join(err, joinErr))
}

// whoami turns addresses into what memberlist joins: node/IP:port. Our own address is left out.
func (g *Gossip) whoami(ctx context.Context, addrs []string) (names []string, err error) {
	ids, errs := make([]membership.NodeID, len(addrs)), make([]error, len(addrs))
	var asking sync.WaitGroup
	for i, addr := range addrs {
		asking.Go(func() { ids[i], errs[i] = g.net.Whoami(ctx, addr) })
	}
	asking.Wait()
	for i, id := range ids {
		if errs[i] == nil && id != g.self {
			g.net.Learn(id, addrs[i])
			names = append(names, string(id)+"/"+addrs[i])
		}
	}
	g.meetAll(ctx, ids)
	return names, errors.Join(errs...)
}

// meetAll asks all of them for the keys of now. One that does not answer is called all the same: it may be of a version that has none
// to give.
func (g *Gossip) meetAll(ctx context.Context, ids []membership.NodeID) {
	if g.meet == nil {
		return
	}
	var asking sync.WaitGroup
	for _, id := range ids {
		if id == "" || id == g.self {
			continue
		}
		asking.Go(func() {
			if err := g.meet(ctx, id); err != nil {
				g.log.Debug("not met", "node", id, "err", err)
			}
		})
	}
	asking.Wait()
}

func (g *Gossip) join(ctx context.Context, names []string) (int, error) {
	select {
	case g.joining <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-g.done:
		return 0, errors.New("closed")
	}
	type result struct {
		n   int
		err error
	}
	joined := make(chan result, 1)
	g.work.Go(func() {
		defer func() { <-g.joining }()
		n, err := g.serf.Join(names, true)
		joined <- result{n, err}
	})
	select {
	case r := <-joined:
		return r.n, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// doorman keeps out of the gossip whom the roster does not know. The gossip of a newcomer is often faster than its grant,
// so those refused are remembered for a while and met when the roster has them.
type doorman struct {
	self    membership.NodeID
	allowed func(membership.NodeID) bool

	mu      sync.Mutex
	refused map[membership.NodeID]refusal
}

type refusal struct {
	addr string
	at   time.Time
}

var errNobody = errors.New("no other node at these addresses")

var errUnknown = errors.New("not in the roster")

// NotifyAlive is memberlist's question whether a node may be in.
func (d *doorman) NotifyAlive(n *memberlist.Node) error {
	id := membership.NodeID(n.Name)
	if id == d.self || d.allowed(id) {
		return nil
	}
	if _, err := id.Key(); err != nil {
		return err
	}
	addr, ok := netip.AddrFromSlice(n.Addr)
	if !ok {
		return errUnknown
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, again := d.refused[id]; again || len(d.refused) < maxRefused {
		d.refused[id] = refusal{netip.AddrPortFrom(addr.Unmap(), n.Port).String(), time.Now()}
	}
	return errUnknown
}

// nowAllowed takes out those whom the roster knows by now.
func (d *doorman) nowAllowed(now time.Time) (addrs map[membership.NodeID]string) {
	d.mu.Lock()
	refused := make(map[membership.NodeID]refusal, len(d.refused))
	for id, r := range d.refused {
		refused[id] = r
	}
	d.mu.Unlock()
	addrs = map[membership.NodeID]string{}
	for id, r := range refused { // outside of the lock: allowed may ask the roster's owner
		if d.allowed(id) {
			addrs[id] = r.addr
		} else if now.Sub(r.at) < refusalTime {
			delete(refused, id)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range refused {
		delete(d.refused, id)
	}
	return addrs
}

// welcome meets those who were refused before their grant was here.
func (g *Gossip) welcome() {
	ticker := time.NewTicker(welcomeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-g.done:
			return
		case now := <-ticker.C:
			g.guard.forget()
			for id, addr := range g.doorman.nowAllowed(now) {
				g.net.Learn(id, addr)
				ctx, cancel := context.WithTimeout(context.Background(), streamTime)
				if _, err := g.join(ctx, []string{string(id) + "/" + addr}); err != nil {
					g.log.Debug("newcomer not met", "node", id, "err", err)
				}
				cancel()
			}
		}
	}
}
