package simulation

import (
	"fmt"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// What a member with bad intent sends: it has the key of its node and no other, and the transport says who it is.

// forge has a member try one thing that it must not succeed in.
func forge(w *World, f Fault) {
	n := w.victim(f)
	if n.gone || n.evicted {
		return
	}
	attempts := []func(*World, *Node, string){pushUnsigned, acceptUnsigned, forgeHead, inflate, corrupt}
	env := w.plan.envs()[f.N%w.plan.Envs]
	attempts[f.N%len(attempts)](w, n, env)
}

// unsigned is a revision on the newest head, signed by a node instead of a publisher.
func (w *World) unsigned(n *Node, env string) (store.Revision, []byte, [][]byte) {
	version := w.judge.newest[env] + 1
	r := store.Revision{
		Env: env, Version: version, Parent: w.judge.heads[place{env, version - 1}], Kind: store.KindPush,
		Message: fmt.Sprintf("by %s at %s", n.Name, w.now),
	}
	object, objects := meshtest.SignRevision(n.key, r, map[string]string{"site.yaml": r.Message})
	return r, object, objects
}

// pushUnsigned pushes it as a client would, at all nodes.
func pushUnsigned(w *World, n *Node, env string) {
	_, object, objects := w.unsigned(n, env)
	for _, to := range w.running() {
		if ev := to.store(objects); to.up && ev.Err == nil {
			to.step(ev)
			to.ask(func(id uint64) mesh.Event { return mesh.Push{ID: id, Object: object} }, func(mesh.Answer, error) {})
		}
	}
}

// utter sends a message to all others, whatever the node's own Core does.
func (w *World) utter(n *Node, m mesh.Message) {
	frame, err := mesh.Encode(m)
	if err != nil {
		panic(err)
	}
	for _, to := range w.nodes {
		if to != n {
			w.net.carry(n, to, frame)
		}
	}
}

func (w *World) epoch(env string) (epoch uint64) {
	for _, n := range w.nodes {
		if n.up {
			e, _ := n.core.Configuration(env)
			epoch = max(epoch, e)
		}
	}
	return epoch
}

// headValue is a revision as the value of its register.
func (w *World) headValue(r store.Revision, object []byte) []byte {
	v := store.HeadValue{Version: r.Version, Revision: object}
	for h := r.Parent; !h.IsZero() && len(v.Before) < remembered && w.judge.made[h] != nil; h = w.judge.made[h].Parent {
		v.Before = append(v.Before, h)
	}
	data, err := codec.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// acceptUnsigned proposes it to the acceptors, with a ballot that they may promise.
func acceptUnsigned(w *World, n *Node, env string) {
	r, object, _ := w.unsigned(n, env)
	ballot := store.Ballot{Number: 1000 + uint64(w.dice.IntN(1000)), Proposer: n.ID, Run: 1}
	w.utter(n, &mesh.Prepare{Register: store.HeadRegister(env), Epoch: w.epoch(env), Ballot: ballot})
	w.after(w.millis(5, 10), func() {
		w.utter(n, &mesh.Accept{Register: store.HeadRegister(env), Epoch: w.epoch(env), Ballot: ballot, Value: w.headValue(r, object)})
	})
}

// forgeHead tells of a revision that a publisher did sign and that no majority has accepted, with its own vote alone.
func forgeHead(w *World, n *Node, env string) {
	for _, h := range w.judge.order {
		m := w.judge.made[h]
		if m.Env != env || m.Version != w.judge.newest[env] || w.judge.heads[place{env, m.Version}] == h {
			continue
		}
		value := w.headValue(m.Revision, m.object)
		votes, err := membership.Sign(membership.DomainAccepted, store.Vote{
			Register: store.HeadRegister(env), Epoch: w.epoch(env), Ballot: store.Ballot{Number: 99, Proposer: n.ID}, Value: store.HashOf(value),
		}, n.key)
		if err != nil {
			panic(err)
		}
		w.utter(n, &mesh.HeadTell{Head: &store.HeadRecord{Env: env, Certificate: store.Certificate{Value: value, Votes: votes}}})
		return
	}
}

// inflate asks for promises of ballots so high that nobody could go above them.
func inflate(w *World, n *Node, env string) {
	for _, number := range []uint64{1<<64 - 1, 1 << 40, store.MaxBallotStep} {
		w.utter(n, &mesh.Prepare{
			Register: store.HeadRegister(env), Epoch: w.epoch(env), Ballot: store.Ballot{Number: number, Proposer: n.ID, Run: 7},
		})
	}
}

// corrupt brings other bytes under the names of the newest objects.
func corrupt(w *World, n *Node, _ string) {
	if len(w.judge.order) == 0 {
		return
	}
	put := &mesh.Put{}
	for _, object := range w.judge.made[w.judge.order[len(w.judge.order)-1]].objects {
		put.Objects = append(put.Objects, mesh.Object{Hash: store.HashOf(object), Data: []byte("something else")})
	}
	w.utter(n, put)
}
