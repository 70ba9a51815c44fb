package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shoal/internal/fleet"
)

// Whoever is not an operator of this mesh changes nothing in it, and whoever is not let in is told why.
func TestTrust(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mesh(3)
	n1, n2, n3 := w.Nodes[0], w.Nodes[1], w.Nodes[2]
	w.ok("push", w.motd("good", "ours\n"), "--wait", "--node", n1.Socket())

	t.Run("a push of another operator", func(t *testing.T) { w.strangersPush(t, n2) })
	t.Run("a ticket of another mesh", func(t *testing.T) { w.strangersTicket(t, n1) })
	t.Run("a ticket that is used up", func(t *testing.T) { w.usedTicket(t, n2) })
	t.Run("a name that is taken", func(t *testing.T) { w.takenName(t, n3) })
	t.Run("an expired ticket", func(t *testing.T) { w.expiredTicket(t, n1) })
	t.Run("claims that were not granted", func(t *testing.T) { w.claims(t, n1) })
	for _, n := range w.Nodes[:3] {
		if err := w.seesOnly(n, "n1", "n2", "n3"); err != nil {
			t.Error(err)
		}
	}
	t.Run("evicted", func(t *testing.T) { w.evicted(t, n1, n2, n3) })
}

func (w *world) seesOnly(n *fleet.Node, names ...string) error {
	var members []member
	if err := w.JSON(w.ctx, &members, "members", "--node", n.Socket()); err != nil {
		return err
	}
	var got []string
	for _, m := range members {
		got = append(got, m.Name)
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		return errors.New(n.Name + " sees " + strings.Join(got, " "))
	}
	return nil
}

// in is the same world for a part of the test.
func (w *world) in(t *testing.T) *world { return &world{Fleet: w.Fleet, t: t, ctx: w.ctx} }

// stranger is the same world for an operator of another cluster.
func (w *world) stranger(t *testing.T) *world {
	own := w.Home
	t.Cleanup(func() { w.Home = own })
	w.Home = filepath.Join(w.Dir, "stranger-"+filepath.Base(t.Name()))
	s := w.in(t)
	s.ok("init")
	return s
}

func (w *world) strangersPush(t *testing.T, n *fleet.Node) {
	s := w.stranger(t)
	before := w.head(n)
	res := s.shoal(5, "push", w.motd("theirs", "theirs\n"), "--node", n.Socket())
	if !strings.Contains(res.Stderr, "not signed") {
		t.Errorf("it does not say why: %s", res.Stderr)
	}
	var told struct{ Env, Status, Why string }
	res = s.shoal(5, "push", "theirs", "--node", n.Socket(), "--json")
	if err := json.Unmarshal([]byte(res.Stdout), &told); err != nil || told.Env != "production" || told.Status != "refused" || told.Why == "" {
		t.Errorf("as JSON: %v, %+v in %s", err, told, res.Stdout)
	}
	res = s.shoal(5, "rollback", "--to", "1", "--node", n.Socket())
	if w.head(n) != before || w.head(w.Nodes[0]) != before {
		t.Error("the head moved")
	}
	if res := s.shoal(5, "evict", "n1", "--node", n.Socket()); res.Stderr == "" {
		t.Error("an eviction is refused without a word")
	}
	w.holds("etc/motd", "ours\n", w.Nodes[:3]...)
}

func (w *world) strangersTicket(t *testing.T, peer *fleet.Node) {
	s := w.stranger(t)
	s.refusedJoin(t, "foreign", peer, s.ticket(t, "--tag", "role=web"), "another mesh")
}

func (w *world) ticket(t *testing.T, flags ...string) string {
	t.Helper()
	return strings.TrimSpace(w.in(t).ok(append([]string{"ticket"}, flags...)...).Stdout)
}

// refusedJoin starts an agent that must not get in, waits until it says why, and sees that the mesh has not taken it.
func (w *world) refusedJoin(t *testing.T, name string, peer *fleet.Node, ticket, why string, flags ...string) {
	t.Helper()
	w = w.in(t)
	n := w.Add(name)
	n.Args = flags
	w.start(n, "--ticket", ticket, "--join", peer.Addr)
	w.says(n, "level=WARN", "could not join", why)
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

func (w *world) usedTicket(t *testing.T, peer *fleet.Node) {
	ticket := w.ticket(t, "--tag", "role=web")
	w = w.in(t)
	first := w.Add("first")
	w.start(first, "--ticket", ticket, "--join", peer.Addr)
	w.sees(peer, "first", "alive")
	w.refusedJoin(t, "second", peer, ticket, "used up")
	w.ok("evict", "first", "--node", peer.Socket())
	w.says(first, "level=WARN", "evicted")
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	w.start(first) // it compiles anew, and knows of its eviction now
	w.answers(first)
	w.putsBack(first, "ours\n")
	if err := first.Stop(); err != nil {
		t.Error(err)
	}
}

func (w *world) takenName(t *testing.T, peer *fleet.Node) {
	w.refusedJoin(t, "double", peer, w.ticket(t, "--tag", "role=web"), "the name is taken", "--name", "n1")
}

func (w *world) expiredTicket(t *testing.T, peer *fleet.Node) {
	w = w.in(t)
	ticket := w.ticket(t, "--ttl", "1ms")
	late := w.Add("late")
	w.start(late, "--ticket", ticket, "--join", peer.Addr)
	if status, err := late.Ended(w.ctx); err != nil || status != 5 {
		t.Errorf("exit status %d, %v", status, err)
	}
	w.says(late, "the ticket expired")
}

func (w *world) claims(t *testing.T, peer *fleet.Node) {
	w = w.in(t)
	for name, c := range map[string]struct{ flags, words []string }{
		"claim-tag":  {[]string{"--tag", "role=db"}, []string{"role=db", "not granted"}},
		"claim-more": {[]string{"--tag", "admin=yes"}, []string{"admin=yes", "not granted"}},
		"claim-zone": {[]string{"--zone", "fra"}, []string{"fra", "not granted"}},
	} {
		n := w.Add(name)
		flags := append([]string{"--ticket", w.ticket(t, "--tag", "role=web"), "--join", peer.Addr}, c.flags...)
		w.start(n, flags...)
		status, err := n.Ended(w.ctx)
		if err != nil || status != 5 {
			t.Errorf("%s: exit status %d, %v", name, status, err)
		}
		w.says(n, c.words...)
	}
}

// evicted takes n3 out while it is down: it does not come back, is told why, and keeps what it had, with the tags that it
// had.
func (w *world) evicted(t *testing.T, n1, n2, n3 *fleet.Node) {
	w = w.in(t)
	n3.Kill()
	w.ok("evict", "n3", "--node", n1.Socket())
	w.sees(n1, "n3", "")
	w.sees(n2, "n3", "")
	w.start(n3)
	w.says(n3, "level=WARN", "could not join", "an operator has evicted this node")
	w.ok("push", w.motd("after", "without n3\n"), "--wait", "--node", n2.Socket())
	w.holds("etc/motd", "without n3\n", n1, n2)
	if err := w.seesOnly(n1, "n1", "n2"); err != nil {
		t.Error(err)
	}
	w.putsBack(n3, "ours\n")
}

// putsBack: a node that belongs to nobody any more keeps enforcing what it has, with the tags that it had.
func (w *world) putsBack(n *fleet.Node, content string) {
	w.t.Helper()
	w.holds("etc/motd", content, n)
	if err := os.Remove(n.Path("etc/motd")); err != nil {
		w.t.Fatal(err)
	}
	w.holds("etc/motd", content, n)
}
