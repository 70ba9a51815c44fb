package mesh_test

import (
	"crypto/ed25519"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

var update = flag.Bool("update", false, "write the recorded traces anew")

// TestScenarios runs testdata/*.txt: commands, each followed by what was seen while it ran. See testdata/README.md.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runScenario(t, file) })
	}
}

func runScenario(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := newScenario(t)
	var out strings.Builder
	for block := range strings.SplitSeq(string(data), "\n\n") {
		block = strings.Trim(block, "\n")
		command, _, _ := strings.Cut(block, "\n----")
		out.WriteString(command)
		if body := commandOf(command); body != "" {
			out.WriteString("\n----\n" + s.run(body))
		}
		out.WriteString("\n\n")
	}
	got := strings.TrimRight(out.String(), "\n") + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != string(data) {
		t.Errorf("%s differs; if it should, run with -update and look at the difference. Now it is:\n%s", file, got)
	}
}

// commandOf leaves comments out.
func commandOf(block string) string {
	var lines []string
	for line := range strings.SplitSeq(block, "\n") {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// scenario is a world, and names for what is in it.
type scenario struct {
	t         *testing.T
	w         *meshtest.Network
	seen      []string
	revisions map[string]*labelled
	names     map[store.Hash]string
	last      string // label of the newest push
}

// labelled is a revision that a scenario talks about.
type labelled struct {
	hash     store.Hash
	object   []byte
	objects  [][]byte
	revision store.Revision
	at       *meshtest.Node
	ask      uint64
}

func newScenario(t *testing.T) *scenario {
	s := &scenario{t: t, w: meshtest.New(1), revisions: map[string]*labelled{}, names: map[store.Hash]string{}}
	s.w.Watch = func(n *meshtest.Node, what string) { s.see(n.Name + " " + s.readable(what)) }
	s.w.Answered = func(n *meshtest.Node, a mesh.Answer) {
		if p, ok := a.Value.(mesh.Pushed); ok {
			s.see(strings.TrimSpace(fmt.Sprintf("%s answers: %s; head is %s %s", n.Name, p.Outcome, s.headName(p.Head), s.readable(p.Why))))
		} else if a.Err != nil && a.ID != 0 {
			s.see(n.Name + " answers: error: " + s.readable(a.Err.Error()))
		}
	}
	return s
}

func (s *scenario) headName(h store.Head) string {
	if h.Version == 0 {
		return "none"
	}
	return s.names[h.Revision]
}

func (s *scenario) see(what string) { s.seen = append(s.seen, strings.TrimSpace(what)) }

// readable puts names in the place of hashes and ids.
func (s *scenario) readable(text string) string {
	for h, name := range s.names {
		text = strings.ReplaceAll(text, h.Short(), name)
	}
	for _, n := range s.w.Nodes() {
		text = strings.ReplaceAll(text, n.ID.Short(), n.Name)
	}
	return text
}

// run does a block's commands and returns what was seen, sorted within one command so that a trace tells what happened and
// not which node was a millisecond faster.
func (s *scenario) run(block string) string {
	var out []string
	for line := range strings.SplitSeq(block, "\n") {
		s.seen = nil
		if err := s.command(strings.Fields(line)); err != "" {
			s.see("FAILED: " + line + ": " + err)
			s.t.Errorf("%s: %s", line, err)
		}
		slices.Sort(s.seen)
		out = append(out, s.seen...)
	}
	if len(out) == 0 {
		return "ok"
	}
	return strings.Join(out, "\n")
}

func (s *scenario) command(f []string) (failed string) {
	switch f[0] {
	case "nodes":
		n, _ := strconv.Atoi(f[1])
		for i := range n {
			s.join(fmt.Sprintf("n%d", i+1), fmt.Sprintf("n%d", i))
		}
		s.w.Run(8 * time.Second)
	case "join":
		s.join(f[1], f[3])
	case "push":
		return s.push(f[1:])
	case "partition":
		s.partition(strings.Join(f[1:], ""))
	case "heal":
		s.w.Heal()
	case "kill", "restart":
		for _, n := range s.nodes(f[1]) {
			if f[0] == "kill" {
				s.w.Kill(n)
			} else {
				s.w.Restart(n)
			}
		}
	case "tick":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			return err.Error()
		}
		s.w.Run(d)
	case "evict": // evict n2 at n1
		revoked, err := membership.SignRevocation(membership.Revocation{Mesh: s.w.Mesh(), Node: s.w.Node(f[1]).ID}, meshtest.Key("operator"))
		if err != nil {
			return err.Error()
		}
		s.w.Node(f[3]).Ask(func(id uint64) mesh.Event { return mesh.Submit{ID: id, Records: []membership.Signed{revoked}} })
	case "recover": // recover at n4 [by stranger]
		return s.recover(f)
	case "lose":
		s.w.Faults.Loss, _ = strconv.Atoi(strings.TrimSuffix(f[1], "%"))
	case "forget", "damage":
		return s.spoil(f)
	case "forge":
		return s.forge(f[1:])
	case "expect":
		return s.expect(f[1:])
	case "status":
		return s.status(f[1])
	default:
		return "no such command"
	}
	return ""
}

func (s *scenario) join(name, via string) {
	s.w.Add(name, s.w.Node(via))
	s.w.Run(time.Second)
}

// nodes reads "all", "rest of n1,n2" as "-n1,n2", or a list.
func (s *scenario) nodes(list string) []*meshtest.Node {
	if list == "all" {
		return s.w.Nodes()
	}
	var out []*meshtest.Node
	for name := range strings.SplitSeq(strings.TrimPrefix(list, "-"), ",") {
		if n := s.w.Node(name); n != nil {
			out = append(out, n)
		} else {
			s.t.Fatalf("no node %q", name)
		}
	}
	if !strings.HasPrefix(list, "-") {
		return out
	}
	return slices.DeleteFunc(s.w.Nodes(), func(n *meshtest.Node) bool { return slices.Contains(out, n) })
}

func (s *scenario) partition(groups string) {
	var all [][]*meshtest.Node
	for g := range strings.SplitSeq(groups, "|") {
		all = append(all, s.nodes(g))
	}
	s.w.Partition(all...)
}

// push LABEL[,LABEL…] at NODE[,NODE…] [on LABEL] [by stranger] [async]: the first label's parent is the newest push, or
// what on says; none for "on nothing".
func (s *scenario) push(f []string) string {
	labels, at := strings.Split(f[0], ","), s.nodes(f[2])
	parent, key, wait := s.last, "operator", true
	for i := 3; i < len(f); i++ {
		switch f[i] {
		case "on":
			i++
			parent = strings.TrimPrefix(f[i], "nothing")
		case "by":
			i++
			key = f[i]
		case "async":
			wait = false
		}
	}
	for i, label := range labels {
		r := s.revisions[label]
		if r == nil {
			r = s.make(label, parent, key, at[i])
		}
		r.at, r.ask = at[i], at[i].Push(r.object, r.objects)
		s.last = label
	}
	if wait {
		s.w.RunUntil(15*time.Second, func() bool {
			return !slices.ContainsFunc(labels, func(l string) bool { return s.answer(l) == nil })
		})
	}
	return ""
}

func (s *scenario) make(label, parent, key string, at *meshtest.Node) *labelled {
	r := store.Revision{Env: "production", Version: 1, Kind: store.KindPush, Message: label}
	if p := s.revisions[parent]; p != nil {
		r.Version, r.Parent = p.revision.Version+1, p.hash
	} else {
		r.Electorate = electorateAt(at, r.Env)
	}
	l := &labelled{revision: r}
	files := map[string]string{"site.yaml": label, "same": "same"}
	if key == "operator" {
		l.object, l.objects = s.w.Revision(r, files)
	} else {
		l.object, l.objects = meshtest.SignRevision(meshtest.Key(key), r, files)
	}
	l.hash = store.HashOf(l.object)
	s.revisions[label], s.names[l.hash] = l, label
	return l
}

// electorateAt is what the publisher's command is shown at a node.
func electorateAt(n *meshtest.Node, env string) string {
	var ids []membership.NodeID
	for _, m := range n.Core.Members() {
		ids = append(ids, m.ID)
	}
	return store.ElectorateHash(env, store.Electorate(env, ids))
}

func (s *scenario) answer(label string) *mesh.Answer {
	r := s.revisions[label]
	if r == nil || r.at == nil {
		return nil
	}
	if a, ok := r.at.Answers[r.ask]; ok {
		return &a
	}
	return nil
}

// recover: the operators sign what a node proposes, and hand it in there.
func (s *scenario) recover(f []string) string {
	n, key := s.w.Node(f[2]), "operator"
	if len(f) > 3 {
		key = f[4]
	}
	standing, err := standingOf(s.w, n)
	if err != nil {
		return err.Error()
	}
	accepted := ""
	if standing.Accepted {
		accepted = ", which was accepted"
	}
	s.see(fmt.Sprintf("%s proposes: %s%s held by %d of %d; %d of %d acceptors are here; %d new", n.Name, s.headName(standing.Head), accepted,
		standing.HeldBy, standing.Answered, len(standing.Voting), len(standing.Acceptors), len(standing.Recovery.Seats)))
	if err := recoverWith(s.w, n, standing.Recovery, key); err != nil {
		s.see(n.Name + " answers: error: " + err.Error())
	}
	return ""
}

func standingOf(w *meshtest.Network, n *meshtest.Node) (mesh.Standing, error) {
	id := n.Ask(func(id uint64) mesh.Event { return mesh.AskRecovery{ID: id, Env: "production"} })
	w.RunUntil(10*time.Second, func() bool { _, ok := n.Answers[id]; return ok })
	standing, _ := n.Answers[id].Value.(mesh.Standing)
	return standing, n.Answers[id].Err
}

func recoverWith(w *meshtest.Network, n *meshtest.Node, r store.Recovery, keys ...string) error {
	var private []ed25519.PrivateKey
	for _, key := range keys {
		private = append(private, meshtest.Key(key))
	}
	signed, err := membership.Sign(membership.DomainRecovery, r, private...)
	if err != nil {
		return err
	}
	id := n.Ask(func(id uint64) mesh.Event { return mesh.Recover{ID: id, Signed: signed} })
	return n.Answers[id].Err
}

// spoil: forget LABEL at NODES, damage LABEL at NODES: the objects of a push.
func (s *scenario) spoil(f []string) string {
	for _, n := range s.nodes(f[3]) {
		for _, body := range s.revisions[f[1]].objects {
			if f[0] == "forget" {
				n.Forget(store.HashOf(body))
			} else if n.Holds(store.HashOf(body)) {
				n.Damage(store.HashOf(body))
			}
		}
	}
	return ""
}

// forge: what a member with bad intent sends, as if from one node to others.
func (s *scenario) forge(f []string) string {
	from := s.nodes(f[len(f)-3])[0]
	for _, to := range s.nodes(f[len(f)-1]) {
		switch f[0] {
		case "head": // forge head LABEL from A to B: certified by A alone
			r := s.revisions[f[1]]
			value, err := codec.Marshal(store.HeadValue{Version: r.revision.Version, Revision: r.object, Before: before(r)})
			if err != nil {
				return err.Error()
			}
			votes, err := membership.Sign(membership.DomainAccepted, store.Vote{
				Register: store.HeadRegister("production"), Ballot: store.Ballot{Number: 99, Proposer: from.ID}, Value: store.HashOf(value),
			}, meshtest.Key(from.Name))
			if err != nil {
				return err.Error()
			}
			to.Tell(from, &mesh.HeadTell{Head: &store.HeadRecord{Env: "production", Certificate: store.Certificate{Value: value, Votes: votes}}})
		case "object": // forge object from A to B: bytes under another's hash
			to.Tell(from, &mesh.Put{Objects: []mesh.Object{{Hash: store.HashOf([]byte("good")), Data: []byte("bad")}}})
		case "accept": // forge accept LABEL from A to B: a value that no publisher signed, at a high ballot
			r := s.revisions[f[1]]
			value, err := codec.Marshal(store.HeadValue{Version: r.revision.Version, Revision: r.object, Before: before(r)})
			if err != nil {
				return err.Error()
			}
			to.Tell(from, &mesh.Accept{Register: store.HeadRegister("production"), Ballot: store.Ballot{Number: 99, Proposer: from.ID}, Value: value})
		}
	}
	return ""
}

func before(r *labelled) []store.Hash {
	if r.revision.Parent.IsZero() {
		return nil
	}
	return []store.Hash{r.revision.Parent}
}

func (s *scenario) expect(f []string) string {
	switch f[0] {
	case "applied": // expect applied LABEL NODES
		return s.expectEach(f[2], func(n *meshtest.Node) string {
			if len(n.Applied) == 0 {
				return "applied nothing"
			}
			return "applied " + s.names[n.Applied[len(n.Applied)-1].Revision]
		}, "applied "+f[1])
	case "nothing": // expect nothing applied NODES
		return s.expectEach(f[2], func(n *meshtest.Node) string { return fmt.Sprintf("%d runs", len(n.Applied)) }, "0 runs")
	case "outcome": // expect outcome LABEL OUTCOME
		a := s.answer(f[1])
		if a == nil {
			return "no answer"
		}
		if p, ok := a.Value.(mesh.Pushed); !ok || string(p.Outcome) != f[2] {
			return fmt.Sprintf("%+v", a)
		}
		return ""
	case "refused": // expect refused LABEL
		if a := s.answer(f[1]); a == nil || a.Err == nil {
			return fmt.Sprintf("%+v", a)
		}
		return ""
	case "copies": // expect copies LABEL: every object is on all its owners
		return s.expectCopies(f[1])
	case "holds": // expect holds LABEL NODES
		return s.expectEach(f[2], func(n *meshtest.Node) string {
			for _, body := range s.revisions[f[1]].objects {
				if !n.Holds(store.HashOf(body)) {
					return "lacks an object"
				}
			}
			return "all"
		}, "all")
	case "staged": // expect staged N at NODE
		return s.expectEach(f[3], func(n *meshtest.Node) string { return strconv.Itoa(len(n.Core.Staged())) }, f[1])
	case "acceptors": // expect acceptors N at NODES
		return s.expectEach(f[3], func(n *meshtest.Node) string { return strconv.Itoa(len(acceptors(s.w, n))) }, f[1])
	case "members": // expect members N at NODES
		return s.expectEach(f[3], func(n *meshtest.Node) string { return strconv.Itoa(len(n.Core.Members())) }, f[1])
	}
	return "no such expectation"
}

func (s *scenario) expectEach(list string, is func(*meshtest.Node) string, want string) string {
	var wrong []string
	for _, n := range s.nodes(list) {
		if got := is(n); got != want {
			wrong = append(wrong, n.Name+" "+got)
		}
	}
	return strings.Join(wrong, ", ")
}

func (s *scenario) expectCopies(label string) string {
	r := s.w.Nodes()[0].Core.Ring()
	for _, body := range s.revisions[label].objects {
		h := store.HashOf(body)
		for _, id := range r.Owners(r.PartitionOf(h[:]), mesh.DefaultReplicas) {
			for _, n := range s.w.Nodes() {
				if n.ID == id && !n.Holds(h) {
					return fmt.Sprintf("%s lacks an object", n.Name)
				}
			}
		}
	}
	return ""
}

// status NODE: what it gathers of all.
func (s *scenario) status(name string) string {
	n := s.w.Node(name)
	id := n.Ask(func(id uint64) mesh.Event { return mesh.AskStatus{ID: id} })
	if !s.w.RunUntil(5*time.Second, func() bool { _, ok := n.Answers[id]; return ok }) {
		return "no answer"
	}
	for _, l := range n.Answers[id].Value.(mesh.Gathered).Logs {
		for _, of := range s.w.Nodes() {
			if of.ID == l.Node {
				s.see(fmt.Sprintf("%s: version %d %s, entry %d", of.Name, l.Version, l.Result, l.Seq))
			}
		}
	}
	return ""
}
