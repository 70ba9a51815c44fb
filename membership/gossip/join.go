package gossip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
	forgetEvery  = 30 // turns of it: what is forgotten is of nodes that are no members any more
	refusalTime  = 2 * time.Minute
	// hosts is how many of all nodes welcome a newcomer in the first second. The others hear of it from these.
	hosts = 3
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

// doorman keeps out of the gossip whom the roster does not know. The gossip of a newcomer is often faster than its grant, and
// to the newcomer all are strangers: so those refused are remembered for a while, and met when the roster has them. One is
// met at a time, for it brings whom it knows: an exchange of all that is known with each would be the square of the mesh.
type doorman struct {
	self    membership.NodeID
	allowed func(membership.NodeID) bool

	mu      sync.Mutex
	refused map[membership.NodeID]refusal
}

type refusal struct {
	addr string
	at   time.Time
	// waited is for how many turns it has been left to others to meet it.
	waited int
}

var errNobody = errors.New("no other node at these addresses")

var errUnknown = errors.New("not in the roster")

// NotifyAlive is memberlist's question whether a node may be in.
func (d *doorman) NotifyAlive(n *memberlist.Node) error {
	id := membership.NodeID(n.Name)
	if id == d.self || d.allowed(id) {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.refused, id)
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
	if old, again := d.refused[id]; again || len(d.refused) < maxRefused {
		d.refused[id] = refusal{netip.AddrPortFrom(addr.Unmap(), n.Port).String(), time.Now(), old.waited}
	}
	return errUnknown
}

// nextAllowed takes out one of those whom the roster knows by now and whom it is this node's turn to meet. turn is told how often
// it was not.
func (d *doorman) nextAllowed(now time.Time, turn func(waited int) bool) (who membership.NodeID, addr string) {
	d.mu.Lock()
	refused := make(map[membership.NodeID]refusal, len(d.refused))
	for id, r := range d.refused {
		refused[id] = r
	}
	d.mu.Unlock()
	var turns, waits, over []membership.NodeID
	for id, r := range refused { // outside of the lock: allowed may ask the roster's owner
		switch {
		case !d.allowed(id):
			if now.Sub(r.at) >= refusalTime {
				over = append(over, id)
			}
		case turn(r.waited):
			turns = append(turns, id)
		default:
			waits = append(waits, id)
		}
	}
	if len(turns) > 0 {
		who = turns[rand.IntN(len(turns))]
		addr = refused[who].addr
		over = append(over, who)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range over {
		delete(d.refused, id)
	}
	for _, id := range waits {
		if r, still := d.refused[id]; still {
			r.waited++
			d.refused[id] = r
		}
	}
	return who, addr
}

// myTurn draws whether this node meets a newcomer: a few of all do at once, and four times as many each second that it is not in.
func (g *Gossip) myTurn(waited int) bool {
	others := g.serf.NumNodes()
	return waited > 8 || rand.IntN(max(others, 1)) < hosts<<(2*waited)
}

// welcome meets those who were refused before their grant was here.
func (g *Gossip) welcome() {
	ticker := time.NewTicker(welcomeEvery)
	defer ticker.Stop()
	for turn := 1; ; turn++ {
		select {
		case <-g.done:
			return
		case now := <-ticker.C:
			if turn%forgetEvery == 0 {
				g.guard.forget()
			}
			id, addr := g.doorman.nextAllowed(now, g.myTurn)
			if id == "" {
				continue
			}
			g.net.Learn(id, addr)
			ctx, cancel := context.WithTimeout(context.Background(), streamTime)
			if _, err := g.join(ctx, []string{string(id) + "/" + addr}); err != nil {
				g.log.Debug("newcomer not met", "node", id, "err", err)
			}
			cancel()
		}
	}
}
