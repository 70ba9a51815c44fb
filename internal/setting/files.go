package setting

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"shoal/executor"
	"shoal/states"
)

// Files are the functions that look after one path each. Whoever joins the modules gives them, as a module never imports
// another.
type Files struct {
	Managed, Symlink, Absent executor.Module
}

// Want is one path as it is to be: a file that holds Data or Content, a symlink to Link, or nothing.
type Want struct {
	Path string
	Data []byte
	// Content, unless nil, is from the tree, in place of Data.
	Content *states.Content
	Link    string
	Gone    bool
	// Mode is an octal string; empty: 0644 for a new file, and as it is for an old one.
	Mode string
}

// part is the function for one path, with its parameters.
func (f Files) part(w Want) (executor.Module, executor.Params) {
	p := executor.Params{"path": w.Path}
	switch {
	case w.Gone:
		return f.Absent, p
	case w.Link != "":
		p["target"] = w.Link
		return f.Symlink, p
	}
	p["contents"] = w.content()
	if w.Mode != "" {
		p["mode"] = w.Mode
	}
	return f.Managed, p
}

func (w Want) content() states.Content {
	if w.Content != nil {
		return *w.Content
	}
	return states.Content{Hash: hashOf(w.Data), Size: int64(len(w.Data)), From: "content"}
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// text is the executor.Contents of one file.
type text struct {
	Want
	tree executor.Contents
}

func (t text) Bytes(ctx context.Context, c states.Content) ([]byte, error) {
	if t.Content != nil {
		return t.tree.Bytes(ctx, c)
	}
	return t.Data, nil
}

// diff is empty when all paths are as wanted.
func (f Files) diff(ctx context.Context, h executor.Host, c executor.Contents, wants []Want) (string, error) {
	var b strings.Builder
	for _, w := range wants {
		m, p := f.part(w)
		change, err := m.Check(ctx, h, text{w, c}, p)
		if err != nil {
			return "", err
		}
		if change.Needed && change.Diff != "" && !strings.Contains(change.Diff, w.Path) {
			fmt.Fprintf(&b, "%s: ", w.Path)
		}
		b.WriteString(change.Diff)
	}
	return b.String(), nil
}

func (f Files) apply(ctx context.Context, h executor.Host, c executor.Contents, wants []Want) error {
	for _, w := range wants {
		m, p := f.part(w)
		change, err := m.Check(ctx, h, text{w, c}, p)
		if err != nil {
			return err
		}
		if !change.Needed {
			continue
		}
		if _, err := m.Apply(ctx, h, text{w, c}, p); err != nil {
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
// a thing. The functions for paths share their undo, so that one of them can take and restore for all.
func (f Files) capture(ctx context.Context, h executor.Host, wants []Want, others []string) ([]kept, executor.Undo, error) {
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
		one, err := f.Absent.Capture(ctx, h, executor.Params{"path": w.Path})
		if err != nil {
			return nil, undo, err
		}
		if !one.Reversible {
			return nil, one, nil
		}
		k := kept{Path: w.Path, Data: one.Data}
		for hash, data := range one.Contents {
			undo.Contents[hash] = data
			k.Before = hash
		}
		if !w.Gone && w.Link == "" {
			k.After = w.content().Hash
		}
		if i < asked {
			undo.Folders = append(undo.Folders, one.Folders...)
		}
		all = append(all, k)
	}
	return all, undo, nil
}

// merge puts back, into a file that others have changed since, what one state had there. Nil data: there was no file.
type merge func(now, before []byte, p executor.Params) []byte

// revert restores the paths, the last one first.
func (f Files) revert(ctx context.Context, h executor.Host, p executor.Params, all []kept, u executor.Undo, join merge) error {
	for i := len(all) - 1; i >= 0; i-- {
		k := all[i]
		if join != nil {
			now, changed, err := f.changedSince(h, k)
			if err != nil {
				return err
			}
			if changed {
				if err := f.rejoin(ctx, h, p, k, now, u, join); err != nil {
					return err
				}
				continue
			}
		}
		undo := executor.Undo{Reversible: true, Data: k.Data, Old: u.Old}
		if err := f.Absent.Revert(ctx, h, executor.Params{"path": k.Path}, undo); err != nil {
			return err
		}
	}
	return nil
}

// changedSince: the file is there, and neither as it was before nor as it was made.
func (f Files) changedSince(h executor.Host, k kept) (now []byte, changed bool, err error) {
	now, err = read(h, k.Path)
	if err != nil || now == nil {
		return nil, false, err
	}
	hash := hashOf(now)
	return now, hash != k.Before && hash != k.After, nil
}

func (f Files) rejoin(ctx context.Context, h executor.Host, p executor.Params, k kept, now []byte, u executor.Undo, join merge) error {
	var before []byte
	if k.Before != "" {
		var err error
		if before, err = u.Old(k.Before); err != nil {
			return err
		}
	}
	return f.apply(ctx, h, nil, []Want{{Path: k.Path, Data: join(now, before, p)}})
}
