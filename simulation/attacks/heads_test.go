package attacks

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

func sumOf(word string) [32]byte { return sha256.Sum256([]byte(word)) }

func pushAttacks() []attack {
	return []attack{
		{"push-unsigned", "push", Stranger, "pushes a revision that its own key signed, at a node that takes it for a client", "anybody-publishes", pushUnsigned},
		{"push-of-another-environment", "push", Member, "with a stolen key of staging's publisher pushes to production", "any-environment", pushElsewhere},
		{"push-with-a-revoked-key", "push", Member, "pushes with a publisher's key that was revoked", "revoked-publishes", pushRevoked},
		{"propose-unsigned", "push", Member, "has the acceptors accept what no publisher signed", "acceptor-holds-anything", proposeUnsigned},
		{"accept-for-another-environment", "mix", Member, "has the acceptors of production accept a revision of staging", "mixed-environments", proposeMixed},
		{"head-by-the-only-acceptor", "push", Member, "is the only acceptor, and certifies what no publisher signed", "anybody-publishes", onlyAcceptor},
		{"substituted-object", "substitute", Member, "brings other bytes under the names of objects, before those come", "unverified-objects", substitute},
	}
}

func pushUnsigned(t *testing.T) string {
	a := newArena(t, 3)
	object, objects := a.revision(keyFor(a.mallory), production, 1, store.Hash{}, "mine")
	a.pushes(a.nodes[0], object, objects)
	a.Run(10 * time.Second)
	return a.applies(object)
}

func pushElsewhere(t *testing.T) string {
	a := newArena(t, 3)
	thief := meshtest.Key("publisher of staging")
	a.submit(a.statement(membership.Statement{Kind: membership.GrantPublisher, Key: pub(thief), Envs: []string{"staging"}}, operator()))
	object, objects := a.revision(thief, production, 1, store.Hash{}, "mine")
	a.pushes(a.nodes[0], object, objects)
	a.Run(10 * time.Second)
	return a.applies(object)
}

func pushRevoked(t *testing.T) string {
	a := newArena(t, 3)
	thief := meshtest.Key("publisher")
	key := pub(thief)
	a.submit(a.statement(membership.Statement{Kind: membership.GrantPublisher, Key: key, Envs: []string{production}}, operator()))
	a.submit(a.statement(membership.Statement{Kind: membership.RevokePublisher, Key: key}, operator()))
	object, objects := a.revision(thief, production, 1, store.Hash{}, "mine")
	a.pushes(a.nodes[0], object, objects)
	a.Run(10 * time.Second)
	return a.applies(object)
}

func proposeUnsigned(t *testing.T) string {
	a, one := begun(t, 3)
	object, _ := a.revision(keyFor(a.mallory), production, 2, store.HashOf(one), "mine")
	votes := a.proposes(a.accept(1000, value(t, 2, object, store.HashOf(one))))
	if votes == 0 {
		return ""
	}
	if !a.works(a.nodes[0], 2, store.HashOf(one)) {
		return fmt.Sprintf("%d acceptors hold what nobody signed, and no push is committed any more", votes)
	}
	return fmt.Sprintf("%d acceptors voted for what nobody signed", votes)
}

func proposeMixed(t *testing.T) string {
	a, _ := begun(t, 3)
	staging := a.commitTo(a.nodes[1], "staging", 1, store.Hash{})
	second, _ := a.revision(operator(), "staging", 2, store.HashOf(staging), "of staging")
	first := a.nodes[0].Core.Heads()[production].Revision
	votes := a.proposes(a.accept(1000, value(t, 2, second, store.HashOf(staging), first)))
	if votes < 2 {
		// Version 2 of staging does not follow version 1 of production. One that says so of itself:
		forged, _ := a.revision(operator(), "staging", 2, first, "of staging")
		votes = a.proposes(a.accept(2000, value(t, 2, forged, first)))
	}
	if votes > 0 {
		return fmt.Sprintf("%d acceptors of production voted for a revision of staging", votes)
	}
	return ""
}

