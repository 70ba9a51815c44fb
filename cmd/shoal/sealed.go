package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"shoal/membership"
	"shoal/mesh/api"
	"shoal/secrets"
	"shoal/states"
	"shoal/store"
)

// sealedTree is the tree of an environment's head with the secrets in it.
type sealedTree struct {
	head     store.Head
	manifest store.Manifest
	files    fs.FS
	all      []secrets.Sealed
}

// everPublisher believes whoever was a publisher at some time: what the head carries is carried on, and signed anew by whoever
// publishes now. A head that is made up is none that the acceptors know, and nothing can be published on it.
type everPublisher struct{ *membership.Chain }

func (e everPublisher) Publishes(key ed25519.PublicKey, env string) bool {
	return e.EverPublished(key, env)
}

// anybody believes every signature: the head is the mesh's, and what is published on another is refused there.
type anybody struct{}

// Publishes implements store.Publishers.
func (anybody) Publishes(ed25519.PublicKey, string) bool { return true }

// sealed opens what is at head, which may be nothing yet.
func (p publisher) sealed(ctx context.Context, head store.Head) (sealedTree, error) {
	t := sealedTree{head: head}
	if head.Version == 0 {
		t.files = store.OpenTree(ctx, t.manifest, p.client.Get)
		return t, nil
	}
	object, err := p.client.Get(ctx, head.Revision)
	if err != nil {
		return t, err
	}
	revision, err := store.OpenRevision(object, everPublisher{p.chain})
	if errors.Is(err, store.ErrUnpublished) && p.sameMesh(ctx) {
		revision, err = store.OpenRevision(object, anybody{}) // of a publisher whom our copy of the trust chain does not know yet
	}
	if err != nil {
		return t, fmt.Errorf("%s is at a revision that your trust chain does not vouch for: %w\n    shoal trust update brings the chain up to date; shoal trust show tells who is in it", head.Env, err)
	}
	return openSealed(ctx, p.client, head, revision.Manifest)
}

func openSealed(ctx context.Context, client *api.Client, head store.Head, manifest store.Hash) (t sealedTree, err error) {
	t.head = head
	if t.manifest, err = store.OpenManifest(ctx, manifest, client.Get); err != nil {
		return t, err
	}
	t.files = store.OpenTree(ctx, t.manifest, client.Get)
	t.all, err = secrets.Read(t.files, head.Env)
	return t, err
}

// sealedNow is what the node that answers knows of an environment's secrets: to look at, and not to build on.
func sealedNow(ctx context.Context, client *api.Client, env string) (t sealedTree, err error) {
	head, err := client.Head(ctx, env)
	if kindOf(err) == api.NotFound {
		return sealedTree{head: store.Head{Env: env}}, nil
	}
	if err != nil {
		return t, err
	}
	info, _, err := findRevision(ctx, client, env, head.Revision.String())
	if err != nil {
		return t, err
	}
	return openSealed(ctx, client, head, info.Manifest)
}

func (t sealedTree) find(name string) (s secrets.Sealed, ok bool) {
	i := slices.IndexFunc(t.all, func(s secrets.Sealed) bool { return s.Name == name })
	if i < 0 {
		return s, false
	}
	return t.all[i], true
}

func (t sealedTree) hasTree() bool {
	return slices.ContainsFunc(t.manifest.Entries, func(e store.Entry) bool { return !secrets.IsReserved(e.Path) })
}

// standIns is what secret() answers on each node while a tree is validated, where nobody but the nodes has the values: a secret that
// the node may have has a stand-in.
func standIns(all []secrets.Sealed) func(states.Node) *states.Secrets {
	return func(n states.Node) *states.Secrets {
		named := map[string]states.Secret{}
		for _, s := range all {
			said := states.Secret{On: s.On, Value: states.StandInSecret(s.Name)}
			if !s.Grants(membership.Member{Name: n.Name, Zone: n.Zone, Tags: grantedOf(n.Tags)}) {
				said.Lacking = states.Denied
			}
			named[s.Name] = said
		}
		return &states.Secrets{Named: named}
	}
}

