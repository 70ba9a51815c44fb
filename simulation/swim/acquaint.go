package swim

import (
	"sync/atomic"
	"time"

	"shoal/membership/gossip"
)

// apartAcquainted is between two starts. Their timers begin at random times anyway.
const apartAcquainted = 10 * time.Millisecond

// StartAcquainted is Start for meshes that are too large to watch them meet. All exchange what they know with the first node, twice,
// over streams, while no packet arrives; and then tell nobody what they have learnt, until they have no more of it to tell. What is
// left out is that each tells each of all, which is what most of the work of a large mesh is, for minutes. What is left is a mesh
// in which nothing has happened for a while. In the meantime probes are answered over streams.
func StartAcquainted(count int, seed uint64, timing gossip.Timing, beat *atomic.Uint64) (*Mesh, error) {
	m := newMesh(count, seed, timing, beat)
	m.Fabric.Mute(true)
	for _, one := range m.nodes {
		if err := m.start(one); err != nil {
			return m, err
		}
		m.rest(apartAcquainted)
	}
	for range 2 { // after the first time the first knows all
		for _, one := range m.nodes[1:] {
			if err := m.join(one, m.nodes[0]); err != nil {
				return m, err
			}
			m.beat.Add(1)
		}
	}
	m.Fabric.Quieten(m.sleep)
	m.Fabric.Mute(false)
	return m, m.whole()
}
