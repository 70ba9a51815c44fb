package bubble

import (
	"time"

	"shoal/executor"
	"shoal/membership"
)

// maxSampled is how many machines at most are looked at each second: what each sees of all others grows with the square.
const maxSampled = 50

// Sample is a machine at one time; it is noted when something has changed.
type Sample struct {
	At      time.Duration
	Up      bool
	Alive   int // members that it sees alive, itself included
	Head    uint64
	Applied uint64
	Result  executor.Result
}

// Band is a fault, for as long as it lasted.
type Band struct {
	From, To time.Duration
	Nodes    []string // empty: the whole network
	What     string
}

// sample looks at all machines.
func (p *player) sample() {
	if len(p.w.order) > maxSampled {
		return
	}
	for _, m := range p.w.order {
		s := Sample{Up: m.Up()}
		if n := m.Node(); n != nil {
			s.Alive = 1
			for _, member := range n.Members() {
				if member.Name != m.Name && (member.Status == membership.Alive || member.Status == membership.Suspect) {
					s.Alive++
				}
			}
			_, env := n.Self()
			s.Head = n.Heads()[env].Version
		}
		if last, ok := m.Last(); ok {
			s.Applied, s.Result = last.Report.Version, last.Report.Result
		}
		lane := p.lanes[m.Name]
		if len(lane) > 0 {
			before := lane[len(lane)-1]
			if before.At = 0; before == s {
				continue
			}
		}
		s.At = p.w.Since()
		p.lanes[m.Name] = append(lane, s)
	}
}

// band begins a fault and says how to end it.
func (p *player) band(what string, nodes []string) (end func()) {
	at := len(p.bands)
	p.bands = append(p.bands, Band{From: p.w.Since(), To: -1, Nodes: nodes, What: what})
	return func() {
		if p.bands[at].To < 0 {
			p.bands[at].To = p.w.Since()
		}
	}
}
