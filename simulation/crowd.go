package simulation

import (
	"fmt"
	"math/rand/v2"
	"time"

	"shoal/mesh"
	"shoal/store"
)

// crowd are the people who push.
type crowd struct {
	w       *World
	clients []*client
	ops     []*op
	over    bool // nobody begins anything new

	favourite *Node // to which all turn, for a while
	till      time.Duration
}

// client does one thing after the other.
type client struct {
	w      *World
	num    int
	dice   *rand.Rand
	waits  int                   // for so many answers
	known  map[string]store.Head // newest that it was told of
	mine   []store.Hash
	pushed int
}

// op is one attempt at a push, for the history.
type op struct {
	client   int
	env      string
	revision store.Hash // zero: it asks what the head is
	node     string
	began    time.Duration
	ended    time.Duration // 0: never answered
	outcome  store.Outcome
	head     store.Head
}

func newCrowd(w *World) crowd {
	c := crowd{w: w}
	for i := range w.plan.Clients {
		c.clients = append(c.clients, &client{
			w: w, num: i, dice: rand.New(rand.NewPCG(w.plan.Seed, 0xc11e+uint64(i))), known: map[string]store.Head{},
		})
	}
	return c
}

// patience is how long a client waits for an answer, and tries how often it asks somebody else then.
const (
	patience = 20 * time.Second
	tries    = 4
)

func (c *client) begin() { c.w.after(c.pause(), c.act) }

// pause is mostly short: it is when several push at once that something can go wrong.
func (c *client) pause() time.Duration {
	if c.dice.IntN(3) == 0 {
		return time.Duration(c.dice.IntN(40)) * time.Millisecond
	}
	return time.Duration(c.dice.IntN(6000)*max(1, c.w.plan.Stretch)) * time.Millisecond
}

func (c *client) act() {
	if c.w.crowd.over || c.w.now > settling+c.w.plan.Length {
		return
	}
	env := c.w.plan.envs()[c.dice.IntN(c.w.plan.Envs)]
	n := c.choose()
	if n == nil {
		c.begin()
		return
	}
	if c.dice.IntN(4) == 0 {
		c.read(n, env, c.begin)
		return
	}
	if len(c.mine) > 0 && c.dice.IntN(8) == 0 {
		again := c.mine[c.dice.IntN(len(c.mine))]
		c.push(n, again, tries, c.begin)
		return
	}
	c.push(n, c.make(env, c.parent(n, env)), tries, c.begin)
}

// rush has everybody push at once, whatever else they do, and mostly at the two nodes, where they are named.
func (c *crowd) rush(a, b *Node) {
	for _, client := range c.clients {
		n := client.choose()
		for _, named := range []*Node{a, b} {
			if named != nil && named.up && !named.halted && !named.gone && client.dice.IntN(3) == 0 {
				n = named
			}
		}
		if n != nil && !c.over {
			env := c.w.plan.envs()[client.dice.IntN(c.w.plan.Envs)]
			client.push(n, client.make(env, client.parent(n, env)), tries, func() {})
		}
	}
}

// gather has all who begin something in the next seconds turn to one node, where one pushes at once.
func (c *crowd) gather(n *Node, d time.Duration) {
	c.favourite, c.till = n, c.w.now+d
	client := c.clients[0]
	if at := client.choose(); at != nil && !c.over {
		env := c.w.plan.envs()[client.dice.IntN(c.w.plan.Envs)]
		client.push(at, client.make(env, client.parent(at, env)), tries, func() {})
	}
}

// choose picks any node that would take a connection.
func (c *client) choose() *Node {
	if f := c.w.crowd.favourite; f != nil && c.w.now < c.w.crowd.till && f.up && !f.halted && !f.gone && !f.evicted {
		return f
	}
	running := c.w.running()
	if len(running) == 0 {
		return nil
	}
	return running[c.dice.IntN(len(running))]
}

// parent is what a new revision is to be put on: mostly the newest head that the node or the client knows.
func (c *client) parent(n *Node, env string) store.Head {
	head := n.core.Heads()[env]
	if c.dice.IntN(6) == 0 {
		for _, r := range n.core.Staged() {
			if r.Env == env && r.Version > head.Version {
				head = store.Head{Env: env, Version: r.Version, Revision: r.Revision} // on what waits itself
			}
		}
	}
	if mine := c.known[env]; mine.Version > head.Version || c.dice.IntN(10) == 0 {
		return mine
	}
	return head
}

