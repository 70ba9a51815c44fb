// Package anchor is what the executor's side of an agent believes by itself, and keeps on its own disk: the trust chain from its
// genesis, who the members are, how each environment began, and which version was applied last. Whatever the side that is on
// the network shows is verified against it; nothing is taken back.
package anchor

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/store"
)

// maxEnvs bounds the environments of which a beginning is kept: a node follows one at a time, and another only with a new grant.
const maxEnvs = 64

// Anchor belongs to one goroutine.
type Anchor struct {
	self   membership.NodeID
	alone  bool
	roster *membership.Roster
	chain  *membership.Chain // of a node without a mesh; nil before the first push
	kept   kept
	save   func([]byte) error
}

// kept is what the disk has.
type kept struct {
	Self    membership.NodeID         `cbor:"1,keyasint"`
	Records []membership.Signed       `cbor:"2,keyasint"` // the trust chain, and grants, redemptions and revocations
	Own     membership.Member         `cbor:"3,keyasint"` // as the grant had it last
	Began   map[string]store.Creation `cbor:"4,keyasint"` // by environment
	Applied map[string]Applied        `cbor:"5,keyasint"` // the same
}

// Applied is a version that was set out to be applied.
type Applied struct {
	Version  uint64     `cbor:"1,keyasint"`
	Revision store.Hash `cbor:"2,keyasint"`
	Manifest store.Hash `cbor:"3,keyasint"`
	Era      uint64     `cbor:"4,keyasint"`
}

// Own is where an Anchor begins.
type Own struct {
	Member membership.Member // the node itself, as it calls itself or as its grant had it
	// Records are the chain and the grant that came with the ticket; none for a node without a mesh, which believes the
	// first chain that it is shown.
	Records []membership.Signed
}

// Open goes on from data, as save was given it last; nil: from nothing. The ticket's chain must be of the same mesh.
func Open(data []byte, own Own, save func([]byte) error) (*Anchor, error) {
	a := &Anchor{self: own.Member.ID, alone: len(own.Records) == 0, save: save}
	if len(data) > 0 {
		if err := codec.Unmarshal(data, &a.kept); err != nil {
			return nil, fmt.Errorf("anchor of trust: %w", err)
		}
		if a.kept.Self != a.self {
			return nil, fmt.Errorf("anchor of trust: it is that of node %s, and the key is that of %s", a.kept.Self.Short(), a.self.Short())
		}
	}
	a.kept.Self, a.kept.Own = a.self, own.Member
	if a.kept.Began == nil {
		a.kept.Began, a.kept.Applied = map[string]store.Creation{}, map[string]Applied{}
	}
	if a.alone {
		a.roster = membership.Solo(own.Member)
		if len(a.kept.Records) == 0 {
			return a, nil
		}
		var err error
		a.chain, err = membership.RestoreChain(a.kept.Records)
		return a, err
	}
	return a, a.openRoster(own.Records)
}

func (a *Anchor) openRoster(ticket []membership.Signed) error {
	chain, err := membership.OpenChain(statements(ticket))
	if err != nil {
		return err
	}
	if len(a.kept.Records) > 0 {
		own, err := membership.OpenChain(a.kept.Records[:1])
		if err != nil {
			return fmt.Errorf("anchor of trust: %w", err)
		}
		if own.Mesh() != chain.Mesh() {
			return fmt.Errorf("anchor of trust: it is of mesh %s: %w", own.Mesh(), membership.ErrForeignMesh)
		}
		chain = own
	}
	a.roster = membership.NewRoster(chain)
	// One by one as they were kept: of two branches of a chain the one that held comes first, and goes on holding.
	for _, r := range append(slices.Clone(a.kept.Records), ticket...) {
		_, _ = a.roster.Add(time.Now(), r) // what does not hold any more is left out
	}
	a.own()
	return nil
}

func statements(records []membership.Signed) []membership.Signed {
	return slices.DeleteFunc(slices.Clone(records), func(s membership.Signed) bool { return s.Domain != membership.DomainStatement })
}

