package swim

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// How measurements are spaced, in virtual time.
const (
	crashEvery = 4 * time.Second
	hintEvery  = 500 * time.Millisecond
	hintTime   = 15 * time.Second // who has not heard of a hint by then does not hear of it by gossip
	findTime   = 5 * time.Minute
	joinTime   = 5 * time.Minute
	mergeTime  = 30 * time.Minute
	// stayTime is how long views must stay equal to count as equal.
	stayTime = 30 * time.Second
)

// Spread says how long something took, in all cases that there were.
type Spread struct {
	Count                  int
	P50, P99, P999, Latest time.Duration
	// Missing is how often it did not happen.
	Missing int
}

// spread sorts took. What is missing counts as later than all.
func spread(took []time.Duration, missing int) Spread {
	s := Spread{Count: len(took), Missing: missing}
	if len(took) == 0 {
		return s
	}
	slices.Sort(took)
	all := len(took) + missing
	at := func(permille int) time.Duration { // the smallest value that so many are not above
		return took[min((all*permille+999)/1000-1, len(took)-1)]
	}
	s.P50, s.P99, s.P999, s.Latest = at(500), at(990), at(999), took[len(took)-1]
	return s
}

// Detection crashes so many nodes, one after the other, and says when each of those that are left has seen each of them dead.
func (m *Mesh) Detection(crashes int) (Spread, error) {
	m.seen.mu.Lock()
	m.seen.found = nil
	m.seen.mu.Unlock()
	for range crashes {
		up := m.up()
		if len(up) < 3 {
			return Spread{}, errors.New("too few nodes are left to crash one more")
		}
		m.crash(up[m.dice.IntN(len(up))])
		m.rest(crashEvery)
	}
	for began := time.Now(); m.seen.blind() > 0 && time.Since(began) < findTime; {
		m.sleep(time.Second)
	}
	missing := m.seen.blind()
	m.seen.mu.Lock()
	defer m.seen.mu.Unlock()
	return spread(m.seen.found, missing), nil
}

// up are the numbers of those that run.
func (m *Mesh) up() (up []int) {
	for i, one := range m.nodes {
		if one.gossip != nil {
			up = append(up, i)
		}
	}
	return up
}

// Deaths are living nodes that were taken for dead.
type Deaths struct {
	Hours    float64 // of nodes
	Episodes int     // how often a node was, by some or all
	Told     int     // how often a node was told so of another
}

// PerThousand is how often it happens in 1,000 hours of a node.
func (d Deaths) PerThousand() float64 { return 1000 * float64(d.Episodes) / d.Hours }

// FalseDeaths lets time pass in which nobody dies.
func (m *Mesh) FalseDeaths(during time.Duration) Deaths {
	m.seen.mu.Lock()
	m.seen.episodes, m.seen.told = 0, 0
	m.seen.mu.Unlock()
	m.sleep(during)
	m.seen.mu.Lock()
	defer m.seen.mu.Unlock()
	return Deaths{Hours: during.Hours() * float64(m.seen.count), Episodes: m.seen.episodes, Told: m.seen.told}
}

// Hints sends so many, each from some node, and says when each other node has heard each.
func (m *Mesh) Hints(count int) (Spread, error) {
	for range count {
		up := m.up()
		if err := m.hint(up[m.dice.IntN(len(up))]); err != nil {
			return Spread{}, err
		}
		m.rest(hintEvery)
	}
	return m.heard(count), nil
}

func (m *Mesh) hint(sender int) error {
	return m.nodes[sender].gossip.Hint(m.seen.hint(sender))
}

// heard waits, and says when each other node has heard each of the last hints.
func (m *Mesh) heard(count int) Spread {
	m.sleep(hintTime)
	m.seen.mu.Lock()
	defer m.seen.mu.Unlock()
	var took []time.Duration
	for _, one := range m.seen.hints[len(m.seen.hints)-count:] {
		took = append(took, one...)
	}
	return spread(took, count*(m.seen.count-1)-len(took))
}

// Merge is what came of a partition.
type Merge struct {
	// First is when the first node saw one of the other side, Took when all saw all, both since the healing.
	First, Took time.Duration
	Sent        int64 // bytes, from the healing until then
}

// Merge cuts the mesh into halves for a time, and says how long after the healing all see all again, for good.
func (m *Mesh) Merge(cut time.Duration) (Merge, error) {
	var sides [2][]string
	for i, one := range m.nodes {
		sides[i%2] = append(sides[i%2], one.name)
	}
	fault := m.Fabric.Cut(sides[0], sides[1], true)
	m.sleep(cut)
	apartNow := m.seen.gaps()
	m.Fabric.Heal(fault)
	healed, before := time.Now(), m.sent()
	var r Merge
	if apartNow == 0 {
		return r, fmt.Errorf("after %s nobody had noticed the partition", cut)
	}
	var whole time.Time
	for ; ; m.sleep(50 * time.Millisecond) {
		switch gaps := m.seen.gaps(); {
		case gaps > 0:
			whole = time.Time{}
			if r.First == 0 && gaps < apartNow {
				r.First = time.Since(healed)
			}
		case whole.IsZero():
			whole = time.Now()
			r.Took, r.Sent = whole.Sub(healed), m.sent()-before
			if r.First == 0 { // all at once, between two looks
				r.First = r.Took
			}
		case time.Since(whole) >= stayTime:
			return r, nil
		}
		if time.Since(healed) > mergeTime {
			return r, fmt.Errorf("%s after a partition of %s not all see all: %d do not", mergeTime, cut, m.seen.gaps())
		}
	}
}

func (m *Mesh) sent() (bytes int64) {
	for _, t := range m.Fabric.Traffic() {
		bytes += t.PacketBytes + t.StreamBytes
	}
	return bytes
}
