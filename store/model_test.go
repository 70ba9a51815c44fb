package store

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"shoal/membership"
)

// An exhaustive check of the registers in a small scope: every order of deliveries, losses, new rounds, restarts and changes of
// acceptors that a few nodes can come to, each state once. The acceptors and proposers are those that ship. A message may be
// delivered at any time after it was sent, many times or never.
//
// Values are histories ("xy"): a push appends its letter to what it read. Of two that were acknowledged one must begin with
// the other; if not, one version had two values, or an acknowledged head is lost.

// scope is how much is tried.
type scope struct {
	acceptors, next string // of epochs 0 and 1, a letter each; next "": no change of acceptors
	pushes          string // a letter is a push, "!" seals; a proposer each
	rounds          []int  // that each proposer may begin, in all
	leased          string // pushes whose proposers go on with a second one, at the ballot that was promised with the first
	sealed          bool   // epoch 0 is over, with no value, when it begins
	faulty          string // the node that may be struck once
	wipe            bool   // by losing its disk
	back            int    // by going back to an earlier state of it: the first, with 2 the last too; or simply by a restart
	bug             bug
}

// bug is a planted fault of the protocol.
type bug string

const (
	none           bug = ""
	acceptsLower   bug = "accept a lower ballot than was promised"
	forgetsPromise bug = "answer before the promise is kept"
	takesAny       bug = "propose the first value that was told, not that of the highest ballot"
	skipsSeal      bug = "go on in an epoch that is sealed"
	sealsByOne     bug = "install the next epoch on one vote for its seal"
	newAlone       bug = "install the next epoch without a seal: its own quorum suffices"
	dropsValue     bug = "seal without the value"
	skipsFence     bug = "a wiped node takes its seat again"
	skipsRecovery  bug = "a node whose disk went back votes at once"
	recoversByOne  bug = "a node whose disk went back asks one other"
	ignoresStarts  bug = "count promises of a start that is over"
	countsMoved    bug = "who has moved on counts as heard"
	sureForGood    bug = "what was recovered in one epoch counts in the next"
	forgetsThen    bug = "answer that the next ballot is promised, and do not keep it"
	leasedUnasked  bug = "go on at a ballot that nobody promised"
	leasedTwice    bug = "use a promised ballot for two values"
	halfIsEnough   bug = "half of the acceptors are a quorum"
)

// modelNode is an acceptor with its disk and what is left of its past.
type modelNode struct {
	acc    Acceptor
	disk   uint64
	start  uint64
	sure   bool
	heard  bool       // by the faulty node, since it started again
	told   uint64     // start of the faulty node that this one has written down
	before []modelWas // to which the disk may go back
}

type modelWas struct {
	acc   Acceptor
	start uint64
}

type modelProposer struct {
	p      *Proposal
	rounds int
	second bool // it is at the push after its first
	lease  *Lease
}

type modelAnswer struct {
	node, proposer int
	ballot         Ballot
	promise        *Promise
	accepted       *Accepted
}

// same tells whether b is a, given twice.
func (a modelAnswer) same(b modelAnswer) bool {
	if a.node != b.node || a.ballot != b.ballot || (a.promise == nil) != (b.promise == nil) {
		return false
	}
	if a.promise != nil {
		return a.promise.Accepted == b.promise.Accepted && slices.Equal(a.promise.Starts, b.promise.Starts)
	}
	return slices.Equal(a.accepted.Starts, b.accepted.Starts) && a.accepted.Promised == b.accepted.Promised
}

type model struct {
	scope     *scope
	nodes     []modelNode
	proposers []modelProposer
	prepares  []Prepare
	accepts   []Accept
	answers   []modelAnswer
	acked     []string
	sealed    bool
	base      string // value of the seal
	bad       string // what must not be
	lone      bool   // sealsByOne, newAlone: somebody took the change for decided
	struck    bool
}

var modelIDs = []membership.NodeID{"a", "b", "c", "d", "e", "f"}

func modelSeats(letters string) (seats []Seat) {
	for _, l := range letters {
		seats = append(seats, Seat{Node: membership.NodeID(string(l)), Disk: 1})
	}
	return seats
}

