package simulation

import (
	"strings"

	"shoal/internal/codec"
	"shoal/mesh"
	"shoal/store"
)

// sends looks at what leaves a node: nothing that it says must be more than what its disk would say after a power cut.
func (j *judge) sends(n *Node, m mesh.Message) {
	switch m := m.(type) {
	case *mesh.Promise:
		if m.Refused == "" {
			if !j.backed(n, m, m.Register, func(a store.Acceptor) bool { return a.Promised.Compare(m.Ballot) >= 0 }) {
				j.fail(n, "invariant 12: promises %s of %s, which its disk does not say", m.Ballot, m.Register)
			}
			j.votes(n, m.Register)
		}
	case *mesh.Accepted:
		if m.Refused == "" {
			if !j.backed(n, m, m.Register, func(a store.Acceptor) bool { return a.Accepted.Compare(m.Ballot) >= 0 }) {
				j.fail(n, "invariant 12: accepts %s of %s, which its disk does not say", m.Ballot, m.Register)
			}
			j.votes(n, m.Register)
		}
	case *mesh.Accept:
		j.proposes(n, m)
	case *mesh.KeepTell:
		j.signs(n, m)
	case *mesh.Have:
		for _, h := range m.Have {
			if _, ok := n.disk.Synced(store.ObjectKey(h)); !ok {
				j.fail(n, "invariant 12: says that it has object %s, which its disk does not", h.Short())
			}
		}
	}
}

// backed tells whether the acceptor's record on the disk bears out what it says, or is of a newer epoch than that was said in: a
// write may have brought both.
func (j *judge) backed(n *Node, m mesh.Message, register string, bears func(store.Acceptor) bool) bool {
	said, known := j.saidIn[m]
	delete(j.saidIn, m)
	a, ok := n.acceptor(register)
	return ok && (bears(a) || known && a.Epoch > said)
}

// hears notes in which epoch an acceptor says something: that of the newest record that the Core has saved by then.
func (j *judge) hears(n *Node, actions []mesh.Action) {
	for _, action := range actions {
		j.collects(n, action)
		switch action := action.(type) {
		case mesh.Save:
			if register, ok := strings.CutPrefix(action.Key, acceptorPrefix); ok {
				var a store.Acceptor
				if codec.Unmarshal(action.Value, &a) == nil {
					n.epochs[register] = a.Epoch
				}
			}
		case mesh.Send:
			switch m := action.Message.(type) {
			case *mesh.Promise:
				j.saidIn[m] = n.epochs[m.Register]
			case *mesh.Accepted:
				j.saidIn[m] = n.epochs[m.Register]
			}
		}
	}
}

const acceptorPrefix = mesh.SavePrefix + "acceptor/"

func (n *Node) acceptor(register string) (a store.Acceptor, ok bool) {
	data, ok := n.disk.Synced(store.MetaKey(acceptorPrefix + register))
	return a, ok && codec.Unmarshal(data, &a) == nil
}

// votes: a disk that went back in time never votes, where a start that it forgot had voted.
func (j *judge) votes(n *Node, register string) {
	env, ok := strings.CutPrefix(register, store.HeadRegister(""))
	if !ok {
		return
	}
	delete(j.doubtful[n], env)
	own := n.incarnation()
	id := start{n, own.Disk}
	switch last, voted := j.votedAs[id]; {
	case voted && last.Start > own.Start, voted && last.Start == own.Start && last.Nonce != own.Nonce:
		j.fail(n, "invariant 7: votes for %s in start %d, but voted in start %d, which its disk has forgotten", env, own.Start, last.Start)
	default:
		j.votedAs[id] = own
	}
}
