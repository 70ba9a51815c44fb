package mesh_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// runs lets a node report one run after another; their reports are "NODE run N".
func runs(n *meshtest.Node, from, to int) {
	for i := from; i <= to; i++ {
		n.Ask(func(uint64) mesh.Event {
			return mesh.Reported{Summary: mesh.Summary{
				Env: "production", Version: uint64(i), Result: "converged",
			}, Report: fmt.Appendf(nil, "%s run %d", n.Name, i)}
		})
	}
}

// logOf asks a node for another's log.
func logOf(t *testing.T, w *meshtest.Network, at, of *meshtest.Node, from, to uint64) mesh.History {
	t.Helper()
	id := at.Ask(func(id uint64) mesh.Event { return mesh.AskHistory{ID: id, Node: of.ID, From: from, To: to} })
	if !w.RunUntil(5*time.Second, func() bool { _, ok := at.Answers[id]; return ok }) {
		t.Fatal("no answer")
	}
	a := at.Answers[id]
	if a.Err != nil {
		t.Fatal(a.Err)
	}
	return a.Value.(mesh.History)
}

// reported asks a node for a run of another.
func reported(t *testing.T, w *meshtest.Network, at *meshtest.Node, l mesh.NodeLog) string {
	t.Helper()
	id := at.Ask(func(id uint64) mesh.Event { return mesh.AskReport{ID: id, Node: l.Node, Report: l.Report} })
	w.RunUntil(5*time.Second, func() bool { _, ok := at.Answers[id]; return ok })
	data, _ := at.Answers[id].Value.([]byte)
	return string(data)
}

// wantRuns compares the runs of a history, in order.
func wantRuns(t *testing.T, what string, h mesh.History, from, to int) {
	t.Helper()
	next := from
	for i, l := range h.Entries {
		if i > 0 && l.Seq != h.Entries[i-1].Seq+1 {
			t.Errorf("%s: entry %d comes after %d", what, l.Seq, h.Entries[i-1].Seq)
		}
		if l.Kind != "report" {
			continue
		}
		if l.Version != uint64(next) {
			t.Errorf("%s: run %d in the place of %d", what, l.Version, next)
			return
		}
		next++
	}
	if next != to+1 {
		t.Errorf("%s: runs %d to %d, not to %d", what, from, next-1, to)
	}
}

func grown(seed uint64, n int, configure func(*meshtest.Node, *mesh.Config)) *meshtest.Network {
	w := meshtest.New(seed)
	if configure != nil {
		w.Configure = configure
	}
	var via *meshtest.Node
	for i := range n {
		via = w.Add(fmt.Sprint("n", i+1), via)
		w.Run(time.Second)
	}
	w.Run(8 * time.Second)
	return w
}

// What a node reported is read from others when it is gone, every entry and every report; also when those who kept it have
// changed since, and were never told anything by the node itself.
func TestHistoryOutlivesItsWriter(t *testing.T) {
	w := grown(31, 5, func(_ *meshtest.Node, c *mesh.Config) { c.Grace = time.Minute })
	writer := w.Node("n2")
	runs(writer, 1, 60)
	w.Run(time.Minute)
	w.Kill(writer)
	w.Run(3 * time.Second)
	for _, at := range w.Nodes() {
		if at.Up {
			wantRuns(t, at.Name, logOf(t, w, at, writer, 1, 0), 1, 60)
		}
	}
	// The ring leaves it out; then others come and those who had it go, one after the other, each after it has handed over.
	pass := func(least int) {
		for range 300 {
			w.Run(time.Second)
			whole := 0
			for _, at := range w.Nodes() {
				if at.Up && runsOf(at, writer) >= 60 {
					whole++
				}
			}
			if whole < least {
				t.Fatalf("%d nodes have it whole", whole)
			}
		}
	}
	pass(2)
	for _, name := range []string{"n6", "n7", "n8", "n9"} {
		w.Add(name, w.Node("n1"))
		pass(3)
	}
	for _, name := range []string{"n3", "n4"} {
		w.Kill(w.Node(name))
		pass(2)
	}
	for _, at := range w.Nodes() {
		if !at.Up {
			continue
		}
		h := logOf(t, w, at, writer, 1, 0)
		wantRuns(t, at.Name, h, 1, 60)
		for _, l := range h.Entries {
			if l.Kind == "report" && l.Version%20 == 0 {
				if got := reported(t, w, at, l); got != fmt.Sprintf("n2 run %d", l.Version) {
					t.Errorf("%s reads run %d as %q", at.Name, l.Version, got)
				}
			}
		}
	}
	kept := 0
	for _, at := range w.Nodes() {
		if at.Up && entriesOf(at, writer) > 0 {
			kept++
		}
	}
	if kept != mesh.DefaultReplicas {
		t.Errorf("%d nodes keep it", kept)
	}
}

// entriesOf counts the saved entries of a log.
func entriesOf(at, of *meshtest.Node) (n int) {
	for key := range at.Saved() {
		if strings.HasPrefix(key, mesh.SavePrefix+"entry/"+string(of.ID)) {
			n++
		}
	}
	return n
}