// grantedOf leaves out the facts: what a machine says of itself gives it no secret.
func grantedOf(tags map[string]string) map[string]string {
	granted := map[string]string{}
	for k, v := range tags {
		if !isFact(k) {
			granted[k] = v
		}
	}
	return granted
}

// people are those that secrets are for, as the operators have signed it.
type people struct{ now, current, former []membership.Member }

// people asks for the roster and verifies it by the own trust chain. A node that lies can leave somebody out, an eviction too,
// and make nobody up; whom it leaves out of the evicted any other node shows as exposed.
func (p publisher) people(ctx context.Context) (people, error) {
	self, err := p.client.Self(ctx)
	if err != nil {
		return people{}, err
	}
	if self.Mesh == "" {
		return peopleOf(ctx, p.client) // a node without a mesh is the only one
	}
	if self.Mesh != p.chain.Mesh().String() {
		return people{}, refused("%s is of another mesh than your keys", self.Name)
	}
	records, err := p.client.Roster(ctx)
	if err != nil {
		return people{}, err
	}
	roster := membership.NewRoster(p.chain)
	if _, err := roster.Add(time.Now(), records...); err != nil {
		return people{}, fmt.Errorf("the members that the node shows: %w", err)
	}
	return people{roster.Members(time.Now()), roster.Current(), roster.Former()}, nil
}

// peopleOf is the same as the node that answers has it, to look at.
func peopleOf(ctx context.Context, client *api.Client) (out people, err error) {
	self, err := client.Self(ctx)
	if err != nil {
		return out, err
	}
	if self.Mesh == "" {
		members, err := client.Members(ctx)
		for _, m := range members {
			out.now = append(out.now, membership.Member{ID: m.ID, Name: m.Name, Zone: m.Zone, Tags: grantedOf(m.Tags)})
		}
		out.current = out.now
		return out, err
	}
	records, err := client.Roster(ctx)
	if err != nil {
		return out, err
	}
	var statements []membership.Signed
	for _, r := range records {
		if r.Domain == membership.DomainStatement {
			statements = append(statements, r)
		}
	}
	chain, err := membership.RestoreChain(statements)
	if err != nil {
		return out, fmt.Errorf("the trust chain that the node shows: %w", err)
	}
	roster := membership.NewRoster(chain)
	if _, err := roster.Add(time.Now(), records...); err != nil {
		return out, fmt.Errorf("the members that the node shows: %w", err)
	}
	return people{roster.Members(time.Now()), roster.Current(), roster.Former()}, nil
}

// names are those of members, sorted.
func names(members []membership.Member) []string {
	list := []string{}
	for _, m := range members {
		list = append(list, m.Name)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// amended publishes a tree of the head with other files. objects are those that may not be there yet.
func (p publisher) amended(ctx context.Context, t *terminal, from sealedTree, m store.Manifest, objects [][]byte, kind store.Kind, message string) error {
	manifest, err := m.Encode(func(object []byte) error {
		objects = append(objects, slices.Clone(object))
		return nil
	})
	if err != nil {
		return badInput("%v", err)
	}
	if err := p.bring(ctx, t, func(emit func([]byte) error) error {
		for _, object := range objects {
			if err := emit(object); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	res, err := p.publish(ctx, from.head, manifest, kind, message)
	if err == nil {
		err = t.outcome(res)
	}
	return t.printPush(res, from.head.Env, err)
}

// errReserved says that a tree has what only shoal may write.
func checkReserved(tree fs.FS) error {
	_, err := fs.Stat(tree, secrets.Reserved)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return badInput("the tree has a folder %s, which shoal keeps for itself (secrets lie there): rename it", secrets.Reserved)
}
