package moduletest

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"testing"

	"shoal/executor"
)

// Tree reads all that is below a folder: kind, mode, owner, contents, target, and the times of files and symlinks. That of a
// folder changes with every temporary file in it, and says nothing.
func Tree(t *testing.T, h executor.Host, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	addTree(t, h, dir, all)
	return all
}

func addTree(t *testing.T, h executor.Host, dir string, all map[string]string) {
	t.Helper()
	names, err := h.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		name := path.Join(dir, n)
		st, err := h.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		row := fmt.Sprintf("%v %d:%d", st.Mode, st.UID, st.GID)
		switch {
		case st.Mode.IsDir():
			addTree(t, h, name, all)
		case st.Mode.IsRegular():
			data, err := h.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			row += fmt.Sprintf(" %d %q", st.Mtime, data)
		case st.Mode&fs.ModeSymlink != 0:
			target, err := h.Readlink(name)
			if err != nil {
				t.Fatal(err)
			}
			row += fmt.Sprintf(" %d -> %s", st.Mtime, target)
		}
		all[name] = row
	}
}

// Put writes a file, and the folders above it.
func Put(t *testing.T, h executor.Host, name, text string) {
	t.Helper()
	folders(t, h, path.Dir(name))
	staged, err := h.Stage(name, []byte(text), executor.Meta{Mode: 0o644})
	if err == nil {
		err = h.Rename(staged, name)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func folders(t *testing.T, h executor.Host, dir string) {
	t.Helper()
	if _, err := h.Lstat(dir); err == nil || dir == "/" {
		return
	}
	folders(t, h, path.Dir(dir))
	if err := h.Mkdir(dir, executor.Meta{Mode: fs.ModeDir | 0o755}); err != nil {
		t.Fatal(err)
	}
}
