package hostfile

import (
	"context"
	"fmt"
	"io"
	"io/fs"

	"shoal/executor"
	"shoal/states"
)

// Source is one file of a states.Folder parameter.
type Source struct {
	Path    string // slash path from the folder
	Mode    fs.FileMode
	Content states.Content
}

// Sources reads a states.Folder parameter.
func Sources(p executor.Params, name string) ([]Source, error) {
	list, _ := p[name].([]any)
	out := make([]Source, 0, len(list))
	for _, item := range list {
		m, _ := item.(map[string]any)
		rel, _ := m[states.FolderPath].(string)
		text, _ := m[states.FolderMode].(string)
		content, ok := m[states.FolderContents].(states.Content)
		mode, err := ParseMode(text)
		if err != nil || !ok || !fs.ValidPath(rel) || rel == "." {
			return nil, fmt.Errorf("%s: %q is no file of a folder", name, rel)
		}
		out = append(out, Source{rel, mode, content})
	}
	return out, nil
}

// HoldContent sets contents that the plan names.
func (t *Target) HoldContent(c executor.Contents, content states.Content) {
	t.Hash, t.Size, t.Secret = content.Hash, content.Size, content.Secret
	t.Load = func(ctx context.Context) ([]byte, error) { return c.Bytes(ctx, content) }
	t.Open = func(ctx context.Context) (io.ReadCloser, error) { return executor.OpenContents(ctx, c, content) }
}

// Folder is one folder as it is to be.
type Folder struct {
	Wanted
	Path string
}

// Differs says what lacks; nothing when it is as wanted. What is there and is no folder is an error.
func (f *Folder) Differs(h executor.Host) (string, error) {
	st, err := Look(h, f.Path)
	switch {
	case err != nil:
		return "", err
	case st == nil:
		return f.Created("folder", DefaultFolderMode), nil
	case !st.Mode.IsDir():
		return "", fmt.Errorf("%s is %s", f.Path, KindName(st.Mode))
	}
	return f.Diff(*st), nil
}

// Apply makes or changes the folder; those above it are there or made.
func (f *Folder) Apply(h executor.Host) error {
	if f.Missing != nil {
		return f.Missing
	}
	st, err := Look(h, f.Path)
	if err != nil {
		return err
	}
	if st != nil {
		return h.SetMeta(f.Path, f.Over(st, DefaultFolderMode, IDs{}))
	}
	if err := MakeParents(h, f.Path); err != nil {
		return err
	}
	return h.Mkdir(f.Path, f.Over(nil, DefaultFolderMode, Self(h)))
}