func runsOf(at, of *meshtest.Node) (n int) {
	for key := range at.Saved() {
		if strings.HasPrefix(key, mesh.SavePrefix+"run/"+string(of.ID)) {
			n++
		}
	}
	return n
}

// A node that was cut off has written more than fits into one message; the keepers catch up by ranges when they see it again.
func TestLogCatchesUpAfterAPartition(t *testing.T) {
	w := grown(32, 4, nil)
	n := w.Nodes()
	runs(n[0], 1, 10)
	w.Run(30 * time.Second)
	w.Partition(n[:1], n[1:])
	w.Run(10 * time.Second)
	runs(n[0], 11, 500)
	wantRuns(t, "the other side", logOf(t, w, n[2], n[0], 1, 0), 1, 10)
	w.Heal()
	w.Run(2 * time.Minute)
	w.Kill(n[0])
	w.Run(5 * time.Second)
	wantRuns(t, "afterwards", logOf(t, w, n[2], n[0], 2, 100), 1, 99)
	h := logOf(t, w, n[2], n[0], 1, 0)
	wantRuns(t, "the newest", h, 500-len(h.Entries)+1, 500)
}

// A log is kept down to the mark that its node signs, by the node and by all keepers, and its reports down to another.
func TestLowWaterMark(t *testing.T) {
	w := grown(33, 3, func(_ *meshtest.Node, c *mesh.Config) { c.LogEntries, c.LogBytes = 100, 40_000 })
	n := w.Nodes()
	for i := 1; i <= 400; i++ {
		runs(n[0], i, i)
		w.Run(time.Second)
	}
	w.Run(time.Minute)
	h := logOf(t, w, n[1], n[0], 1, 0)
	wantRuns(t, "the newest", h, 401-countRuns(h), 400)
	if h.Low < 250 || len(h.Entries) < 75 {
		t.Errorf("low-water mark %d, %d entries", h.Low, len(h.Entries))
	}
	for _, at := range n {
		if entries, reports := entriesOf(at, n[0]), runsOf(at, n[0]); entries > 120 || entries < 75 || reports < 64 || reports > entries {
			t.Errorf("%s keeps %d entries and %d reports", at.Name, entries, reports)
		}
	}
	w.Kill(n[1])
	w.Restart(n[1])
	w.Run(time.Minute)
	wantRuns(t, "after a restart", logOf(t, w, n[1], n[0], h.Entries[1].Seq, 0), int(h.Entries[1].Version), 400)
}

func countRuns(h mesh.History) (n int) {
	for _, l := range h.Entries {
		if l.Kind == "report" {
			n++
		}
	}
	return n
}

// A node whose disk went back asks before it writes: it goes on where it was, and there is no second entry of any number.
func TestOldDiskDoesNotFork(t *testing.T) {
	w := grown(34, 4, nil)
	n := w.Nodes()
	runs(n[0], 1, 10)
	w.Run(30 * time.Second)
	image := n[0].Image()
	runs(n[0], 11, 40)
	w.Run(30 * time.Second)
	w.Kill(n[0])
	n[0].Restore(image)
	w.Restart(n[0])
	runs(n[0], 41, 50)
	w.Run(time.Minute)
	h := logOf(t, w, n[2], n[0], 1, 0)
	wantRuns(t, "afterwards", h, 1, 50)
	if h.Fork != nil {
		t.Errorf("forked at %d", h.ForkAt)
	}
}

// twofold is a mesh whose first node wrote up to run lost, went back to run 10 with its disk, and wrote from there on to run last while
// nobody could tell it. Then they meet.
func twofold(seed uint64, lost, last int) *meshtest.Network {
	w := grown(seed, 4, nil)
	n := w.Nodes()
	runs(n[0], 1, 10)
	w.Run(30 * time.Second)
	image := n[0].Image()
	runs(n[0], 11, lost)
	w.Run(30 * time.Second)
	w.Kill(n[0])
	n[0].Restore(image)
	w.Partition(n[:1], n[1:])
	w.Restart(n[0])
	w.Run(10 * time.Second)
	runs(n[0], lost+1, last)
	w.Run(10 * time.Second)
	w.Heal()
	w.Run(2 * time.Minute)
	return w
}

// One that nobody could tell writes its numbers twice. All see the fork, with a proof; what stays is one chain, with what was
// written on the other branch at its end, and a word about it.
func TestForkIsShown(t *testing.T) {
	w := twofold(35, 40, 45)
	n := w.Nodes()
	for _, at := range n {
		h := logOf(t, w, at, n[0], 1, 0)
		wantRuns(t, at.Name, h, 1, 45)
		if h.Fork == nil {
			t.Errorf("%s does not know of the fork", at.Name)
		}
		told := false
		for _, l := range h.Entries {
			told = told || l.Kind == "fork"
		}
		if !told {
			t.Errorf("%s: the log does not say that it was forked", at.Name)
		}
	}
	id := n[3].Ask(func(id uint64) mesh.Event { return mesh.AskStatus{ID: id} })
	w.Run(5 * time.Second)
	if g := n[3].Answers[id].Value.(mesh.Gathered); len(g.Forked) != 1 || g.Forked[0] != n[0].ID {
		t.Errorf("status: forked are %v", g.Forked)
	}
	last := logOf(t, w, n[2], n[0], 1, 0).Entries
	if got := reported(t, w, n[2], last[len(last)-1]); got != "n1 run 45" {
		t.Errorf("the last report is %q", got)
	}
}