// make makes a revision of a few small files, some of which it shares with others.
func (c *client) make(env string, parent store.Head) store.Hash {
	c.pushed++
	r := store.Revision{
		Env: env, Version: parent.Version + 1, Parent: parent.Revision, Kind: store.KindPush,
		Message: fmt.Sprintf("%d of client %d", c.pushed, c.num+1),
	}
	files := map[string]string{"site.yaml": r.Message, "same": "same", fmt.Sprint("f", c.dice.IntN(6)): fmt.Sprint(c.dice.IntN(9))}
	h, objects := c.w.objectsOf(r, files)
	c.w.judge.makes(h, r, objects)
	c.mine = append(c.mine, h)
	return h
}

// push brings a revision to a node; when no answer comes, to others, up to left times in all. Then it goes on with then.
func (c *client) push(n *Node, h store.Hash, left int, then func()) {
	made := c.w.judge.made[h]
	o := &op{client: c.num, env: made.Env, revision: h, node: n.Name, began: c.w.now}
	c.w.crowd.ops = append(c.w.crowd.ops, o)
	c.waits++
	done := false
	finish := func(a mesh.Answer, err error) {
		if done {
			return
		}
		done = true
		c.waits--
		c.answered(o, left, then, a, err)
	}
	c.w.after(patience, func() { finish(mesh.Answer{}, errLost) })
	c.w.note(n, "client %d pushes %s, version %d on %s", c.num+1, h.Short(), made.Version, made.Parent.Short())
	c.w.after(c.w.millis(0, 3), func() { n.take(made, finish) })
}

// read asks a node what the head of an environment is.
func (c *client) read(n *Node, env string, then func()) {
	o := &op{client: c.num, env: env, node: n.Name, began: c.w.now}
	c.waits++
	done := false
	finish := func(a mesh.Answer, err error) {
		if done {
			return
		}
		done = true
		c.waits--
		if head, ok := a.Value.(store.Head); ok && err == nil && a.Err == nil {
			o.ended, o.head = c.w.now, head
			c.w.crowd.ops = append(c.w.crowd.ops, o)
			c.w.note(nil, "client %d reads at %s: %s %d %s", c.num+1, n.Name, env, head.Version, head.Revision.Short())
		}
		then()
	}
	c.w.after(patience, func() { finish(mesh.Answer{}, errLost) })
	c.w.after(c.w.millis(0, 3), func() {
		n.ask(func(id uint64) mesh.Event { return mesh.AskHead{ID: id, Env: env} }, finish)
	})
}

// readAll has somebody ask for each head.
func (c *crowd) readAll() {
	for _, env := range c.w.plan.envs() {
		if n := c.clients[0].choose(); n != nil {
			c.clients[0].read(n, env, func() {})
		}
	}
}

// take is the node's side of a push: the objects are kept here, then the Core is asked.
func (n *Node) take(made *made, finish func(mesh.Answer, error)) {
	// Whoever signs the first revision of an environment sees who is there. Begun on an island as well it would be begun twice:
	// docs/decisions/register-creation.md, "Its limits".
	first := made.Version == 1 && n.w.strangers>>n.num&1 == 1
	if !n.up || n.halted || first {
		finish(mesh.Answer{}, errLost)
		return
	}
	life := n.life
	n.later(n.w.millis(1, 4), func() {
		ev := n.store(made.objects)
		if !n.up || n.life != life || ev.Err != nil {
			n.w.after(0, func() { finish(mesh.Answer{}, errLost) })
			return
		}
		n.step(ev)
		n.ask(func(id uint64) mesh.Event { return mesh.Push{ID: id, Object: made.object} }, func(a mesh.Answer, err error) {
			if pushed, ok := a.Value.(mesh.Pushed); ok && pushed.Outcome == store.Staged && n.up && n.life == life {
				n.w.judge.stage(n, store.HashOf(made.object))
			}
			finish(a, err)
		})
	})
}

func (c *client) answered(o *op, left int, then func(), a mesh.Answer, err error) {
	pushed, ok := a.Value.(mesh.Pushed)
	if err == nil && a.Err == nil && ok {
		o.ended, o.outcome, o.head = c.w.now, pushed.Outcome, pushed.Head
		c.w.note(nil, "client %d hears: %s %s; %s", c.num+1, o.revision.Short(), pushed.Outcome, pushed.Why)
		if pushed.Head.Version > c.known[o.env].Version {
			c.known[o.env] = pushed.Head
		}
		c.w.judge.acknowledged(o)
		then()
		return
	}
	c.w.note(nil, "client %d has no answer about %s", c.num+1, o.revision.Short())
	if left <= 1 {
		then()
		return
	}
	c.waits++
	c.w.after(time.Duration(c.dice.IntN(800))*time.Millisecond, func() {
		c.waits--
		if n := c.choose(); n != nil {
			c.push(n, o.revision, left-1, then)
		} else {
			then()
		}
	})
}
