package main

import (
	"context"
	"errors"
	"io/fs"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/api"
	"shoal/secrets"
	"shoal/states"
	"shoal/states/disk"
	"shoal/store"
)

func newPush(t *terminal) *cobra.Command {
	var (
		env, message string
		wait, retry  bool
		patience     time.Duration
	)
	cmd := &cobra.Command{
		Use:   "push TREE",
		Short: "Sign a state tree and publish it at any node",
		Long: `Sign a state tree and publish it at any node, for all nodes of an environment.

The tree is compiled for every node first, so that a mistake never leaves this machine. The answers:
  committed   the mesh has it, and will not lose it (exit status 0)
  staged      the node keeps it, and commits it when it can reach enough of the mesh (3)
  diverged    somebody else's push was first; look at shoal log and push again (3)
  unavailable no node answers, or the one that does can keep nothing now; nothing was pushed (3)
  refused     your key may not publish there; nothing was pushed (5)

With --retry it pushes nothing new: what is staged at the node that answers (shoal log --staged) is tried again now.
With --wait it waits for the nodes' reports, and its exit status is that of the worst of them.`,
		Example: `  shoal push mytree -m "more workers" --wait
  shoal push mytree --env staging
  shoal push --retry`,
		Args: cobra.MaximumNArgs(1),
	}
	connect, key := nodeFlag(cmd), keyFlag(cmd)
	cmd.Flags().StringVar(&env, "env", "production", "the environment to publish to")
	cmd.Flags().StringVarP(&message, "message", "m", "", "what changed, for the log")
	cmd.Flags().BoolVar(&retry, "retry", false, "try again what is staged, instead of pushing a tree")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until every node of the environment has reported")
	cmd.Flags().DurationVar(&patience, "timeout", 5*time.Minute, "how long --wait waits")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if retry {
			if len(args) > 0 {
				return badInput("--retry takes no tree: it tries again what was pushed before")
			}
			return t.retryPush(cmd.Context(), connect(), env)
		}
		tree, err := disk.Open(treeArg(args))
		if err != nil {
			return badInput("%v", err)
		}
		p, err := newPublisher(connect(), key())
		if err != nil {
			return err
		}
		res, err := p.push(cmd.Context(), t, tree, env, message)
		if err == nil && wait && res.Status == store.Committed {
			err = t.await(cmd.Context(), p.client, res, patience)
		}
		return t.printPush(res, env, err)
	}
	return cmd
}

// retryPush has the node try its staged revisions again, the oldest first. The exit status is that of the first that is not
// committed: what is on it cannot be either.
func (t *terminal) retryPush(ctx context.Context, client *api.Client, env string) error {
	staged, err := waiting(ctx, client, env)
	if err != nil {
		return err
	}
	results := []mesh.PushResult{}
	for _, r := range staged {
		res, pushErr := client.Push(ctx, api.PushRequest{Revision: r.Revision})
		if err = pushErr; err == nil {
			err = t.outcome(res)
		} else {
			res = withOutcome(mesh.PushResult{Env: env, Version: r.Version, Revision: r.Revision}, env, err)
		}
		if res.Status != "" {
			results = append(results, res)
		}
		if err != nil {
			break
		}
	}
	if len(staged) == 0 {
		t.note("nothing of %s is staged here", env)
	}
	if t.json {
		if jsonErr := t.printJSON(results); jsonErr != nil {
			return jsonErr
		}
	}
	return err
}

func treeArg(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}

// push compiles the tree for every node, sends what the mesh does not have, and publishes.
func (p publisher) push(ctx context.Context, t *terminal, tree fs.FS, env, message string) (mesh.PushResult, error) {
	nodes, fleet, err := meshNodes(ctx, p.client, env)
	if err != nil {
		return mesh.PushResult{}, err
	}
	head, err := p.head(ctx, env)
	if err != nil {
		return mesh.PushResult{}, err
	}
	at, err := p.sealed(ctx, head)
	if err != nil {
		return mesh.PushResult{}, err
	}
	problems := states.Validate(tree, nodes, fleet, functions(), standIns(at.all))
	if len(nodes) == 0 {
		problems, _ = validateLikely(tree)
	}
	if len(problems) > 0 {
		return mesh.PushResult{}, problems
	}
	manifest, err := p.upload(ctx, t, tree, at.manifest)
	if err != nil {
		return mesh.PushResult{}, err
	}
	same, err := p.unchanged(ctx, head, manifest)
	if err != nil {
		return mesh.PushResult{}, err
	}
	if same {
		t.note("%s is at this tree already (version %d)", env, head.Version)
		return mesh.PushResult{Env: env, Version: head.Version, Revision: head.Revision, Status: store.Committed}, nil
	}
	res, err := p.publish(ctx, head, manifest, store.KindPush, strings.TrimSpace(message))
	if err != nil {
		return res, err
	}
	return res, t.outcome(res)
}

