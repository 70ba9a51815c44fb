package linear

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/api"
	"shoal/store"
)

// Config of a run. All of it is drawn from Seed, but for how the machine's processes take turns.
type Config struct {
	Seed     uint64
	Length   time.Duration // of the faults
	Clients  int
	Envs     []string // none of which a node follows
	Key      ed25519.PrivateKey
	Nodes    []Node
	Machines Machines
}

// Result is what a run did.
type Result struct {
	Pushes, Committed, Staged, Diverged, Unknown, Reads int
	Faults                                              int
	// Gap is the longest time between two pushes that were committed, to any environment, in the quietTime after a node was
	// killed with nothing else wrong; Before is the longest in the same time before it.
	Gap, Before time.Duration
}

func (r Result) String() string {
	return fmt.Sprintf("%d pushes (%d committed, %d diverged, %d staged, %d unknown), %d reads, %d faults; longest time without a committed push after an acceptor died: %s (before: %s)",
		r.Pushes, r.Committed, r.Diverged, r.Staged, r.Unknown, r.Reads, r.Faults, r.Gap.Round(time.Millisecond), r.Before.Round(time.Millisecond))
}

const (
	quietTime  = 3 * time.Second
	settleTime = 90 * time.Second // for what is staged to be decided, and all to know
	checkTime  = 2 * time.Minute
)

// Run drives the nodes, heals them, and checks. An error tells the seed, the faults and the history of what is wrong.
func Run(ctx context.Context, cfg Config) (Result, error) {
	dice := rand.New(rand.NewPCG(cfg.Seed, 0))
	r := &run{cfg: cfg, clients: &clients{
		key: cfg.Key, nodes: cfg.Nodes, envs: cfg.Envs, hist: &history{began: time.Now()}, known: map[string]store.Head{},
	}}
	if err := r.clients.first(dice); err != nil {
		return Result{}, err
	}
	r.faults = schedule(dice, len(cfg.Nodes), cfg.Machines.Cut != nil, cfg.Length)
	err := r.drive(ctx, dice)
	if err == nil {
		err = r.check(ctx)
	}
	result := r.result()
	if err != nil {
		err = fmt.Errorf("seed %d: %w\nfaults:\n%s", cfg.Seed, err, describe(r.faults))
	}
	return result, err
}

type run struct {
	cfg     Config
	clients *clients
	faults  []fault
	began   time.Duration // the kill in the quiet
	gap     [2]time.Duration
}

// drive lets the clients work: in quiet, with one node killed, and then with all that the schedule has.
func (r *run) drive(ctx context.Context, dice *rand.Rand) error {
	working, stop := context.WithCancel(ctx)
	defer stop()
	var work sync.WaitGroup
	for i := range r.cfg.Clients {
		own := rand.New(rand.NewPCG(r.cfg.Seed, uint64(i)+1))
		work.Go(func() { r.clients.run(working, i+1, own) })
	}
	err := r.killOne(ctx, dice.IntN(len(r.cfg.Nodes)))
	if err == nil {
		err = happen(ctx, r.cfg.Machines, r.faults, time.Now())
	}
	stop()
	work.Wait()
	return err
}

// killOne measures how long nothing is committed when one acceptor dies. With so few nodes each is an acceptor of all.
func (r *run) killOne(ctx context.Context, node int) error {
	wait(ctx, quietTime)
	r.began = r.clients.hist.now()
	if err := r.cfg.Machines.Kill(node); err != nil {
		return err
	}
	wait(ctx, quietTime)
	r.gap = [2]time.Duration{r.longest(r.began-quietTime, r.began), r.longest(r.began, r.clients.hist.now())}
	return r.cfg.Machines.Start(node)
}

// longest is the longest time without a committed push between from and to.
func (r *run) longest(from, to time.Duration) (gap time.Duration) {
	at := []time.Duration{from, to}
	for _, env := range r.cfg.Envs {
		for _, o := range r.clients.hist.of(env) {
			if o.Outcome == store.Committed && o.Return > from && o.Return < to {
				at = append(at, o.Return)
			}
		}
	}
	slices.Sort(at)
	for i := 1; i < len(at); i++ {
		gap = max(gap, at[i]-at[i-1])
	}
	return gap
}

func (r *run) result() Result {
	out := Result{Faults: len(r.faults) + 1, Before: r.gap[0], Gap: r.gap[1]}
	for _, env := range r.cfg.Envs {
		for _, o := range r.clients.hist.of(env) {
			if o.Kind == read {
				out.Reads++
				continue
			}
			out.Pushes++
			switch o.Outcome {
			case store.Committed:
				out.Committed++
			case store.Staged:
				out.Staged++
			case store.Diverged:
				out.Diverged++
			default:
				out.Unknown++
			}
		}
	}
	return out
}

