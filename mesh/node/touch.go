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

// confirmation is what an Enforcer asks after it has changed the machine; nil when the node is not in touch with its mesh now,
// so that nothing could be learned from silence afterwards.
func (n *Node) confirmation() func(context.Context) error {
	if !n.touch.fresh(time.Now()) {
		return nil
	}
	return n.confirm
}

// confirm waits until a peer answers a question that was asked after the change.
func (n *Node) confirm(ctx context.Context) error {
	asked, cancel := context.WithTimeout(ctx, n.cfg.ConfirmWithin)
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
			return fmt.Errorf("no peer has answered for %s since the change: it cut this machine off from its mesh", n.cfg.ConfirmWithin)
		}
	}
}
