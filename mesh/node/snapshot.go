package node

import (
	"context"
	"maps"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/ring"
	"shoal/store"
)

// snapshot is what others may read while the loop goes on. It is never changed.
type snapshot struct {
	changes uint64
	roster  *membership.Roster
	members []mesh.MemberInfo
	heads   map[string]store.Head
	applied store.Head
	staged  []mesh.RevisionInfo
	ring    ring.Ring
	env     string
	own     membership.Member
	evicted bool
	adopted []membership.Signed // the trust chain of a node without a mesh
	// convicted are those that have contradicted themselves as acceptors.
	convicted []membership.NodeID
	leaving   []membership.NodeID
	former    []string // addresses; see Core.Former
}

// publish replaces the snapshot when something changed.
func (n *Node) publish() { n.show(n.look()) }

// look makes a snapshot; nil: nothing has changed since the last that was shown.
func (n *Node) look() *snapshot {
	old := n.shown.Load()
	if old != nil && old.changes == n.core.Changes() {
		return nil
	}
	return n.lookAfter(old)
}

// lookAfter makes a snapshot whether anything has changed or not.
func (n *Node) lookAfter(old *snapshot) *snapshot {
	s := &snapshot{
		changes: n.core.Changes(), members: n.core.Members(), heads: n.core.Heads(), ring: n.core.Ring(), env: n.core.Env(),
		own: n.core.Own(), evicted: n.core.Evicted(), leaving: n.core.Leaving(), former: n.core.Former(),
		staged: n.core.Staged(), convicted: n.core.Convicted(),
	}
	for i := range s.members {
		if s.members[i].ID == n.self {
			s.members[i].Addr = n.cfg.Addr
		}
	}
	s.applied, _ = n.core.Applied()
	if chain := n.core.Chain(); chain != nil && n.core.Roster().Chain() == nil {
		s.adopted = chain.All()
	}
	if old != nil && old.roster.Digest() == n.core.Roster().Digest() {
		s.roster = old.roster
	} else {
		s.roster = n.core.Roster().Clone()
	}
	return s
}

// show lets all see a snapshot.
func (n *Node) show(s *snapshot) {
	if s == nil {
		return
	}
	old := n.shown.Swap(s)
	if old == nil || old.roster != s.roster {
		defer n.enforce.FleetChanged()
	}
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// Self is this node as its grant has it, or had it last, and the environment that it follows.
func (n *Node) Self() (member membership.Member, env string) {
	s := n.shown.Load()
	return s.own, s.env
}

// Known tells whether a peer is a member.
func (n *Node) Known(id membership.NodeID) bool {
	_, ok := n.shown.Load().roster.Lookup(id, time.Now())
	return ok
}

// Credential is what this node shows to strangers.
func (n *Node) Credential() []membership.Signed { return n.shown.Load().roster.Credential(n.self) }

// Admit decides on a stranger that has dialled us and proved to be peer.
func (n *Node) Admit(ctx context.Context, peer membership.NodeID, credential []membership.Signed) error {
	return n.letIn(ctx, mesh.Admit{Peer: peer, Credential: credential})
}

// Vouch decides on a stranger that we have dialled: its ticket may have ended since it joined.
func (n *Node) Vouch(ctx context.Context, peer membership.NodeID, credential []membership.Signed) error {
	return n.letIn(ctx, mesh.Admit{Peer: peer, Credential: credential, Vouch: true})
}

func (n *Node) letIn(ctx context.Context, ev mesh.Admit) error {
	_, err := n.call(ctx, func(id uint64) mesh.Event {
		ev.ID = id
		return ev
	})
	return err
}

// Members are all members, sorted by name.
func (n *Node) Members() []mesh.MemberInfo {
	return append([]mesh.MemberInfo(nil), n.shown.Load().members...)
}

// Roster is all that shows who the members are.
func (n *Node) Roster() []membership.Signed { return n.shown.Load().roster.Records() }

// Trust is Roster, or the trust chain alone of a node without a mesh.
func (n *Node) Trust() []membership.Signed {
	s := n.shown.Load()
	if s.roster.Chain() == nil {
		return s.adopted
	}
	return s.roster.Records()
}

// Heads are the newest heads that this node knows.
func (n *Node) Heads() map[string]store.Head { return maps.Clone(n.shown.Load().heads) }

// Applied is the revision that this node enforces; version 0 before the first.
func (n *Node) Applied() store.Head { return n.shown.Load().applied }

// AdoptChain gives a node without a mesh the operators to believe; a node of a mesh takes what extends its chain.
func (n *Node) AdoptChain(statements []membership.Signed) error {
	_, err := n.call(context.Background(), func(id uint64) mesh.Event { return mesh.AdoptChain{ID: id, Statements: statements} })
	return err
}

// Recover begins a new era of an environment, as the operators have signed it.
func (n *Node) Recover(ctx context.Context, signed membership.Signed) error {
	_, err := n.call(ctx, func(id uint64) mesh.Event { return mesh.Recover{ID: id, Signed: signed} })
	return err
}

// Submit adds records that an operator signed, such as a revocation, and spreads them.
func (n *Node) Submit(ctx context.Context, records []membership.Signed) error {
	_, err := n.call(ctx, func(id uint64) mesh.Event { return mesh.Submit{ID: id, Records: records} })
	return err
}
