package linear

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing/fstest"
	"time"

	"shoal/mesh"
	"shoal/mesh/api"
	"shoal/store"
)

// Times of the clients.
const (
	askTime   = 2 * time.Second  // after which most clients give up, and do not know
	stageTime = 12 * time.Second // long enough to be told that it is staged
	thinkTime = 20 * time.Millisecond
)

// Node is one that clients can ask. Addr is asked for each time: a host that boots again is elsewhere.
type Node struct {
	Name string
	Addr func() string
}

// clients push and read at random nodes until told to stop.
type clients struct {
	key   ed25519.PrivateKey
	nodes []Node
	envs  []string
	hist  *history

	mu    sync.Mutex
	known map[string]store.Head // the newest that a client was told
}

// ask runs one request at a node, over a connection of its own.
func ask(ctx context.Context, n Node, limit time.Duration, do func(context.Context, *api.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c := api.NewClient(n.Addr())
	defer c.Close()
	return do(ctx, c)
}

func (c *clients) learn(h store.Head) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.Version > c.known[h.Env].Version {
		c.known[h.Env] = h
	}
}

func (c *clients) newest(env string) store.Head {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.known[env]
	h.Env = env
	return h
}

// run is one client. Only ctx ends it; a request that is under way then is waited for.
func (c *clients) run(ctx context.Context, number int, dice *rand.Rand) {
	for made := 0; ctx.Err() == nil; made++ {
		env := c.envs[dice.IntN(len(c.envs))]
		if dice.IntN(3) == 0 {
			c.read(number, env, c.nodes[dice.IntN(len(c.nodes))])
		} else {
			c.push(ctx, number, env, made, dice)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(dice.Int64N(int64(2 * thinkTime)))): // people think between two pushes
		}
	}
}

// read asks a majority for the head. A read that fails shows nothing.
func (c *clients) read(number int, env string, n Node) {
	o := op{Kind: read, Client: number, Nodes: []string{n.Name}, Env: env, Call: c.hist.now()}
	var head store.Head
	err := ask(context.Background(), n, 2*askTime, func(ctx context.Context, a *api.Client) (err error) {
		head, err = a.ConfirmedHead(ctx, env)
		return err
	})
	if err != nil {
		return
	}
	o.Return, o.Version, o.Revision = c.hist.now(), head.Version, head.Revision
	c.hist.add(o)
	c.learn(head)
}

// push makes a revision on the newest head that is known, and sends it until somebody says what became of it, or the client
// has had enough.
func (c *clients) push(ctx context.Context, number int, env string, made int, dice *rand.Rand) {
	parent := c.newest(env)
	object, objects, err := c.sign(store.Revision{
		Env: env, Version: parent.Version + 1, Parent: parent.Revision, Kind: store.KindPush, Author: fmt.Sprint("client ", number),
	}, fmt.Sprintf("client %d, push %d", number, made))
	if err != nil {
		panic(err) // a signature of fixed input
	}
	o := op{Kind: push, Client: number, Env: env, Version: parent.Version + 1, Parent: parent.Revision,
		Revision: store.HashOf(object), Call: c.hist.now()}
	limit := askTime
	if dice.IntN(4) == 0 {
		limit = stageTime
	}
	for tries := 1 + dice.IntN(3); tries > 0 && o.unknown() && (len(o.Nodes) == 0 || ctx.Err() == nil); tries-- {
		n := c.nodes[dice.IntN(len(c.nodes))]
		o.Nodes = append(o.Nodes, n.Name)
		if res, err := pushAt(n, objects, o.Revision, limit); err != nil {
			o.Outcome, o.Told = "", err.Error()
		} else {
			o.Outcome, o.Told = res.Status, res.Why
			if res.Head != nil {
				c.learn(store.Head{Env: env, Version: res.Head.Version, Revision: res.Head.Revision})
			}
		}
	}
	o.Return = c.hist.now()
	c.hist.add(o)
	switch {
	case o.Outcome == store.Committed:
		c.learn(store.Head{Env: env, Version: o.Version, Revision: o.Revision})
	case o.Outcome == "" && dice.IntN(2) == 0:
		c.catchUp(env, c.nodes[dice.IntN(len(c.nodes))])
	}
}

// catchUp takes what a node knows for the newest; it may be old, and is not part of the history.
func (c *clients) catchUp(env string, n Node) {
	_ = ask(context.Background(), n, askTime, func(ctx context.Context, a *api.Client) error {
		head, err := a.Head(ctx, env)
		if err == nil {
			c.learn(head)
		}
		return err
	})
}

func pushAt(n Node, objects [][]byte, revision store.Hash, limit time.Duration) (res mesh.PushResult, err error) {
	err = ask(context.Background(), n, limit, func(ctx context.Context, a *api.Client) error {
		if err := a.Put(ctx, objects); err != nil {
			return err
		}
		res, err = a.Push(ctx, api.PushRequest{Revision: revision})
		return err
	})
	return res, err
}

// sign packs a tree of a file of its own and one that all have.
func (c *clients) sign(r store.Revision, text string) (object []byte, objects [][]byte, err error) {
	tree := fstest.MapFS{
		"site.yaml": {Data: []byte("targets: []\n")},
		"own":       {Data: []byte(r.Env + ", " + text)},
	}
	r.Manifest, _, err = store.Pack(tree, func(object []byte) error {
		objects = append(objects, bytes.Clone(object))
		return nil
	})
	if err == nil {
		object, err = store.SealRevision(r, c.key)
	}
	return object, append(objects, object), err
}

// first creates the environments: what a node knows nothing of it cannot be asked for.
func (c *clients) first(dice *rand.Rand) error {
	for i, env := range c.envs {
		c.push(context.Background(), 0, env, -1-i, dice)
		if c.newest(env).Version == 0 {
			return errors.New("the first push to " + env + " was not committed:\n" + print(c.hist.of(env)))
		}
	}
	return nil
}