func onlyAcceptor(t *testing.T) string {
	a := &arena{Network: meshtest.New(7), t: t, said: map[*meshtest.Node][]mesh.Message{}}
	a.mallory = a.Add("n1", nil)
	a.Run(10 * time.Second)
	a.nodes = a.Nodes()
	one := a.commit(a.mallory, 1, store.Hash{})
	n2 := a.Add("n2", a.mallory)
	a.nodes = a.Nodes()
	a.RunUntil(60*time.Second, func() bool { return n2.Version() == 1 })
	epoch, seats := n2.Core.Configuration(production)
	if len(seats) != 1 || n2.Version() != 1 {
		t.Fatalf("%d acceptors, n2 is at %d: the attack needs another beginning", len(seats), n2.Version())
	}
	object, objects := a.revision(keyFor(a.mallory), production, 2, store.HashOf(one), "mine")
	a.mallory.Keep(objects...)
	record := certified(t, production, epoch, store.Ballot{Number: 1 << 19, Proposer: a.mallory.ID}, value(t, 2, object, store.HashOf(one)), nil, keyFor(a.mallory))
	_ = a.say(n2, &mesh.HeadTell{Head: record})
	a.Run(10 * time.Second)
	return a.applies(object)
}

// substitute: mallory has seen what is to be pushed. What it brings under those names must not keep the right bytes out.
func substitute(t *testing.T) string {
	a := newArena(t, 3)
	object, objects := a.revision(operator(), production, 1, store.Hash{}, "to come")
	put := &mesh.Put{}
	for _, o := range objects {
		put.Objects = append(put.Objects, mesh.Object{Hash: store.HashOf(o), Data: append(bytes.Clone(o), "mine"...)})
	}
	a.sayAll(put)
	a.Run(time.Second)
	if got := a.pushes(a.nodes[0], object, objects); got != store.Committed {
		return "the push that was to come is " + string(got)
	}
	a.Run(10 * time.Second)
	for _, n := range a.honest() {
		if n.Version() != 1 {
			return n.Name + " waits for objects that it takes for stored"
		}
	}
	return ""
}

func headAttacks() []attack {
	return []attack{
		{"head-by-one-vote", "push", Member, "certifies alone what a publisher signed and no majority has chosen", "one-vote-is-enough", oneVote},
		{"votes-of-another-value", "push", Member, "shows the votes for one revision as those for another", "votes-for-anything", othersVotes},
		{"propose-the-old-head", "rollback", Member, "has the acceptors accept version 1 again after version 2", "acceptor-goes-back", proposeOld},
		{"replay-the-old-head", "replay", Member, "tells of version 1 with its certificate, to who knows version 2", "old-heads", replayOld},
		{"replay-after-a-crash", "rollback", Member, "tells version 1 to a node that applied version 2, lost its record of the head in a crash, and is cut off from the others", "applies-what-is-old", replayAfterCrash},
		{"fast-forward", "fast-forward", Member, "proposes a version far ahead that a publisher once signed, so that none between is ever pushed", "leaps-ahead", fastForward},
		{"tell-a-fork", "fast-forward", Member, "is the only acceptor, and certifies a version two ahead that is not on what the node applies", "any-parent", tellFork},
		{"create-without-an-order", "push", Member, "says that it alone decides an environment, and that no publisher need want it", "no-order", createWith(nil)},
		{"create-against-the-order", "push", Member, "says that it alone decides, with a revision in which the publisher named all", "other-electors", createWith(ordered)},
		{"create-on-its-own-order", "push", Member, "says that it alone decides, with a revision that its own key signed", "anybody-publishes", createWith(ownOrder)},
		{"elect-itself", "push", Member, "asks a node to promise to an electorate that mallory chose", "any-electorate", electItself},
		{"recovery-by-a-member", "rollback", Member, "begins a new era with itself as the acceptor, signed by its own key", "anybody-recovers", recoverWith(false)},
		{"recovery-of-another-mesh", "replay", Member, "replays a recovery that the same operators signed for another mesh", "foreign-recovery", recoverWith(true)},
		{"recovery-of-an-old-era", "replay", Member, "replays another recovery of an era that is over", "old-era", oldEra},
	}
}

func oneVote(t *testing.T) string {
	a, one := begun(t, 3)
	object, objects := a.revision(operator(), production, 2, store.HashOf(one), "lost")
	a.mallory.Keep(objects...)
	a.sayAll(&mesh.HeadTell{Head: certified(t, production, a.epoch(production), a.ballot(1<<19), value(t, 2, object, store.HashOf(one)), nil, keyFor(a.mallory))})
	a.Run(10 * time.Second)
	return a.applies(object)
}

func (a *arena) headOf(n *meshtest.Node, env string) *store.HeadRecord {
	since := a.mark(n)
	_ = a.say(n, &mesh.HeadAsk{Heads: []mesh.EnvVersion{{Env: env, Version: 0}}})
	for _, tell := range answered[*mesh.HeadTell](a, n, since) {
		if tell.Head != nil && tell.Head.Env == env {
			return tell.Head
		}
	}
	a.t.Fatalf("%s tells no head of %s", n.Name, env)
	return nil
}