func newModel(s *scope) *model {
	m := &model{scope: s, sealed: s.sealed}
	for i := range max(len(s.acceptors), strings.IndexByte("abcdef", (s.acceptors + s.next)[len(s.acceptors+s.next)-1])+1) {
		n := modelNode{disk: 1, start: 1, sure: true}
		if strings.Contains(s.acceptors, string(modelIDs[i])) {
			n.acc = Acceptor{Register: "r", Members: NodesOf(modelSeats(s.acceptors)), Phase: Active, Disk: 1}
		}
		m.nodes = append(m.nodes, n)
	}
	for i := range s.pushes {
		m.proposers = append(m.proposers, modelProposer{p: m.proposal(i, uint64(flag(s.sealed))), rounds: s.rounds[i]})
	}
	return m
}

func (m *model) proposal(i int, epoch uint64) *Proposal {
	label, members := m.scope.pushes[i:i+1], m.scope.acceptors
	if epoch > 0 {
		members = m.scope.next
	}
	p := &Proposal{Register: "r", Epoch: epoch, Members: NodesOf(modelSeats(members))}
	p.Change = func(current []byte) []byte {
		if strings.Contains(string(current), label) {
			return current
		}
		return append(slices.Clone(current), label...)
	}
	if label == "!" && epoch == 0 { // in epoch 1 it is a push like others
		p.Seal = modelSeats(m.scope.next)
	}
	return p
}

func (m *model) clone() *model {
	c := *m
	c.nodes, c.proposers = slices.Clone(m.nodes), slices.Clone(m.proposers)
	for i := range c.proposers {
		p := *c.proposers[i].p
		p.promises, p.votes, p.then = p.promises.clone(), p.votes.clone(), slices.Clip(p.then)
		p.refusals, p.promised = maps.Clone(p.refusals), maps.Clone(p.promised)
		c.proposers[i].p = &p
	}
	c.prepares, c.accepts = slices.Clip(m.prepares), slices.Clip(m.accepts)
	c.answers, c.acked = slices.Clone(m.answers), slices.Clip(m.acked)
	return &c
}

func (a answers) clone() answers {
	return answers{members: a.members, given: maps.Clone(a.given), known: slices.Clone(a.known)}
}

// each calls try with all that may happen next.
func (m *model) each(try func(what string, after *model)) {
	for i := range m.proposers {
		m.eachOfProposer(i, try)
	}
	for i := range m.nodes {
		m.eachOfNode(i, try)
	}
	for i := range m.answers {
		c := m.clone()
		a := c.answers[i]
		c.answers = slices.Delete(c.answers, i, i+1)
		c.hear(a)
		try(fmt.Sprintf("%s hears %s", c.scope.pushes[a.proposer:a.proposer+1], modelIDs[a.node]), c)
	}
}

func (m *model) eachOfProposer(i int, try func(string, *model)) {
	name := m.scope.pushes[i : i+1]
	if m.proposers[i].lease != nil {
		c := m.clone()
		c.resume(i)
		try(name+" goes on", c)
	}
	if m.proposers[i].p.step == Chosen && len(m.proposers[i].p.next) == 0 || m.proposers[i].rounds == 0 {
		return
	}
	if m.proposers[i].p.step != Chosen {
		c := m.clone()
		c.begin(i)
		try(name+" begins a round", c)
	}
	if (m.sealed || m.lone) && m.proposers[i].p.Epoch == 0 {
		c := m.clone()
		c.proposers[i].p = c.proposal(i, 1)
		c.begin(i)
		try(name+" begins in epoch 1", c)
	}
}

// resume makes a second push at the ballot that was promised along with the first.
func (m *model) resume(i int) {
	pr := &m.proposers[i]
	l := *pr.lease
	again := pr.second
	p := m.proposal(i, l.epoch)
	first := p.Change
	p.Change = func(current []byte) []byte {
		label := strings.ToUpper(m.scope.pushes[i : i+1])
		if again {
			label = "2"
		}
		if strings.Contains(string(current), label) {
			return current
		}
		return append(slices.Clone(first(current)), label...)
	}
	a, ok := p.Resume(l)
	if !ok {
		panic("the model leases what it does not go on with")
	}
	if pr.p, pr.second = p, true; m.scope.bug != leasedTwice || again {
		pr.lease = nil
	}
	m.accepts = append(m.accepts, a)
	m.forgetStale(i)
}

