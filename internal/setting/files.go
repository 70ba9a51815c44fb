package setting

import (
	"context"
	"fmt"
	"slices"

	"shoal/executor"
	"shoal/internal/hostfile"
	"shoal/states"
)

// Want is one path as it is to be: a file that holds Data or Content, a symlink to Link, or nothing.
type Want struct {
	Path string
	Data []byte
	// Content, unless nil, is from the tree, in place of Data.
	Content *states.Content
	Link    string
	Gone    bool
}

// target is a file that is wanted.
func (w Want) target(tree executor.Contents) *hostfile.Target {
	t := &hostfile.Target{Path: w.Path}
	if w.Content == nil {
		t.Holding(w.Data)
		return t
	}
	t.Hash, t.Size = w.Content.Hash, w.Content.Size
	t.Load = func(ctx context.Context) ([]byte, error) { return tree.Bytes(ctx, *w.Content) }
	return t
}

func (w Want) diff(ctx context.Context, h executor.Host, tree executor.Contents) (string, error) {
	if !w.Gone && w.Link == "" {
		change, err := w.target(tree).Check(ctx, h)
		return change.Diff, err
	}
	st, err := hostfile.Look(h, w.Path)
	if err != nil {
		return "", err
	}
	if w.Gone {
		if st == nil {
			return "", nil
		}
		return fmt.Sprintf("%s: %s -> absent\n", w.Path, hostfile.KindName(st.Mode)), hostfile.Writable(h, w.Path)
	}
	now := "absent"
	if st != nil {
		if now, err = h.Readlink(w.Path); err != nil {
			now, err = hostfile.KindName(st.Mode), nil
		}
	}
	if now == w.Link {
		return "", nil
	}
	return fmt.Sprintf("%s: %s -> %s\n", w.Path, now, w.Link), hostfile.Writable(h, w.Path)
}

func (w Want) apply(ctx context.Context, h executor.Host, tree executor.Contents) error {
	switch {
	case w.Gone:
		return h.Remove(w.Path)
	case w.Link == "":
		_, err := w.target(tree).Apply(ctx, h)
		return err
	}
	if err := hostfile.MakeParents(h, w.Path); err != nil {
		return err
	}
	return h.Symlink(w.Link, w.Path)
}

// diffAll is empty when all paths are as wanted.
func diffAll(ctx context.Context, h executor.Host, tree executor.Contents, wants []Want) (all string, err error) {
	for _, w := range wants {
		diff, err := w.diff(ctx, h, tree)
		if err != nil {
			return "", err
		}
		all += diff
	}
	return all, nil
}

func applyAll(ctx context.Context, h executor.Host, tree executor.Contents, wants []Want) error {
	for _, w := range wants {
		diff, err := w.diff(ctx, h, tree)
		if err == nil && diff != "" {
			err = w.apply(ctx, h, tree)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// kept is one path as it was.
type kept struct {
	Path string `cbor:"1,keyasint"`
	Data []byte `cbor:"2,keyasint"`
	// Before and After are hashes of what the file held and was to hold; empty where there was none.
	Before string `cbor:"3,keyasint,omitempty"`
	After  string `cbor:"4,keyasint,omitempty"`
}

// capture keeps every path, those of others that a later form of the state may write too: the ledger keeps the first undo of
// a thing.
func capture(h executor.Host, wants []Want, others []string) ([]kept, executor.Undo, error) {
	wants = slices.Clone(wants)
	asked := len(wants)
	for _, path := range others {
		if !slices.ContainsFunc(wants, func(w Want) bool { return w.Path == path }) {
			wants = append(wants, Want{Path: path, Gone: true})
		}
	}
	all := make([]kept, 0, len(wants))
	undo := executor.Undo{Reversible: true, Contents: map[string][]byte{}}
	for i, w := range wants {
		one, err := hostfile.Capture(h, w.Path, true, false)
		if err != nil || !one.Reversible {
			return nil, one, err
		}
		k := kept{Path: w.Path, Data: one.Data}
		for hash, data := range one.Contents {
			undo.Contents[hash] = data
			k.Before = hash
		}
		if !w.Gone && w.Link == "" {
			k.After = w.target(nil).Hash
		}
		if i < asked {
			undo.Folders = append(undo.Folders, one.Folders...)
		}
		all = append(all, k)
	}
	return all, undo, nil
}

// merge puts back, into a file that others have changed since, what one state had there. Nil before: there was no file.
type merge func(now, before []byte, p executor.Params) []byte

// revertAll restores the paths, the last one first.
func revertAll(ctx context.Context, h executor.Host, p executor.Params, all []kept, u executor.Undo, join merge) error {
	for _, k := range slices.Backward(all) {
		if join != nil {
			now, changed, err := k.changedSince(h)
			if err != nil {
				return err
			}
			if changed {
				if err := k.rejoin(ctx, h, p, now, u, join); err != nil {
					return err
				}
				continue
			}
		}
		if err := hostfile.Revert(h, k.Path, executor.Undo{Reversible: true, Data: k.Data, Old: u.Old}); err != nil {
			return err
		}
	}
	return nil
}

// changedSince: the file is there, and neither as it was before nor as it was made.
func (k kept) changedSince(h executor.Host) (now []byte, changed bool, err error) {
	now, there, err := Read(h, k.Path)
	if err != nil || !there {
		return nil, false, err
	}
	hash := hostfile.HashOf(now)
	return now, hash != k.Before && hash != k.After, nil
}

func (k kept) rejoin(ctx context.Context, h executor.Host, p executor.Params, now []byte, u executor.Undo, join merge) error {
	var before []byte
	if k.Before != "" {
		var err error
		if before, err = u.Old(k.Before); err != nil {
			return err
		}
	}
	return applyAll(ctx, h, nil, []Want{{Path: k.Path, Data: join(now, before, p)}})
}
