package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shoal/internal/fleet"
)

// Three operators, two of whom must sign, rule a mesh of three: what they publish at one node counts on each.
func TestCeremony(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	c := ceremony{w}
	people := []string{"alice", "bob", "carol"}
	for _, who := range append(people, "mallory") {
		c.key(who)
	}
	genesis := c.file("genesis")
	c.as("alice").ok("init", "--operators", strings.Join([]string{c.file("alice.pub"), c.file("bob.pub"), c.file("carol.pub")}, ","),
		"--threshold", "2", "-o", genesis)
	for _, who := range people[1:] {
		c.as(who).ok("trust", "sign", genesis, "--yes")
	}
	for _, who := range people {
		c.as(who).ok("trust", "publish", genesis)
	}
	if err := os.WriteFile(filepath.Join(w.Dir, "carol", "gossip.key"), c.read("alice/gossip.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	ticket := c.ticket()
	for i := range 3 {
		n := w.Add(fmt.Sprintf("n%d", i+1))
		flags := []string{"--ticket", ticket}
		if i > 0 {
			flags = append(flags, "--join", w.Nodes[0].Addr)
		}
		w.start(n, flags...)
		w.answers(n)
	}
	w.together(w.Nodes...)
	t.Run("a publisher comes and goes", func(t *testing.T) { ceremony{w.in(t)}.publisher(ticket) })
	t.Run("an eviction", func(t *testing.T) { ceremony{w.in(t)}.evict() })
	t.Run("an operator goes", func(t *testing.T) { ceremony{w.in(t)}.removal() })
}

type ceremony struct{ *world }

func (c ceremony) as(who string) ceremony {
	c.Home = filepath.Join(c.Dir, who)
	return c
}

func (c ceremony) file(name string) string { return filepath.Join(c.Dir, name) }

func (c ceremony) read(name string) []byte {
	data, err := os.ReadFile(c.file(name))
	if err != nil {
		c.t.Fatal(err)
	}
	return data
}

func (c ceremony) key(who string) {
	if err := os.WriteFile(c.file(who+".pub"), []byte(c.as(who).ok("trust", "key").Stdout), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

func (c ceremony) ticket() string {
	c.as("alice").ok("ticket", "--tag", "role=web", "--uses", "3", "-o", c.file("ticket.p"))
	c.as("bob").ok("trust", "sign", c.file("ticket.p"), "--yes")
	return strings.TrimSpace(c.as("alice").ok("trust", "publish", c.file("ticket.p")).Stdout)
}

type trustShown struct {
	Height     int
	Threshold  int
	Operators  []struct{ Key string }
	Publishers []struct{ Key string }
}

// height waits until every node has a trust chain of this height.
func (c ceremony) height(want int) {
	for _, n := range c.Nodes {
		c.eventually(fmt.Sprintf("%s has height %d", n.Name, want), func() error {
			var got trustShown
			err := c.JSON(c.ctx, &got, "trust", "show", "--node", n.Socket())
			if err == nil && got.Height != want {
				err = fmt.Errorf("height %d", got.Height)
			}
			return err
		})
	}
}

func (c ceremony) publisher(ticket string) {
	n1, n2, n3 := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	c.as("dave").ok("trust", "update", "--ticket", ticket)
	c.key("dave")
	tree := c.motd("dave", "dave's\n")
	c.as("dave").shoal(5, "push", tree, "--node", n1.Socket())

	grant := c.file("grant.p")
	c.as("alice").ok("trust", "propose", "grant-publisher", c.file("dave.pub"), "--env", "production", "-o", grant)
	c.as("carol").shoal(5, "trust", "publish", grant, "--node", n2.Socket())
	c.as("bob").ok("trust", "sign", grant, "--yes")
	c.as("carol").ok("trust", "publish", grant, "--node", n2.Socket())
	c.height(1)
	for _, n := range []*fleet.Node{n1, n3} {
		c.as("dave").ok("push", tree, "--node", n.Socket())
	}
	c.holds("etc/motd", "dave's\n", c.Nodes...)
	c.as("dave").shoal(5, "push", tree, "--env", "staging", "--node", n1.Socket())

	revoke, older := c.file("revoke.p"), c.file("older.p")
	c.as("alice").shoal(5, "trust", "propose", "revoke-publisher", c.file("dave.pub"), "-o", revoke) // her copy is of height 0
	c.as("alice").ok("trust", "update", "--node", n1.Socket())
	c.as("alice").ok("trust", "propose", "revoke-publisher", c.file("dave.pub"), "-o", revoke)
	c.as("carol").ok("trust", "propose", "add-operator", c.file("mallory.pub"), "-o", older)
	c.as("bob").shoal(5, "trust", "sign", revoke, "--yes") // a gap
	c.as("bob").ok("trust", "update", "--node", n3.Socket())
	c.as("bob").ok("trust", "sign", revoke, "--yes")
	c.as("alice").ok("trust", "publish", revoke, "--node", n3.Socket())
	c.height(2)
	if res := c.as("alice").shoal(5, "trust", "sign", older, "--yes"); !strings.Contains(res.Stderr, "out of date") {
		c.t.Errorf("an older proposal: %s", res.Stderr)
	}
	c.as("carol").shoal(5, "trust", "publish", older, "--node", n1.Socket())

	n2.Kill() // what it knows is on its disk
	c.start(n2)
	c.answers(n2)
	again := c.motd("again", "dave's again\n")
	for _, n := range c.Nodes {
		c.as("dave").shoal(5, "push", again, "--node", n.Socket())
	}
	c.as("mallory").shoal(2, "push", again, "--node", n1.Socket())
	c.as("carol").ok("push", c.motd("carol", "carol's\n"), "--wait", "--node", n2.Socket())
	c.holds("etc/motd", "carol's\n", c.Nodes...)
	c.height(2)
}

func (c ceremony) evict() {
	n1, n3 := c.Nodes[0], c.Nodes[2]
	file := c.file("evict.p")
	c.as("carol").shoal(2, "evict", "n3", "--node", n1.Socket())
	c.as("carol").ok("evict", "n3", "--node", n1.Socket(), "-o", file)
	c.as("carol").shoal(5, "trust", "publish", file, "--node", n1.Socket())
	c.as("bob").ok("trust", "sign", file, "--yes")
	c.as("bob").ok("trust", "publish", file, "--node", n1.Socket())
	c.says(n3, "level=WARN", "evicted")
	if err := n3.Stop(); err != nil {
		c.t.Error(err)
	}
	c.eventually("n2 knows", func() error { return c.seesOnly(c.Nodes[1], "n1", "n2") })
}

// removal: the word of an operator who goes lapses, so what rests on it is signed anew first.
func (c ceremony) removal() {
	n1, n2 := c.Nodes[0], c.Nodes[1]
	grants, remove := c.file("grants.p"), c.file("remove.p")
	c.as("alice").ok("trust", "propose", "grants", "-o", grants, "--node", n1.Socket())
	c.as("carol").ok("trust", "sign", grants, "--yes")
	c.as("carol").ok("trust", "publish", grants, "--node", n2.Socket())
	c.as("alice").ok("trust", "propose", "remove-operator", c.file("bob.pub"), "-o", remove)
	c.as("carol").ok("trust", "update", "--node", n1.Socket())
	c.as("carol").ok("trust", "sign", remove, "--yes")
	c.as("carol").ok("trust", "publish", remove, "--node", n1.Socket())
	for _, n := range []*fleet.Node{n1, n2} {
		c.eventually(n.Name+" has two operators", func() error {
			var got trustShown
			err := c.JSON(c.ctx, &got, "trust", "show", "--node", n.Socket())
			if err == nil && (got.Height != 3 || len(got.Operators) != 2) {
				err = errors.New("not yet")
			}
			return err
		})
		c.as("bob").shoal(5, "push", c.motd("bob", "bob's\n"), "--node", n.Socket())
		if err := c.seesOnly(n, "n1", "n2"); err != nil {
			c.t.Error(err)
		}
	}
	c.as("carol").ok("push", c.motd("end", "the end\n"), "--wait", "--node", n1.Socket())
	c.holds("etc/motd", "the end\n", n1, n2)
}
