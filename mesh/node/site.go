package node

import (
	"context"

	"shoal/membership"
	"shoal/mesh"
	"shoal/store"
)

// site is a Node as its own Enforcement wants it.
type site struct{ n *Node }

var _ Site = site{}

// Object implements Site.
func (s site) Object(ctx context.Context, hash store.Hash) ([]byte, error) { return s.n.get(ctx, hash) }

// Member implements Site.
func (s site) Member() membership.Member {
	m, _ := s.n.Self()
	return m
}

// Fleet implements Site.
func (s site) Fleet() []mesh.MemberInfo { return s.n.Members() }

// Contact implements Site.
func (s site) Contact(ctx context.Context) func(context.Context) error { return s.n.Contact(ctx) }

// Report implements Site.
func (s site) Report(ctx context.Context, r mesh.Reported) { s.n.Reported(ctx, r) }

// Reported takes what became of a run of an Executive that is not this node's own.
func (n *Node) Reported(ctx context.Context, r mesh.Reported) { n.post(ctx, r) }
