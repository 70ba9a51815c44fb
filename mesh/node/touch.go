package node

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"shoal/mesh"
)

const (
	// touchFresh is how long ago a peer may have been heard for the node to count as in touch: a few rounds of the protocol's
	// own chatter.
	touchFresh = time.Minute
	// contactWithin is how long a node that heard a peer lately waits for one to answer before it changes itself.
	contactWithin = 5 * time.Second
	// touchPeers is how many peers are asked at a time whether they hear us.
	touchPeers = 5
	// touchAgain is between two rounds of asking.
	touchAgain = 500 * time.Millisecond
)

// touch remembers when a peer was last heard.
type touch struct{ last atomic.Int64 }

func (t *touch) heard(now time.Time) { t.last.Store(now.UnixNano()) }

func (t *touch) fresh(now time.Time) bool {
	last := t.last.Load()
	return last != 0 && now.Sub(time.Unix(0, last)) < touchFresh
}

// Contact finds out whether anybody answers now, and gives what to ask after a change; nil when nobody does, so that nothing
// could be learned from silence afterwards.
func (n *Node) Contact(ctx context.Context) (confirm func(context.Context) error) {
	if !n.touch.fresh(time.Now()) {
		return nil // asking would only take its time
	}
	if n.answered(ctx, min(contactWithin, n.cfg.ConfirmWithin)) != nil {
		return nil
	}
	return n.Confirm
}

// Confirm waits until a peer answers a question that was asked after the change.
func (n *Node) Confirm(ctx context.Context) error {
	err := n.answered(ctx, n.cfg.ConfirmWithin)
	if errors.Is(err, errSilence) {
		return fmt.Errorf("%w for %s since the change: it cut this machine off from its mesh", err, n.cfg.ConfirmWithin)
	}
	return err
}

var errSilence = errors.New("no peer has answered")

// answered asks until a peer answers, or within is over: errSilence then.
func (n *Node) answered(ctx context.Context, within time.Duration) error {
	asked, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		g, err := n.gatherFrom(asked, touchPeers)
		if err == nil && len(g.Holdings) > 1 { // one is this node
			return nil
		}
		if err != nil && asked.Err() == nil && !errors.Is(err, mesh.ErrTooMany) {
			return nil // this node asks nobody any more, for a reason of its own; that says nothing about the change
		}
		select {
		case <-time.After(touchAgain):
		case <-asked.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return errSilence
		}
	}
}