func othersVotes(t *testing.T) string {
	a, one := begun(t, 3)
	two := a.commit(a.nodes[0], 2, store.HashOf(one))
	record := *a.headOf(a.nodes[0], production)
	object, objects := a.revision(operator(), production, 3, store.HashOf(two), "lost")
	a.mallory.Keep(objects...)
	record.Certificate.Value = value(t, 3, object, store.HashOf(two), store.HashOf(one))
	a.sayAll(&mesh.HeadTell{Head: &record})
	a.Run(10 * time.Second)
	return a.applies(object)
}

func proposeOld(t *testing.T) string {
	a, one := begun(t, 3)
	two := a.commit(a.nodes[1], 2, store.HashOf(one))
	a.proposes(a.accept(1000, value(t, 1, one)))
	if !a.works(a.nodes[1], 3, store.HashOf(two)) {
		return "the head is at version 1 again"
	}
	return ""
}

func replayOld(t *testing.T) string {
	a, one := begun(t, 3)
	old := a.headOf(a.nodes[0], production)
	a.commit(a.nodes[1], 2, store.HashOf(one))
	victim := a.nodes[0]
	_ = a.say(victim, &mesh.HeadTell{Head: old})
	if v := victim.Core.Heads()[production].Version; v != 2 {
		return fmt.Sprintf("n1 takes version %d for the newest", v)
	}
	return ""
}

func replayAfterCrash(t *testing.T) string {
	a, one := begun(t, 4)
	old := a.headOf(a.nodes[0], production)
	a.commit(a.nodes[1], 2, store.HashOf(one))
	victim := a.nodes[0]
	for _, n := range a.honest() {
		if _, seats := n.Core.Configuration(production); !slices.Contains(store.NodesOf(seats), n.ID) {
			victim = n
		}
	}
	if victim.Version() != 2 {
		t.Fatalf("%s is at %d", victim.Name, victim.Version())
	}
	a.Kill(victim)
	disk := victim.Image()
	delete(disk, mesh.SavePrefix+"head/"+production) // it is saved late: others know it
	for key := range disk {
		if strings.HasPrefix(key, mesh.SavePrefix+"acceptor/") {
			delete(disk, key)
		}
	}
	victim.Restore(disk)
	a.Partition([]*meshtest.Node{victim})
	a.Restart(victim)
	_ = a.say(victim, &mesh.HeadTell{Head: old})
	a.Run(5 * time.Second)
	if victim.Version() != 2 {
		return fmt.Sprintf("%s applies version %d", victim.Name, victim.Version())
	}
	return ""
}

func fastForward(t *testing.T) string {
	a, one := begun(t, 3)
	far := uint64(1 << 40)
	object, _ := a.revision(operator(), production, far, store.HashOf(one), "far ahead")
	before := []store.Hash{store.HashOf(one)}
	for i := range store.MaxBefore - 1 {
		before = append(before, sumOf(fmt.Sprint(i)))
	}
	votes := a.proposes(a.accept(1000, value(t, far, object, before...)))
	if votes > 0 {
		return fmt.Sprintf("%d acceptors voted for version %d after version 1", votes, far)
	}
	return ""
}

// tellFork: of the nodes that have one acceptor, mallory, one is at version 1, and is shown a version 3 that stands on another 1.
func tellFork(t *testing.T) string {
	a := &arena{Network: meshtest.New(7), t: t, said: map[*meshtest.Node][]mesh.Message{}}
	a.mallory = a.Add("n1", nil)
	a.Run(10 * time.Second)
	a.commit(a.mallory, 1, store.Hash{})
	n2 := a.Add("n2", a.mallory)
	a.nodes = a.Nodes()
	a.RunUntil(60*time.Second, func() bool { return n2.Version() == 1 })
	epoch, seats := n2.Core.Configuration(production)
	if len(seats) != 1 || n2.Version() != 1 {
		t.Fatalf("%d acceptors, n2 is at %d", len(seats), n2.Version())
	}
	other, _ := a.revision(operator(), production, 1, store.Hash{}, "another beginning, never chosen")
	two, _ := a.revision(operator(), production, 2, store.HashOf(other), "on it")
	three, objects := a.revision(operator(), production, 3, store.HashOf(two), "on that")
	a.mallory.Keep(objects...)
	record := certified(t, production, epoch, store.Ballot{Number: 1 << 19, Proposer: a.mallory.ID},
		value(t, 3, three, store.HashOf(two), store.HashOf(other)), nil, keyFor(a.mallory))
	_ = a.say(n2, &mesh.HeadTell{Head: record})
	a.Run(10 * time.Second)
	return a.applies(three)
}

