package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing/fstest"
	"time"

	"shoal/internal/fleet"
	"shoal/mesh"
	"shoal/mesh/api"
	"shoal/store"
)

const (
	headsTime  = 4 * time.Second // of each measurement
	manyPeople = 64
	objectSize = 256 // bytes of an object, and of a value of etcd's
)

// benchHeads measures how fast heads are advanced and objects written by agents of this machine, and heads by turns with etcd's
// puts where it is installed.
func benchHeads(ctx context.Context, o options) error {
	for _, size := range o.heads {
		if err := measureHeads(ctx, o, size); err != nil {
			return err
		}
	}
	return benchTurns(ctx, o)
}

// newHeadLoad gathers agents in dir, which the caller closes, and pushes the tree that all heads are of.
func newHeadLoad(ctx context.Context, binary, dir string, size int) (*fleet.Fleet, *headLoad, error) {
	f, err := gather(ctx, binary, dir, size)
	if err != nil {
		return nil, nil, err
	}
	key, err := fleet.OperatorKey(filepath.Join(f.Home, "operator.key"))
	h := &headLoad{nodes: f.Nodes, key: key}
	if err == nil {
		err = h.prepare(ctx)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, h, nil
}

func measureHeads(ctx context.Context, o options, size int) error {
	f, h, err := newHeadLoad(ctx, o.binary, filepath.Join(o.dir, fmt.Sprint(size)), size)
	if err != nil {
		return err
	}
	defer f.Close()
	title("heads: signed revisions on a tree that is there, %d agents on one disk, %s each", size, headsTime)
	for _, c := range []struct {
		what          string
		clients, envs int
	}{
		{"1 client, 1 environment", 1, 1},
		{fmt.Sprintf("%d clients, 1 environment", manyPeople), manyPeople, 1},
		{fmt.Sprintf("%d clients, an environment each", manyPeople), manyPeople, manyPeople},
	} {
		if err := h.create(ctx, c.what, c.envs); err != nil {
			return err
		}
		got, err := costly(pids(f), func() (load, error) {
			return loadFor(ctx, c.clients, headsTime, func(i int) (bool, error) { return h.advance(ctx, c.what, i, c.envs) })
		})
		if err != nil {
			return err
		}
		got.row(c.what)
	}
	title("objects of %d bytes, each on the disks of two of their three owners when it is answered, %d agents", objectSize, size)
	for _, c := range []struct {
		clients, batch int
	}{{1, 1}, {manyPeople, 1}, {8, api.MaxBatch}} {
		got, err := costly(pids(f), func() (load, error) {
			return loadFor(ctx, c.clients, headsTime, func(i int) (bool, error) { return true, h.put(ctx, i, c.batch) })
		})
		if err != nil {
			return err
		}
		got.times(c.batch).row(fmt.Sprintf("%d clients, %d objects in a request", c.clients, c.batch))
	}
	return nil
}

// headLoad is what pushes to some agents.
type headLoad struct {
	nodes    []*fleet.Node
	key      ed25519.PrivateKey
	manifest store.Hash

	mu      sync.Mutex
	heads   map[string]store.Head
	clients [manyPeople]*api.Client
	made    [manyPeople]uint64
}

// prepare puts the tree that all revisions have.
func (h *headLoad) prepare(ctx context.Context) error {
	h.heads = map[string]store.Head{}
	for i := range h.clients {
		h.clients[i] = api.NewClient(h.nodes[i%len(h.nodes)].Path("var/lib/shoal/api.sock"))
	}
	var objects [][]byte
	var err error
	h.manifest, _, err = store.Pack(fstest.MapFS{"site.yaml": {Data: []byte("targets: []\n")}}, func(object []byte) error {
		objects = append(objects, bytes.Clone(object))
		return nil
	})
	if err != nil {
		return err
	}
	return h.clients[0].PutCopies(ctx, objects)
}

func envName(what string, i, envs int) string {
	return fmt.Sprintf("e%d-%d-%d", len(what), envs, i%envs)
}

// create makes the first revision of each environment, and waits until all agents know it.
func (h *headLoad) create(ctx context.Context, what string, envs int) error {
	for i := range envs {
		done, err := h.advance(ctx, what, i, envs)
		if err == nil && !done {
			err = errors.New("the first push was not committed")
		}
		if err != nil {
			return err
		}
	}
	return fleet.Eventually(ctx, time.Minute, func() error {
		for i := range len(h.nodes) {
			for e := range envs {
				if _, err := h.clients[i].Head(ctx, envName(what, e, envs)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// advance pushes once; it returns whether that was committed.
func (h *headLoad) advance(ctx context.Context, what string, client, envs int) (bool, error) {
	env := envName(what, client, envs)
	h.mu.Lock()
	head := h.heads[env]
	h.made[client]++
	message := fmt.Sprintf("%d-%d", client, h.made[client])
	h.mu.Unlock()
	object, err := store.SealRevision(store.Revision{
		Env: env, Version: head.Version + 1, Parent: head.Revision, Manifest: h.manifest, Author: "bench",
		Message: message, Kind: store.KindPush, Time: time.Now().Unix(),
	}, h.key)
	if err != nil {
		return false, err
	}
	res, err := h.push(ctx, client, object)
	if err != nil {
		return false, err
	}
	next := store.Head{Env: env, Version: res.Version, Revision: res.Revision}
	if res.Status != store.Committed {
		if res.Head == nil {
			return false, nil
		}
		next.Version, next.Revision = res.Head.Version, res.Head.Revision
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if next.Version > h.heads[env].Version {
		h.heads[env] = next
	}
	return res.Status == store.Committed, nil
}

func (h *headLoad) push(ctx context.Context, client int, object []byte) (mesh.PushResult, error) {
	return h.clients[client].Push(ctx, api.PushRequest{Revision: store.HashOf(object), Object: object})
}

func (h *headLoad) put(ctx context.Context, client, batch int) error {
	objects := make([][]byte, batch)
	for i := range objects {
		h.made[client]++
		objects[i] = make([]byte, objectSize)
		copy(objects[i], fmt.Sprintf("object %d of %d of %d", h.made[client], client, batch))
	}
	return h.clients[client].PutCopies(ctx, objects)
}

// load is what some clients got done.
type load struct {
	took   []time.Duration // of each that succeeded
	failed int             // in vain, such as what diverged
	wall   time.Duration
	each   int           // things in one
	cpu    time.Duration // of all the processes that did it: others on the machine do not show in it
}

func (l load) times(n int) load { l.each = n; return l }

// rate is how many got done in a second.
func (l load) rate() float64 { return float64(len(l.took)*max(l.each, 1)) / l.wall.Seconds() }

func (l load) row(what string) {
	if len(l.took) == 0 {
		row(what, "none", fmt.Sprintf("%d in vain", l.failed))
		return
	}
	done := len(l.took) * max(l.each, 1)
	note := fmt.Sprintf("p50 %s, p99 %s, %s of processor each", ms(quantile(l.took, 0.5)), ms(quantile(l.took, 0.99)), ms(l.cpu/time.Duration(done)))
	if l.failed > 0 {
		note += fmt.Sprintf("; %d more in vain", l.failed)
	}
	row(what, fmt.Sprintf("%.0f /s", l.rate()), note)
}

// costly adds what the processes that are under a load took for it.
func costly(pids []int, run func() (load, error)) (load, error) {
	before, err := cpuOf(pids)
	if err != nil {
		return load{}, err
	}
	out, err := run()
	if err != nil {
		return out, err
	}
	after, err := cpuOf(pids)
	out.cpu = after - before
	return out, err
}

func cpuOf(pids []int) (total time.Duration, err error) {
	for _, pid := range pids {
		u, err := usageOf(pid)
		if err != nil {
			return 0, err
		}
		total += time.Duration(u.cpu * float64(time.Second))
	}
	return total, nil
}

func pids(f *fleet.Fleet) (out []int) {
	for _, n := range f.Nodes {
		out = append(out, n.PID())
	}
	return out
}

// loadFor has clients do something again and again, one beside the other, for a time.
func loadFor(ctx context.Context, clients int, long time.Duration, do func(client int) (bool, error)) (load, error) {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	var mu sync.Mutex
	var out load
	var failed error
	var work sync.WaitGroup
	began := time.Now()
	for i := range clients {
		work.Go(func() {
			for ctx.Err() == nil {
				started := time.Now()
				ok, err := do(i)
				took := time.Since(started)
				mu.Lock()
				switch {
				case err != nil:
					failed = err
					cancel()
				case ok:
					out.took = append(out.took, took)
				default:
					out.failed++
				}
				mu.Unlock()
			}
		})
	}
	work.Wait()
	out.wall = time.Since(began)
	return out, failed
}
