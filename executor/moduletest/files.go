package moduletest

import (
	"fmt"
	"io/fs"
	"path"
	"testing"

	"shoal/executor"
)

// Files is a Snapshot of the whole file system, with everything but the times of folders: those change with every temporary
// file.
func Files(t *testing.T, h executor.Host) any {
	t.Helper()
	var rows []string
	list(t, h, "/", &rows)
	return rows
}

func list(t *testing.T, h executor.Host, dir string, rows *[]string) {
	t.Helper()
	names, err := h.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		name := path.Join(dir, n)
		st, err := h.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		row := fmt.Sprintf("%s %v %d:%d", name, st.Mode, st.UID, st.GID)
		attrs, err := h.Xattrs(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(attrs) > 0 {
			row += fmt.Sprintf(" %q", attrs)
		}
		switch {
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
		*rows = append(*rows, row)
		if st.Mode.IsDir() {
			list(t, h, name, rows)
		}
	}
}