// ordered is a first revision of staging in which the operator named all members, and ownOrder one that mallory signed.
func ordered(a *arena) []byte {
	var ids []membership.NodeID
	for _, m := range a.nodes[0].Core.Members() {
		ids = append(ids, m.ID)
	}
	r := store.Revision{Env: "staging", Version: 1, Kind: store.KindPush, Electorate: store.ElectorateHash("staging", store.Electorate("staging", ids))}
	object, _ := meshtest.SignRevision(operator(), r, map[string]string{"site.yaml": "staging"})
	return object
}

func ownOrder(a *arena) []byte {
	r := store.Revision{Env: "staging", Version: 1, Kind: store.KindPush, Electorate: store.ElectorateHash("staging", []membership.NodeID{a.mallory.ID})}
	object, _ := meshtest.SignRevision(keyFor(a.mallory), r, map[string]string{"site.yaml": "staging"})
	return object
}

func createWith(order func(*arena) []byte) func(t *testing.T) string {
	return func(t *testing.T) string {
		a := newArena(t, 3)
		a.commit(a.nodes[0], 1, store.Hash{})
		created := store.CreateHead([]store.Seat{{Node: a.mallory.ID, Disk: 1}}, true)(nil)
		votes := must(membership.Sign(membership.DomainAccepted, store.Vote{
			Register: store.DirectoryRegister("staging"), Ballot: a.ballot(1), Value: store.HashOf(created),
		}, keyFor(a.mallory)))(t)
		creation := &store.Creation{Env: "staging", Electorate: []membership.NodeID{a.mallory.ID}, Certificate: store.Certificate{Value: created, Votes: votes}}
		if order != nil {
			creation.Order = order(a)
		}
		_ = a.say(a.nodes[0], &mesh.HeadTell{Creation: creation})
		if _, seats := a.nodes[0].Core.Configuration("staging"); seats != nil {
			return "n1 takes mallory for the one that decides staging"
		}
		return ""
	}
}

func electItself(t *testing.T) string {
	a := newArena(t, 3)
	victim := a.nodes[0]
	members := []membership.NodeID{a.mallory.ID, victim.ID}
	slices.Sort(members)
	since := a.mark(victim)
	_ = a.say(victim, &mesh.Prepare{Register: store.DirectoryRegister("staging"), Ballot: a.ballot(1), Members: members})
	for _, p := range answered[*mesh.Promise](a, victim, since) {
		if p.Refused == "" {
			return "n1 promises to an electorate of mallory's choice"
		}
	}
	return ""
}

func recoverWith(foreign bool) func(t *testing.T) string {
	return func(t *testing.T) string {
		a := newArena(t, 3)
		one := a.commit(a.nodes[0], 1, store.Hash{})
		r := store.Recovery{Mesh: a.Mesh(), Env: production, Era: 1, Seats: []store.Seat{{Node: a.mallory.ID, Disk: 1}}, Value: value(t, 1, one)}
		key := keyFor(a.mallory)
		if foreign {
			r.Mesh, key = sumOf("another mesh"), operator()
		}
		signed := must(membership.Sign(membership.DomainRecovery, r, key))(t)
		a.sayAll(&mesh.HeadTell{Recovery: &signed})
		if _, seats := a.nodes[0].Core.Configuration(production); len(seats) == 1 {
			return "mallory alone decides production"
		}
		return ""
	}
}

func oldEra(t *testing.T) string {
	a, one := begun(t, 3)
	_, seats := a.nodes[0].Core.Configuration(production)
	recovery := func(era uint64, seats []store.Seat) *membership.Signed {
		s := must(membership.Sign(membership.DomainRecovery, store.Recovery{Mesh: a.Mesh(), Env: production, Era: era, Seats: seats, Value: value(t, 1, one)}, operator()))(t)
		return &s
	}
	never := recovery(1, []store.Seat{{Node: a.mallory.ID, Disk: 1}}) // signed, and then another was used
	for _, era := range []uint64{1, 2} {
		signed := recovery(era, seats)
		a.sayAll(&mesh.HeadTell{Recovery: signed})
		a.Run(5 * time.Second)
	}
	if epoch, _ := a.nodes[0].Core.Configuration(production); store.EraOf(epoch) != 2 {
		t.Fatalf("epoch %x", epoch)
	}
	a.sayAll(&mesh.HeadTell{Recovery: never})
	if epoch, now := a.nodes[0].Core.Configuration(production); store.EraOf(epoch) != 2 || len(now) == 1 {
		return "an era that is over is back, and mallory decides in it"
	}
	return ""
}