func (m *model) begin(i int) {
	p := &m.proposers[i]
	p.rounds--
	run := uint64(p.rounds + 1)
	m.prepares = append(m.prepares, p.p.Begin(proposerID(m.scope, i), run))
	m.forgetStale(i)
}

// forgetStale drops answers that their proposer would not look at, and requests for promises that nobody waits for.
func (m *model) forgetStale(i int) {
	m.prepares = slices.DeleteFunc(slices.Clone(m.prepares), func(p Prepare) bool {
		mine := m.proposers[i].p
		return p.Ballot.Proposer == proposerID(m.scope, i) && (p.Ballot != mine.ballot || mine.step != Preparing)
	})
	m.answers = slices.DeleteFunc(m.answers, func(a modelAnswer) bool {
		p := m.proposers[i].p
		return a.proposer == i && (a.ballot != p.ballot || p.step == Chosen || a.promise != nil && p.step != Preparing)
	})
}

func proposerID(s *scope, i int) membership.NodeID { return membership.NodeID("p" + s.pushes[i:i+1]) }

func (m *model) hear(a modelAnswer) {
	pr := &m.proposers[a.proposer]
	p, id := pr.p, modelIDs[a.node]
	if a.promise != nil {
		told := *a.promise
		if m.scope.bug == ignoresStarts {
			told.Starts = nil
		}
		if m.scope.bug == takesAny && p.current != nil {
			told.Accepted = Ballot{}
		}
		moved := p.Promised(id, told)
		if m.scope.bug == halfIsEnough && p.step == Preparing && 2*p.promises.count() >= len(p.Members) {
			p.step, p.value, moved = Accepting, p.Change(p.current), true
		}
		if moved && p.step == Accepting {
			m.breakAccept(p)
			if strings.Contains(m.scope.leased, m.scope.pushes[a.proposer:a.proposer+1]) && !pr.second {
				p.Then = Ballot{Number: p.ballot.Number + 1, Proposer: p.ballot.Proposer, Run: p.ballot.Run + 8}
			}
			asked := p.Accept()
			if m.scope.bug == leasedUnasked {
				asked.Then = Ballot{}
			}
			m.accepts = append(m.accepts, asked)
		}
		m.forgetStale(a.proposer)
		return
	}
	told := *a.accepted
	if m.scope.bug == ignoresStarts {
		told.Starts = nil
	}
	if m.scope.bug == leasedUnasked {
		told.Promised = p.Then
	}
	p.Accepted(id, told)
	if l, ok := p.Lease(); ok {
		pr.lease = &l
	}
	if m.scope.bug == sealsByOne && len(p.next) > 0 {
		m.lone, m.base = true, string(p.value)
	}
	if m.scope.bug == halfIsEnough && 2*p.votes.count() >= len(p.Members) {
		p.step = Chosen
	}
	if p.step == Chosen {
		if len(p.next) > 0 {
			m.sealed, m.base = true, string(p.value)
		} else if p.Epoch == 0 && m.sealed && !strings.HasPrefix(m.base, string(p.value)) {
			m.bad = fmt.Sprintf("acknowledged %q in an epoch that was sealed with %q", p.value, m.base)
		}
		if !slices.Contains(m.acked, string(p.value)) {
			m.acked = append(m.acked, string(p.value))
			slices.Sort(m.acked)
		}
		m.forgetStale(a.proposer)
	}
}

func (m *model) breakAccept(p *Proposal) {
	switch {
	case m.scope.bug == skipsSeal && len(p.Seal) == 0 && len(p.next) > 0:
		p.next, p.value = nil, p.Change(p.current)
	case m.scope.bug == dropsValue && len(p.Seal) > 0:
		p.value = nil
	}
}