// upload brings the tree to the mesh, with the secrets of the manifest that it takes the place of.
func (p publisher) upload(ctx context.Context, t *terminal, tree fs.FS, before store.Manifest) (manifest store.Hash, err error) {
	if err := checkReserved(tree); err != nil {
		return manifest, err
	}
	carry := func(m store.Manifest) store.Manifest { return secrets.Carry(before, m) }
	err = p.bring(ctx, t, func(emit func([]byte) error) error {
		var err error
		manifest, _, err = store.PackWith(tree, carry, emit)
		return err
	})
	return manifest, err
}

// bring has objects made twice, once for their names and once for the bytes that the mesh lacks: the memory it needs does not
// grow with them.
func (p publisher) bring(ctx context.Context, t *terminal, pack func(emit func(object []byte) error) error) error {
	var hashes []store.Hash
	if err := pack(func(object []byte) error {
		hashes = append(hashes, store.HashOf(object))
		return nil
	}); err != nil {
		return badInput("%v", err)
	}
	missing, err := p.client.Missing(ctx, hashes)
	if err != nil || len(missing) == 0 {
		return err
	}
	// From here on memory does not grow with the tree, if the collector keeps up.
	defer debug.SetGCPercent(debug.SetGCPercent(busyGrowth))
	up := newUploader(ctx, p.client, t.progress("objects", len(missing)), missing)
	if err := pack(up.add); err != nil {
		return err
	}
	return up.flush()
}

// unchanged says that head has this manifest, so that a push repeated is no new version.
func (p publisher) unchanged(ctx context.Context, head store.Head, manifest store.Hash) (bool, error) {
	if head.Version == 0 {
		return false, nil
	}
	object, err := p.client.Get(ctx, head.Revision)
	if err != nil {
		return false, err
	}
	revision, err := store.OpenRevision(object, p.chain)
	if errors.Is(err, store.ErrUnpublished) && p.sameMesh(ctx) {
		return false, nil // of a publisher who is none any more, or whom our copy of the trust chain does not know yet: sign it anew
	}
	return err == nil && revision.Manifest == manifest, err
}

// sameMesh tells whether the node is of the mesh that our keys are for.
func (p publisher) sameMesh(ctx context.Context) bool {
	self, err := p.client.Self(ctx)
	return err == nil && self.Mesh == p.chain.Mesh().String()
}

// maxBatchBytes keeps one upload well below api.MaxBody.
const maxBatchBytes = 4 << 20

// uploader sends the missing objects in batches.
type uploader struct {
	ctx     context.Context // of the one push that this value lives for
	client  *api.Client
	bar     *progress
	missing map[store.Hash]bool
	batch   [][]byte
	size    int
}

func newUploader(ctx context.Context, client *api.Client, bar *progress, missing []store.Hash) *uploader {
	u := &uploader{ctx: ctx, client: client, bar: bar, missing: map[store.Hash]bool{}}
	for _, h := range missing {
		u.missing[h] = true
	}
	return u
}

func (u *uploader) add(object []byte) error {
	hash := store.HashOf(object)
	if !u.missing[hash] {
		return nil
	}
	delete(u.missing, hash)
	u.batch = append(u.batch, append([]byte(nil), object...))
	if u.size += len(object); len(u.batch) == api.MaxBatch || u.size >= maxBatchBytes {
		return u.flush()
	}
	return nil
}

func (u *uploader) flush() error {
	if len(u.batch) == 0 {
		return nil
	}
	if err := u.client.Put(u.ctx, u.batch); err != nil {
		return err
	}
	u.bar.add(len(u.batch))
	u.batch, u.size = nil, 0
	return nil
}

// meshNodes are the members of env as the compiler wants them, and all of the mesh as nodes() shows them. The facts of other
// machines are not known here; those of the node that answers stand in for them.
func meshNodes(ctx context.Context, client *api.Client, env string) (nodes, fleet []states.Node, err error) {
	self, err := client.Self(ctx)
	if err != nil {
		return nil, nil, err
	}
	members, err := client.Members(ctx)
	if err != nil {
		return nil, nil, err
	}
	fleet = fleetOf(members)
	for i, n := range withFactsOf(fleet, self.Tags) {
		if members[i].Status != membership.Left && envOf(members[i].Tags) == env {
			nodes = append(nodes, n)
		}
	}
	return nodes, fleet, nil
}

func isFact(tag string) bool { return strings.HasPrefix(tag, "os.") || strings.HasPrefix(tag, "hw.") }

// envOf is the environment that a node with these tags follows.
func envOf(tags map[string]string) string {
	if env := tags["env"]; env != "" {
		return env
	}
	return "production"
}
