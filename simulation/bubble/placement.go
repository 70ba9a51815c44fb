package bubble

import (
	"strings"
	"sync"

	"shoal/membership"
	"shoal/ring"
)

// placements computes the ring of each set of members once, and when somebody asks for an owner: hundreds of nodes of one process
// ask for the same, and one that joins hears of its peers one by one. The result depends on the members alone.
type placements struct {
	mu    sync.Mutex
	made  *ring.Placement
	rings map[string]*placement
}

const maxRings = 64

func (p *placements) update(nodes []ring.Node) ring.Ring {
	var key strings.Builder
	for _, n := range nodes {
		key.WriteString(string(n.ID) + "\x00" + n.Zone + "\x00")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.rings[key.String()]; r != nil {
		return r
	}
	if p.rings == nil || len(p.rings) >= maxRings {
		p.rings = map[string]*placement{}
	}
	r := &placement{all: p, nodes: nodes}
	r.ring = sync.OnceValue(r.make)
	p.rings[key.String()] = r
	return r
}

// placement is a ring.Ring that is computed when it is needed.
type placement struct {
	all   *placements
	nodes []ring.Node // sorted by id, as the Core gives them
	ring  func() ring.Ring
}

var _ ring.Ring = (*placement)(nil)

func (r *placement) make() ring.Ring {
	r.all.mu.Lock()
	defer r.all.mu.Unlock()
	if r.all.made == nil {
		r.all.made = ring.NewPlacement()
	}
	return r.all.made.Update(r.nodes)
}

var version = ring.NewToken(nil).Version()

// Version implements ring.Ring.
func (r *placement) Version() string { return version }

// Nodes implements ring.Ring.
func (r *placement) Nodes() []ring.Node { return r.nodes }

// PartitionOf implements ring.Ring.
func (r *placement) PartitionOf(key []byte) ring.Partition { return r.ring().PartitionOf(key) }

// Owners implements ring.Ring.
func (r *placement) Owners(p ring.Partition, n int) []membership.NodeID { return r.ring().Owners(p, n) }

// AppendOwners implements ring.Ring.
func (r *placement) AppendOwners(to []membership.NodeID, p ring.Partition, n int) []membership.NodeID {
	return r.ring().AppendOwners(to, p, n)
}