// conflict says which acknowledged values cannot both be.
func (m *model) conflict() string {
	if m.bad != "" {
		return m.bad
	}
	for _, v := range m.acked {
		for _, w := range m.acked {
			if !strings.HasPrefix(v, w) && !strings.HasPrefix(w, v) {
				return fmt.Sprintf("acknowledged were %q and %q", w, v)
			}
		}
	}
	return ""
}

func (m *model) eachOfNode(i int, try func(string, *model)) {
	id := modelIDs[i]
	if m.nodes[i].sure && m.nodes[i].acc.Phase != 0 {
		for _, p := range m.prepares {
			c := m.clone()
			if c.deliverPrepare(i, p) {
				c.tryAnswers(i, fmt.Sprintf("%s promises %d.%s in epoch %d", id, p.Ballot.Number, p.Ballot.Proposer, p.Epoch), try)
			}
		}
		for _, a := range m.accepts {
			c := m.clone()
			if c.deliverAccept(i, a) {
				c.tryAnswers(i, fmt.Sprintf("%s accepts %q, next %d, at %d.%s", id, a.Value, len(a.Next), a.Ballot.Number, a.Ballot.Proposer), try)
			}
		}
	}
	if next := m.scope.next; next != "" && (m.sealed || m.lone || m.scope.bug == newAlone) && m.nodes[i].acc.Epoch == 0 && m.nodes[i].acc.Phase != Moved {
		c := m.clone()
		if c.move(i) {
			try(string(id)+" moves to epoch 1", c)
		}
	}
	if strings.Contains(m.scope.faulty, string(id)) {
		m.strike(i, try)
	}
}

// tryAnswers goes on with the answer of node i heard at once, and with a lost one where that makes a difference: a promise
// that nobody hears keeps messages out which might as well be lost, and a vote that nobody hears matters to a proposer
// that may yet begin again. That it is heard later matters only where the node may forget meanwhile that it gave it.
func (m *model) tryAnswers(i int, what string, try func(string, *model)) {
	if strings.Contains(m.scope.faulty, string(modelIDs[i])) {
		try(what, m)
		return
	}
	given := m.answers
	var fresh []modelAnswer
	m.answers = slices.DeleteFunc(slices.Clone(given), func(a modelAnswer) bool {
		if a.node == i {
			fresh = append(fresh, a)
		}
		return a.node == i
	})
	if len(fresh) == 0 || fresh[0].accepted != nil && m.proposers[fresh[0].proposer].rounds > 0 {
		try(what+", unheard", m.clone())
	}
	for _, a := range fresh {
		c := m.clone()
		c.hear(a)
		try(what+", heard", c)
	}
}

func (m *model) move(i int) bool {
	n := &m.nodes[i]
	value := m.base
	if m.scope.bug == newAlone && !m.sealed {
		m.lone, value = true, string(n.acc.Value)
	}
	moved, ok := n.acc.Move("r", 0, modelSeats(m.scope.next), []byte(value), Seat{Node: modelIDs[i], Disk: n.disk})
	if !ok {
		return false
	}
	m.keep(n, moved)
	if n.start > 1 && m.scope.bug != sureForGood && m.scope.bug != skipsRecovery { // it asks those of the new epoch
		n.sure = false
		for j := range m.nodes {
			m.nodes[j].heard = false
		}
	}
	return true
}

// keep changes what is on the disk of a node, and remembers what was, where the disk may go back.
func (m *model) keep(n *modelNode, acc Acceptor) {
	if m.scope.back > 0 && !m.struck && n == &m.nodes[strings.IndexByte("abcdef", m.scope.faulty[0])] {
		n.before = append(slices.Clip(n.before[:min(len(n.before), 1)]), modelWas{n.acc, n.start})
		n.before = n.before[:min(len(n.before), m.scope.back)]
	}
	n.acc = acc
}

func (m *model) starts(n int, members []membership.NodeID) (out []uint64) {
	for _, id := range members {
		switch {
		case id == modelIDs[n]:
			out = append(out, m.nodes[n].start)
		case strings.Contains(m.scope.faulty, string(id)):
			out = append(out, m.nodes[n].told)
		default:
			out = append(out, 0)
		}
	}
	return out
}

