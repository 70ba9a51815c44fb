package bubble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"shoal/executor"
	"shoal/internal/builtin"
	"shoal/internal/enforcer"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/api"
	"shoal/mesh/node"
	"shoal/states"
	"shoal/store"
)

// signAgain bounds how often a first revision is signed anew while members come.
const signAgain = 5

// Push has the operator publish a tree at a machine, as `shoal push` does over the node's API. looked, unless nil, is called when
// the operator has seen what the environment is at, and before anything is pushed on that.
func (w *World) Push(ctx context.Context, at *Machine, env string, tree fs.FS, looked func()) (mesh.PushResult, error) {
	if looked == nil {
		looked = func() {}
	}
	n := at.Node()
	if n == nil {
		looked()
		return mesh.PushResult{Env: env, Status: store.Unavailable, Why: at.Name + " is down"}, nil
	}
	err := w.check(n, env, tree)
	if err != nil {
		looked()
		return mesh.PushResult{}, err
	}
	head, err := n.ConfirmedHead(ctx, env)
	if isUnavailable(err) {
		head, err = n.Store().Head(ctx, env)
	}
	if errors.Is(err, store.ErrNotFound) {
		head, err = store.Head{Env: env}, nil
	}
	looked()
	if err != nil {
		return answered(env, err)
	}
	res, err := w.pushOn(ctx, n, head, tree)
	if err != nil {
		return answered(env, err)
	}
	if res.Status == store.Committed {
		w.acknowledged(res)
	}
	return res, nil
}

func (w *World) pushOn(ctx context.Context, n *node.Node, head store.Head, tree fs.FS) (res mesh.PushResult, err error) {
	manifest, err := upload(ctx, n.Intake(), tree)
	if err != nil {
		return res, err
	}
	same, err := w.unchanged(ctx, n, head, manifest)
	if err != nil {
		return res, err
	}
	if same {
		return mesh.PushResult{Env: head.Env, Version: head.Version, Revision: head.Revision, Status: store.Committed}, nil
	}
	for range signAgain {
		res, err = w.publish(ctx, n, head, manifest)
		if !errors.Is(err, mesh.ErrElectorate) {
			break
		}
	}
	return res, err
}

// answered turns the errors that a person would be told as an outcome into one.
func answered(env string, err error) (mesh.PushResult, error) {
	switch {
	case isUnavailable(err):
		return mesh.PushResult{Env: env, Status: store.Unavailable, Why: err.Error()}, nil
	case errors.Is(err, store.ErrUnpublished):
		return mesh.PushResult{Env: env, Status: store.Refused, Why: err.Error()}, nil
	}
	return mesh.PushResult{}, err
}

func isUnavailable(err error) bool { return err != nil && api.KindOf(err) == api.Unavailable }

// rehearsed: what is sealed is not there, and something stands for it.
var rehearsed = &states.Secrets{Assumed: true}

// check compiles the tree for every node first, so that a mistake is told at once; and it puts what the plans ask of the package
// and the service managers within their reach.
func (w *World) check(n *node.Node, env string, tree fs.FS) error {
	members := n.Members()
	fleet := enforcer.Fleet(members)
	catalogue, err := states.Open(tree, builtin.Functions())
	if err != nil {
		return err
	}
	for _, member := range members {
		m := w.machines[member.Name]
		if m == nil || envOf(member.Tags) != env {
			continue
		}
		target := enforcer.NodeOf(membership.Member{Name: member.Name, Zone: member.Zone, Tags: member.Tags}, m.facts())
		plan, err := catalogue.Compile(states.Input{Node: target, Fleet: fleet, Secrets: rehearsed})
		if err != nil {
			return err
		}
		m.offer(plan)
	}
	return nil
}

// offer makes packages and services that a plan names exist.
func (m *Machine) offer(plan *states.Plan) {
	functions := map[string]states.Function{}
	for _, f := range builtin.Functions() {
		functions[f.FullName()] = f
	}
	for _, inv := range plan.Invocations {
		for _, part := range inv.Parts {
			for _, p := range functions[part.Module+"."+part.Function].Params {
				for _, name := range words(part.Params[p.Name]) {
					switch p.Provides {
					case states.ResourcePackage:
						m.offerPackage(name, part.Params)
					case states.ResourceService:
						m.host.Services.Add(name)
					}
				}
			}
		}
	}
}

func (m *Machine) offerPackage(name string, params map[string]any) {
	versions := []string{"1.0"}
	if v, ok := params["version"].(string); ok && v != "" {
		versions = []string{v}
	}
	m.host.Packages.Offer(name, versions)
	m.host.Services.Add(name) // most daemons bring a unit of their name
}