// check looks at what is there when all is healed.
func (r *run) check(ctx context.Context) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	for _, env := range r.cfg.Envs {
		ops := r.clients.hist.of(env)
		if err := r.checkEnv(ctx, env, ops); err != nil {
			return fmt.Errorf("%s: %w\nhistory:\n%s", env, err, print(ops))
		}
	}
	return nil
}

// settle waits until nothing is staged any more and all nodes know the same heads.
func (r *run) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		err := r.settled(ctx)
		if err == nil {
			return nil
		}
		if wait(ctx, 100*time.Millisecond); ctx.Err() != nil {
			return fmt.Errorf("not settled after %s: %w", settleTime, err)
		}
	}
}

func (r *run) settled(ctx context.Context) error {
	for _, env := range r.cfg.Envs {
		var first store.Head
		for i, n := range r.cfg.Nodes {
			var head store.Head
			var staged []mesh.RevisionInfo
			err := ask(ctx, n, 2*askTime, func(ctx context.Context, a *api.Client) (err error) {
				if head, err = a.Head(ctx, env); err == nil {
					staged, err = a.Staged(ctx)
				}
				return err
			})
			switch {
			case err != nil:
				return fmt.Errorf("%s: %w", n.Name, err)
			case len(staged) > 0:
				return fmt.Errorf("%s: %d revisions are staged", n.Name, len(staged))
			case i > 0 && head != first:
				return fmt.Errorf("%s knows %s at %d, %s at %d", n.Name, env, head.Version, r.cfg.Nodes[0].Name, first.Version)
			}
			first = head
		}
	}
	return nil
}

// checkEnv reads an environment's history back from the nodes, by turns, and compares it with what the clients saw.
func (r *run) checkEnv(ctx context.Context, env string, ops []op) error {
	chain, err := r.chain(ctx, env)
	if err != nil {
		return err
	}
	kept := map[store.Hash]bool{}
	for _, h := range chain {
		kept[h] = true
	}
	for _, o := range ops {
		switch {
		case o.Outcome == store.Committed && !kept[o.Revision]:
			return fmt.Errorf("acknowledged and lost: %s", o)
		case o.Outcome == store.Diverged && kept[o.Revision]:
			return fmt.Errorf("told to have diverged, and committed: %s", o)
		case o.Outcome == store.Staged && !kept[o.Revision] && (o.Version > uint64(len(chain))):
			return fmt.Errorf("staged and lost: nothing else is version %d: %s", o.Version, o)
		}
	}
	return linearizable(ops, kept, checkTime)
}

// chain is the hashes of an environment's revisions, the newest first, each read with its whole tree from some node.
func (r *run) chain(ctx context.Context, env string) ([]store.Hash, error) {
	var head store.Head
	err := ask(ctx, r.cfg.Nodes[0], 2*askTime, func(ctx context.Context, a *api.Client) (err error) {
		head, err = a.ConfirmedHead(ctx, env)
		return err
	})
	if err != nil {
		return nil, err
	}
	var hashes []store.Hash
	at := head.Revision
	for version := head.Version; version > 0; version-- {
		revision, err := r.whole(ctx, r.cfg.Nodes[int(version)%len(r.cfg.Nodes)], at)
		if err != nil {
			return nil, fmt.Errorf("version %d: %w", version, err)
		}
		if revision.Version != version || revision.Env != env {
			return nil, fmt.Errorf("version %d is version %d of %s", version, revision.Version, revision.Env)
		}
		hashes, at = append(hashes, at), revision.Parent
	}
	if !at.IsZero() {
		return nil, errors.New("version 1 has a parent")
	}
	return hashes, nil
}

// whole reads a revision and every object of its tree.
func (r *run) whole(ctx context.Context, n Node, hash store.Hash) (revision store.Revision, err error) {
	err = ask(ctx, n, 10*askTime, func(ctx context.Context, a *api.Client) error {
		object, err := a.Get(ctx, hash)
		if err != nil {
			return err
		}
		var signed membership.Signed
		if err := codec.Unmarshal(object, &signed); err != nil {
			return err
		}
		if err := codec.Unmarshal(signed.Body, &revision); err != nil {
			return err
		}
		m, err := store.OpenManifest(ctx, revision.Manifest, a.Get)
		if err != nil {
			return err
		}
		for _, h := range m.Needed() {
			if _, err := a.Get(ctx, h); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("revision %s at %s: %w", hash.Short(), n.Name, err)
	}
	return revision, err
}