func (m *model) answer(a modelAnswer) {
	for i, p := range m.proposers {
		if p.p.ballot == a.ballot && p.p.step != Chosen && (a.promise == nil || p.p.step == Preparing && !p.p.promises.has(modelIDs[a.node])) &&
			(a.accepted == nil || !p.p.votes.has(modelIDs[a.node])) {
			a.proposer = i
			if !slices.ContainsFunc(m.answers, a.same) {
				m.answers = append(m.answers, a)
			}
		}
	}
}

func (m *model) deliverPrepare(i int, p Prepare) bool {
	n := &m.nodes[i]
	after, promise := n.acc.Prepare(p)
	if promise.Refused != "" {
		return false
	}
	promise.Starts = m.starts(i, after.Members)
	if m.scope.bug != forgetsPromise {
		m.keep(n, after)
	}
	m.answer(modelAnswer{node: i, ballot: p.Ballot, promise: &promise})
	return true
}

func (m *model) deliverAccept(i int, a Accept) bool {
	n := &m.nodes[i]
	acc := n.acc
	if m.scope.bug == acceptsLower && acc.Epoch == a.Epoch {
		acc.Promised = Ballot{}
	}
	after, accepted := acc.Accept(a)
	if accepted.Refused != "" {
		return false
	}
	accepted.Starts = m.starts(i, after.Members)
	if m.scope.bug == forgetsThen && after.Promised == a.Then {
		after.Promised = after.Accepted
	}
	if after.Accepted != n.acc.Accepted || string(after.Value) != string(n.acc.Value) || after.Promised != n.acc.Promised {
		m.keep(n, after)
	}
	m.answer(modelAnswer{node: i, ballot: a.Ballot, accepted: &accepted})
	return true
}

// strike: what may befall the faulty node, once, and how it comes back.
func (m *model) strike(i int, try func(string, *model)) {
	n := m.nodes[i]
	if !m.struck {
		c := m.clone()
		c.restart(i, n.acc, n.start)
		try(string(modelIDs[i])+" restarts", c)
		for k := range n.before {
			c := m.clone()
			c.restart(i, n.before[k].acc, n.before[k].start)
			try(fmt.Sprintf("%s goes back to state %d of %d", modelIDs[i], k, len(n.before)), c)
		}
		if m.scope.wipe {
			c := m.clone()
			c.struck = true
			c.nodes[i] = modelNode{disk: 2, start: 1, sure: true}
			if m.scope.bug == skipsFence {
				c.nodes[i].disk, c.nodes[i].acc = 1, newModel(m.scope).nodes[i].acc
			}
			try(string(modelIDs[i])+" is wiped", c)
		}
		return
	}
	if n.sure {
		return
	}
	for j, other := range m.nodes {
		if j == i || other.heard || !slices.Contains(n.acc.Members, modelIDs[j]) {
			continue
		}
		_, counts := n.acc.Recall(other.acc)
		counts = counts || m.scope.bug == countsMoved && other.acc.Phase == Moved
		if !counts || n.acc.Phase == Moved {
			continue // is shown the seal first
		}
		c := m.clone()
		c.ask(i, j)
		try(fmt.Sprintf("%s recalls from %s", modelIDs[i], modelIDs[j]), c)
	}
}

func (m *model) restart(i int, acc Acceptor, start uint64) {
	n := &m.nodes[i]
	m.struck = true
	n.acc, n.start, n.before = acc, start+1, nil
	n.sure = m.scope.bug == skipsRecovery
}

func (m *model) ask(i, j int) {
	n, other := &m.nodes[i], &m.nodes[j]
	other.told = n.start
	n.acc, _ = n.acc.Recall(other.acc)
	other.heard = true
	heard, need := 0, Recovered(len(n.acc.Members))
	for _, o := range m.nodes {
		if o.heard {
			heard++
		}
	}
	if m.scope.bug == recoversByOne {
		need = 1
	}
	n.sure = heard >= need
	if n.sure {
		for k := range m.nodes {
			m.nodes[k].heard = false
		}
	}
}