func words(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []string:
		return v
	case []any:
		var out []string
		for _, one := range v {
			out = append(out, words(one)...)
		}
		return out
	}
	return nil
}

// envOf is the environment that a node with these tags follows.
func envOf(tags map[string]string) string {
	if env := tags["env"]; env != "" {
		return env
	}
	return "production"
}

// maxBatch is how many objects are put at a time.
const maxBatch = 64

func upload(ctx context.Context, to store.Store, tree fs.FS) (store.Hash, error) {
	var batch [][]byte
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := to.Put(ctx, batch)
		batch = nil
		return err
	}
	manifest, _, err := store.Pack(tree, func(object []byte) error {
		batch = append(batch, append([]byte(nil), object...))
		if len(batch) < maxBatch {
			return nil
		}
		return flush()
	})
	if err != nil {
		return manifest, err
	}
	return manifest, flush()
}

func (w *World) publish(ctx context.Context, n *node.Node, head store.Head, manifest store.Hash) (mesh.PushResult, error) {
	revision := store.Revision{
		Env: head.Env, Version: head.Version + 1, Parent: head.Revision, Manifest: manifest, Author: "operator",
		Kind: store.KindPush, Time: time.Now().Unix(),
	}
	if head.Version == 0 {
		roster := membership.NewRoster(w.chain)
		if _, err := roster.Add(time.Now(), n.Roster()...); err != nil {
			return mesh.PushResult{}, err
		}
		var ids []membership.NodeID
		for _, m := range roster.Members(time.Now()) {
			ids = append(ids, m.ID)
		}
		revision.Electorate = store.ElectorateHash(head.Env, store.Electorate(head.Env, ids))
	}
	object, err := store.SealRevision(revision, w.operator)
	if err != nil {
		return mesh.PushResult{}, err
	}
	return n.Push(ctx, store.HashOf(object), object)
}

// unchanged says that head has this manifest, so that a push repeated is no new version.
func (w *World) unchanged(ctx context.Context, n *node.Node, head store.Head, manifest store.Hash) (bool, error) {
	if head.Version == 0 {
		return false, nil
	}
	object, err := n.Store().Get(ctx, head.Revision)
	if err != nil {
		return false, err
	}
	revision, err := store.OpenRevision(object, w.chain)
	return err == nil && revision.Manifest == manifest, err
}

// acknowledged notes what the operator was told, and that nobody was told anything else.
func (w *World) acknowledged(res mesh.PushResult) {
	w.mu.Lock()
	versions := w.committed[res.Env]
	if versions == nil {
		versions = map[uint64]store.Hash{}
		w.committed[res.Env] = versions
	}
	other, twice := versions[res.Version]
	versions[res.Version] = res.Revision
	w.mu.Unlock()
	if twice && other != res.Revision {
		w.wrong("two pushes were told that they are %s version %d: %s and %s", res.Env, res.Version, other.Short(), res.Revision.Short())
	}
}

// enforced checks each run: what a machine applies never goes back, and is what was acknowledged.
func (w *World) enforced(m *Machine, r executor.Report) {
	if r.Version == 0 {
		return
	}
	if r.Version < m.highest {
		w.wrong("%s went back from %s version %d to %d", m.Name, r.Env, m.highest, r.Version)
	}
	m.highest = max(m.highest, r.Version)
	w.mu.Lock()
	said, ok := w.committed[r.Env][r.Version]
	w.mu.Unlock()
	if ok && said.String() != r.Revision {
		w.wrong("%s applies %.12s as %s version %d, which is %s", m.Name, r.Revision, r.Env, r.Version, said.Short())
	}
}

// errUnsure is returned where a node that is behind may be the reason.
var errUnsure = errors.New("a node does not know of it")

// CheckAcknowledged looks, when all is well again, whether what the operator was told holds: at is a node that is there.
func (w *World) CheckAcknowledged(ctx context.Context, at *Machine) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for env, versions := range w.committed {
		log, err := at.Node().Log(ctx, env)
		if err != nil {
			return fmt.Errorf("log of %s: %w", env, err)
		}
		for _, r := range log {
			if said, ok := versions[r.Version]; ok && said != r.Revision {
				return fmt.Errorf("%s version %d was acknowledged as %s, and is %s", env, r.Version, said.Short(), r.Revision.Short())
			}
		}
		for version, said := range versions {
			if len(log) == 0 || version > log[len(log)-1].Version {
				return fmt.Errorf("%w: %s version %d (%s) was acknowledged, and is lost", errUnsure, env, version, said.Short())
			}
		}
	}
	return nil
}
