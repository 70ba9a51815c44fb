package simulation

import (
	"slices"
	"strings"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/store"
)

// ballotOf is a ballot of a register.
type ballotOf struct {
	register string
	epoch    uint64
	ballot   store.Ballot
}

// proposes: two values never stand under one ballot. All that is proved of Paxos begins with it.
func (j *judge) proposes(n *Node, m *mesh.Accept) {
	data, err := codec.Marshal([]any{m.Value, m.Next})
	if err != nil {
		j.fail(n, "proposes what cannot be encoded: %v", err)
		return
	}
	at, value := ballotOf{m.Register, m.Epoch, m.Ballot}, store.HashOf(data)
	if old, ok := j.proposed[at]; ok && old != value {
		j.fail(n, "invariant 6: proposes two values under ballot %s of %s in epoch %d", m.Ballot, m.Register, m.Epoch)
	}
	j.proposed[at] = value
}

// takenBack: a disk whose place another disk of the same node has taken does not get it back.
func (j *judge) takenBack(n *Node, env string, seal store.Vote) {
	for _, s := range seal.Next {
		for at, older := range j.seals {
			if at.env != env || at.number >= seal.Epoch || !slices.Contains(older.Next, s) {
				continue
			}
			newer := j.seals[place{env, seal.Epoch - 1}].Next
			if slices.ContainsFunc(newer, func(o store.Seat) bool { return o.Node == s.Node && o.Disk != s.Disk }) {
				j.fail(n, "invariant 6: epoch %d of %s gives a seat back to a disk of %s that was replaced", seal.Epoch+1, env, j.w.byID[s.Node].Name)
			}
		}
	}
}

func (j *judge) savedSeal(n *Node, name string, value []byte) {
	var signed membership.Signed
	var vote store.Vote
	if err := codec.Unmarshal(value, &signed); err == nil {
		_ = codec.Unmarshal(signed.Body, &vote)
	}
	env := name[:max(0, strings.LastIndexByte(name, '-'))]
	at := place{env, vote.Epoch}
	if old, ok := j.seals[at]; ok && (old.Value != vote.Value || !slices.Equal(old.Next, vote.Next)) {
		j.fail(n, "invariant 6: epoch %d of %s was sealed twice, with other successors", vote.Epoch, env)
	}
	if _, ok := j.seals[at]; !ok {
		j.seals[at] = vote
		j.takenBack(n, env, vote)
		j.w.knowsFirst(n, newSeal)
	}
	j.checkEpoch(n, env, vote.Epoch)
}

// checkEpoch: nothing is chosen in an epoch beyond the value that its seal carried on.
func (j *judge) checkEpoch(n *Node, env string, epoch uint64) {
	seal, sealed := j.seals[place{env, epoch}]
	last, known := j.versions[seal.Value]
	if !sealed || !known && seal.Value != store.HashOf(nil) {
		return
	}
	for _, c := range j.chosen {
		if c.env == env && c.epoch == epoch && c.version > last {
			j.fail(n, "invariant 6: version %d of %s was chosen in epoch %d, which was sealed with version %d", c.version, env, epoch, last)
		}
	}
}