// own remembers this node as its grant has it: one that ended or was revoked leaves a machine with the tags that it had.
func (a *Anchor) own() {
	if m, ok := a.roster.Lookup(a.self, time.Unix(0, 0)); ok {
		a.kept.Own = m
	}
}

// Chain is the trust chain; nil for a node without a mesh that was shown none.
func (a *Anchor) Chain() *membership.Chain { return cmp.Or(a.roster.Chain(), a.chain) }

// Learn takes in records; err joins what was wrong with some of them, of which nothing is kept. changed: something was new, and is on disk.
func (a *Anchor) Learn(records []membership.Signed) (changed bool, err error) {
	if a.alone {
		return a.adopt(records)
	}
	added, wrong := a.roster.Add(time.Now(), records...)
	if added == 0 {
		return false, wrong
	}
	a.own()
	a.kept.Records = a.roster.Records()
	return true, errors.Join(wrong, a.keep())
}

// adopt takes the first chain that a node without a mesh is shown, and later only what extends it.
func (a *Anchor) adopt(records []membership.Signed) (changed bool, err error) {
	var chain *membership.Chain
	if a.chain == nil {
		chain, err = membership.OpenChain(statements(records))
	} else {
		chain, err = a.chain.Extended(statements(records))
	}
	if chain == nil || a.chain != nil && len(chain.All()) == len(a.chain.All()) {
		return false, err
	}
	a.chain, a.kept.Records = chain, chain.All()
	return true, errors.Join(err, a.keep())
}

// Member is this node, as its grant has it or had it last.
func (a *Anchor) Member() membership.Member { return a.kept.Own }

// Env is the environment that this node follows.
func (a *Anchor) Env() string { return mesh.EnvOf(a.kept.Own) }

// Fleet are the members whose grants hold now, sorted by name.
func (a *Anchor) Fleet() []mesh.MemberInfo {
	var fleet []mesh.MemberInfo
	for _, m := range a.roster.Members(time.Now()) {
		fleet = append(fleet, mesh.MemberInfo{Name: m.Name, ID: m.ID, Tags: m.Tags, Zone: m.Zone})
	}
	slices.SortFunc(fleet, func(a, b mesh.MemberInfo) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return fleet
}

// Applied is what this node set out to apply last in its environment.
func (a *Anchor) Applied() (Applied, bool) {
	was, ok := a.kept.Applied[a.Env()]
	return was, ok
}

// Verify opens a proof, and refuses what is not to be applied after what was.
func (a *Anchor) Verify(p mesh.Proof) (mesh.Proven, error) {
	env := a.Env()
	w := mesh.Witness{Roster: a.roster, Chain: a.Chain(), Self: a.self}
	if began, ok := a.kept.Began[env]; ok {
		w.Began = &began
	}
	proven, err := p.Open(env, w)
	if err != nil {
		return proven, err
	}
	was := a.kept.Applied[env]
	return proven, proven.Follows(mesh.Proven{
		Head: store.Head{Env: env, Version: was.Version, Revision: was.Revision}, Manifest: was.Manifest, Era: was.Era,
	})
}

// Commit keeps what was verified: from now on nothing older is applied. It is to be called before anything of it is.
func (a *Anchor) Commit(p mesh.Proof) (mesh.Proven, error) {
	proven, err := a.Verify(p) // again: something else may have been applied since
	if err != nil {
		return proven, err
	}
	env := proven.Head.Env
	now := Applied{Version: proven.Head.Version, Revision: proven.Head.Revision, Manifest: proven.Manifest, Era: proven.Era}
	_, began := a.kept.Began[env]
	if a.kept.Applied[env] == now && (began || p.Creation == nil) {
		return proven, nil
	}
	if !began && p.Creation != nil {
		if len(a.kept.Began) >= maxEnvs {
			return proven, fmt.Errorf("more than %d environments", maxEnvs)
		}
		a.kept.Began[env] = *p.Creation
	}
	a.kept.Applied[env] = now
	return proven, a.keep()
}

func (a *Anchor) keep() error {
	data, err := codec.Marshal(a.kept)
	if err == nil {
		err = a.save(data)
	}
	if err != nil {
		return fmt.Errorf("keep the anchor of trust: %w", err)
	}
	return nil
}