// key names a state up to the names of acceptors that nothing tells apart: a column each, sorted.
func (m *model) key() [16]byte {
	var b []byte
	columns := make([]string, len(m.nodes))
	for i := range m.nodes {
		columns[i] = string(m.column(i))
	}
	alike := m.scope.alike()
	for lo := 0; lo < len(columns); {
		hi := lo + 1
		for hi < len(columns) && alike[hi] == alike[lo] {
			hi++
		}
		slices.Sort(columns[lo:hi])
		lo = hi
	}
	for _, c := range columns {
		b = append(append(b, c...), 0xff)
	}
	for _, pr := range m.proposers {
		p := pr.p
		b = append(b, byte(p.step), byte(p.Epoch), byte(pr.rounds), byte(len(p.next)), flag(pr.second)|flag(pr.lease != nil)<<1)
		b = appendBallot(b, p.Then)
		b = appendBallot(appendBallot(b, p.ballot), p.accepted)
		b = append(append(append(b, p.current...), '|'), p.value...)
	}
	var wire []string
	for _, p := range m.prepares {
		wire = append(wire, string(append(appendBallot(nil, p.Ballot), byte(p.Epoch))))
	}
	for _, a := range m.accepts {
		wire = append(wire, string(append(append(appendBallot(nil, a.Ballot), byte(a.Epoch), byte(len(a.Next)), byte(a.Then.Run), 0xfe), a.Value...)))
	}
	slices.Sort(wire)
	b = append(b, strings.Join(wire, ",")...)
	b = append(b, 0xfd)
	for _, v := range m.acked {
		b = append(append(b, v...), ',')
	}
	b = append(b, flag(m.sealed)|flag(m.lone)<<1|flag(m.struck)<<2)
	b = append(b, m.base...)
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

// alike gives acceptors of the same configurations the same number; the faulty one stands alone.
func (s *scope) alike() (class [6]int) {
	for i := range class {
		id := string(modelIDs[i])
		class[i] = int(flag(strings.Contains(s.acceptors, id)) | flag(strings.Contains(s.next, id))<<1)
		if strings.Contains(s.faulty, id) {
			class[i] = 9
		}
	}
	return class
}

func (m *model) column(i int) (b []byte) {
	n, id := &m.nodes[i], modelIDs[i]
	acc := func(a Acceptor) {
		b = append(b, byte(a.Phase), byte(a.Epoch), byte(len(a.Next)))
		b = append(append(appendBallot(appendBallot(b, a.Promised), a.Accepted), a.Value...), '|')
	}
	acc(n.acc)
	b = append(b, byte(n.disk), byte(n.start), flag(n.sure), flag(n.heard), byte(n.told))
	for _, w := range n.before {
		acc(w.acc)
	}
	for _, pr := range m.proposers {
		for _, a := range []answers{pr.p.promises, pr.p.votes} {
			start, given := a.given[id]
			b = append(b, flag(slices.Contains(pr.p.then, id)))
			b = append(b, flag(given), byte(start))
			for j, member := range a.members {
				if member == id {
					b = append(b, byte(a.known[j]))
				}
			}
		}
	}
	for _, a := range m.answers {
		if a.node != i {
			continue
		}
		if a.promise != nil {
			b = append(append(appendBallot(appendBallot(append(b, 'p', byte(len(a.promise.Next))), a.ballot), a.promise.Accepted), a.promise.Value...), starts(a.promise.Starts)...)
		} else {
			b = append(appendBallot(append(b, 'a', byte(a.accepted.Promised.Run)), a.ballot), starts(a.accepted.Starts)...)
		}
	}
	return b
}

func starts(s []uint64) (b []byte) {
	var most uint64
	for _, n := range s {
		most = most<<2 | n
	}
	return append(b, byte(most), byte(most>>8))
}

func appendBallot(b []byte, o Ballot) []byte {
	who := byte(0)
	if len(o.Proposer) == 2 {
		who = o.Proposer[1]
	}
	return append(b, byte(o.Number), who, byte(o.Run))
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// explore goes through all states, and returns how many there are and the way to the first that must not be.
func explore(s *scope, most int) (states int, trace []string) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // what is made lives for a step, and memory is there
	seen := map[[16]byte]bool{}
	var path []string
	var walk func(m *model) bool
	walk = func(m *model) bool {
		k := m.key()
		if seen[k] {
			return false
		}
		seen[k] = true
		if bad := m.conflict(); bad != "" {
			trace = append(slices.Clone(path), bad)
			return true
		}
		if len(seen) >= most {
			return true
		}
		found := false
		m.each(func(what string, after *model) {
			if found {
				return
			}
			path = append(path, what)
			found = walk(after)
			path = path[:len(path)-1]
		})
		return found
	}
	walk(newModel(s))
	return len(seen), trace
}

// modelScopes are gone through whole.
var modelScopes = map[string]scope{
	"two pushes":            {acceptors: "abc", pushes: "xy", rounds: []int{2, 2}},
	"four acceptors":        {acceptors: "abcd", pushes: "xy", rounds: []int{1, 1}},
	"five acceptors":        {acceptors: "abcde", pushes: "xy", rounds: []int{1, 1}},
	"a push and a change":   {acceptors: "abc", next: "abd", pushes: "x!", rounds: []int{1, 2}},
	"a restart":             {acceptors: "abc", pushes: "xy", rounds: []int{1, 1}, faulty: "a", back: 2},
	"a restart in a change": {acceptors: "abc", next: "ad", pushes: "x!", rounds: []int{1, 1}, faulty: "a", back: 1},
	// The seal was chosen, and not all have heard of it; the disk goes back to before it.
	"a restart after a change":   {acceptors: "abc", next: "ade", sealed: true, pushes: "xy", rounds: []int{1, 1}, faulty: "a", back: 1},
	"two pushes in a row":        {acceptors: "abc", pushes: "xy", leased: "x", rounds: []int{2, 2}},
	"two in a row and a change":  {acceptors: "abc", next: "abd", pushes: "x!", leased: "x", rounds: []int{1, 2}},
	"two in a row and a restart": {acceptors: "abc", pushes: "xy", leased: "x", rounds: []int{1, 1}, faulty: "a", back: 2},
	"a wiped acceptor":           {acceptors: "abc", pushes: "xy", rounds: []int{1, 1}, faulty: "a", wipe: true},
}

// modelBugs are where each planted bug shows.
var modelBugs = map[bug]string{
	acceptsLower:   "two pushes",
	forgetsPromise: "two pushes",
	takesAny:       "two pushes",
	halfIsEnough:   "four acceptors",
	skipsSeal:      "a push and a change",
	sealsByOne:     "a push and a change",
	newAlone:       "a push and a change",
	dropsValue:     "a push and a change",
	skipsFence:     "a wiped acceptor",
	skipsRecovery:  "a restart",
	recoversByOne:  "a restart",
	ignoresStarts:  "a restart",
	forgetsThen:    "two pushes in a row",
	leasedUnasked:  "two pushes in a row",
	leasedTwice:    "two pushes in a row",
	sureForGood:    "a restart after a change",
	countsMoved:    "a restart in a change",
}

// modelMost ends what was meant to be small and is not.
const modelMost = 2_000_000

func TestModel(t *testing.T) {
	if testing.Short() {
		t.Skip("make check runs it by itself, without the race detector")
	}
	for name, s := range modelScopes {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			n, trace := explore(&s, modelMost)
			t.Logf("%d states in %v", n, time.Since(began))
			if trace != nil || n >= modelMost {
				t.Errorf("%d states; %s", n, strings.Join(trace, "\n"))
			}
		})
	}
}

// TestModelFindsPlantedBugs: a check that finds nothing must be one that would.
func TestModelFindsPlantedBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("make check runs it by itself, without the race detector")
	}
	for planted, name := range modelBugs {
		t.Run(string(planted), func(t *testing.T) {
			s := modelScopes[name]
			s.bug = planted
			n, trace := explore(&s, modelMost)
			if trace == nil || n >= modelMost {
				t.Fatalf("not found in %d states of %q", n, name)
			}
			t.Logf("found after %d states: %s", n, trace[len(trace)-1])
		})
	}
}