// The branch that has gone further while its node was away stays, whichever that is: here the one of the old disk.
func TestForkWithALongerNewBranch(t *testing.T) {
	w := twofold(36, 14, 60)
	n := w.Nodes()
	for _, at := range n {
		h := logOf(t, w, at, n[0], 1, 0)
		if h.Fork == nil || h.Entries[len(h.Entries)-1].Version != 60 {
			t.Errorf("%s: forked %v, %d entries", at.Name, h.Fork != nil, len(h.Entries))
		}
		for i := 1; i < len(h.Entries); i++ {
			if h.Entries[i].Seq != h.Entries[i-1].Seq+1 {
				t.Errorf("%s: a gap before entry %d", at.Name, h.Entries[i].Seq)
			}
		}
	}
}

// seal signs an entry as a node that was broken into may.
func seal(t *testing.T, n *meshtest.Node, seq uint64, prev store.Hash, kind string, body any) store.SealedEntry {
	t.Helper()
	data, err := codec.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	e, err := store.SealLogEntry(store.LogEntry{Node: n.ID, Seq: seq, Prev: prev, Kind: kind, Body: data}, meshtest.Key(n.Name))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A member can neither write another's log, nor fill others' disks with its own, nor wipe its traces with one mark.
func TestLogOfABadMember(t *testing.T) {
	w := grown(37, 3, func(_ *meshtest.Node, c *mesh.Config) { c.LogEntries, c.LogBytes = 100, 100_000 })
	n := w.Nodes()
	bad, victim := n[0], n[1]
	runs(bad, 1, 90)
	runs(victim, 1, 5)
	w.Run(time.Minute)

	body, _ := codec.Marshal(mesh.Summary{Version: 66})
	forged, err := membership.Sign(membership.DomainNodeLog, store.LogEntry{
		Node: victim.ID, Seq: 50, Prev: store.HashOf(nil), Kind: "report", Body: body,
	}, meshtest.Key(bad.Name))
	raw, _ := codec.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	n[2].Tell(bad, &mesh.LogRange{Node: victim.ID, Entries: [][]byte{raw}})
	w.Run(time.Minute)
	h := logOf(t, w, n[2], victim, 1, 0)
	wantRuns(t, "the victim's", h, 1, 5)

	last := logOf(t, w, n[2], bad, 1, 0)
	seq := last.Entries[len(last.Entries)-1].Seq + 1
	mark := seal(t, bad, seq, store.HashOf(nil), "mark", map[int]uint64{1: seq, 2: seq})
	w.Kill(bad)
	n[2].Tell(bad, &mesh.LogRange{Node: bad.ID, Entries: [][]byte{mark.Raw}})
	w.Run(time.Minute)
	if entries := entriesOf(n[2], bad); entries < 63 {
		t.Errorf("%d entries are left after a mark that takes all", entries)
	}

	prev := mark
	for i := range uint64(2000) {
		prev = seal(t, bad, seq+1+i, prev.Hash, "event", mesh.Occurrence{What: strings.Repeat("x", 900)})
		n[2].Tell(bad, &mesh.LogRange{Node: bad.ID, Entries: [][]byte{prev.Raw}})
	}
	bytes := 0
	for key, data := range n[2].Saved() {
		if strings.Contains(key, string(bad.ID)) {
			bytes += len(data)
		}
	}
	if entries := entriesOf(n[2], bad); entries > 200 || bytes > 400_000 {
		t.Errorf("a bad member's log takes %d entries, %d bytes", entries, bytes)
	}
	far := seal(t, bad, 1<<62, prev.Hash, "event", mesh.Occurrence{What: "far away"})
	n[2].Tell(bad, &mesh.LogRange{Node: bad.ID, Entries: [][]byte{far.Raw}})
	w.Run(time.Minute)
	if entries := entriesOf(n[2], bad); entries > 200 {
		t.Errorf("%d entries", entries)
	}
}

// A report that rots on a keeper's disk comes from another.
func TestLostReportComesBack(t *testing.T) {
	w := grown(38, 3, nil)
	n := w.Nodes()
	runs(n[0], 1, 3)
	w.Run(30 * time.Second)
	h := logOf(t, w, n[1], n[0], 1, 0)
	l := h.Entries[len(h.Entries)-2]
	key := mesh.RunKey(n[0].ID, l.Report)
	if n[1].Saved()[key] == nil {
		t.Fatal("not kept")
	}
	n[1].Saved()[key] = []byte("rot")
	if got := reported(t, w, n[1], l); got == "rot" {
		t.Error("rot is served")
	}
	w.Run(10 * time.Second)
	if got := string(n[1].Saved()[key]); got != "n1 run 2" {
		t.Errorf("it is %q", got)
	}
}
