package node

import (
	"context"
	"slices"
	"time"

	"shoal/membership"
	"shoal/mesh"
)

// Meet asks a peer that the transport can reach to let this node in, and waits until what it answers is known here: what has become of
// the grants of both, and the keys of the gossip.
func (n *Node) Meet(ctx context.Context, peer membership.NodeID) error {
	_, err := n.call(ctx, func(id uint64) mesh.Event { return mesh.Meet{ID: id, Peer: peer} })
	return err
}

// GossipKeys are the keys to begin the gossip with. It may be asked before Run only.
func (n *Node) GossipKeys() [][]byte { return n.core.GossipKeys(time.Now()) }

// Leaving tells whether a member has said itself that it leaves.
func (n *Node) Leaving(id membership.NodeID) bool {
	_, found := slices.BinarySearch(n.shown.Load().leaving, id)
	return found
}

// sayGoodbye tells each member that is here, over its own connection: of a third the gossip is not believed that it left.
func (n *Node) sayGoodbye() {
	if n.ports.Transport == nil {
		return
	}
	for _, m := range n.shown.Load().members {
		if m.ID != n.self && (m.Status == membership.Alive || m.Status == membership.Suspect) {
			n.send(m.ID, &mesh.Goodbye{})
		}
	}
}
