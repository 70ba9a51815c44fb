package hosttest

import (
	"errors"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"testing"
	"time"

	"shoal/executor"
)

// FilesSuite is the conformance suite of executor.Files. open returns a fresh, empty machine.
func FilesSuite(t *testing.T, open func(t *testing.T) executor.Host) {
	for name, test := range map[string]func(*testing.T, executor.Host){
		"Empty": empty, "StageAndRename": stageAndRename, "StageAbove": stageAbove, "Unstage": unstage, "Folders": folders,
		"Symlinks": symlinks, "Meta": meta, "Links": links, "Hash": hash, "Strangers": strangers, "Escape": escape, "Errors": refusals,
		"Settings": settings,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func isNot(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, wanted %v", err, want)
	}
}

func put(t *testing.T, h executor.Host, name, text string, m executor.Meta) {
	t.Helper()
	staged, err := h.Stage(name, []byte(text), m)
	must(t, err)
	must(t, h.SyncFiles())
	must(t, h.Rename(staged, name))
}

func holds(t *testing.T, h executor.Host, name, want string) {
	t.Helper()
	data, err := h.ReadFile(name)
	must(t, err)
	if string(data) != want {
		t.Fatalf("%s holds %q, wanted %q", name, data, want)
	}
}

func lstat(t *testing.T, h executor.Host, name string) executor.Stat {
	t.Helper()
	st, err := h.Lstat(name)
	must(t, err)
	return st
}

func names(t *testing.T, h executor.Host, dir string) []string {
	t.Helper()
	all, err := h.ReadDir(dir)
	must(t, err)
	return all
}

func empty(t *testing.T, h executor.Host) {
	if all := names(t, h, "/"); len(all) != 0 {
		t.Fatalf("not empty: %v", all)
	}
	for _, err := range []error{
		second(h.Lstat("/a")), second(h.Lstat("/a/b")), second(h.ReadFile("/a")), second(h.Readlink("/a")), second(h.ReadDir("/a")),
		second(h.Xattrs("/a")), second(h.Hash("/a", executor.Stat{})), h.Remove("/a"), h.SetMeta("/a", executor.Meta{}),
		h.Mkdir("/a/b", executor.Meta{}), h.Symlink("x", "/a/b"), h.Rename("/a", "/b"),
	} {
		isNot(t, err, fs.ErrNotExist)
	}
}

func second[T any](_ T, err error) error { return err }

func stageAndRename(t *testing.T, h executor.Host) {
	mtime := time.Unix(1234567890, 123456789)
	m := executor.Meta{Mode: fs.ModeSetuid | 0o711, UID: 12, GID: 34, Mtime: mtime, Xattrs: map[string][]byte{"user.a": []byte("1")}}
	staged, err := h.Stage("/f", []byte("one"), m)
	must(t, err)
	if path.Dir(staged) != "/" {
		t.Fatalf("staged at %s, not beside its target", staged)
	}
	_, err = h.Lstat("/f")
	isNot(t, err, fs.ErrNotExist)
	holds(t, h, staged, "one")
	must(t, h.Rename(staged, "/f"))
	holds(t, h, "/f", "one")
	st := lstat(t, h, "/f")
	if st.Mode != 0o711|fs.ModeSetuid || st.UID != 12 || st.GID != 34 || st.Size != 3 || st.Mtime != mtime.UnixNano() {
		t.Fatalf("stat %+v", st)
	}
	attrs, err := h.Xattrs("/f")
	must(t, err)
	if !reflect.DeepEqual(attrs, m.Xattrs) {
		t.Fatalf("xattrs %q", attrs)
	}
	put(t, h, "/f", "two", executor.Meta{Mode: 0o600})
	holds(t, h, "/f", "two")
	if now := lstat(t, h, "/f"); now.Inode == st.Inode || now.Mode != 0o600 || now.Mtime == st.Mtime {
		t.Fatalf("the old file was changed in place: %+v", now)
	}
	if all := names(t, h, "/"); !slices.Equal(all, []string{"f"}) {
		t.Fatalf("left over: %v", all)
	}
}

func stageAbove(t *testing.T, h executor.Host) {
	staged, err := h.Stage("/a/b/f", []byte("x"), executor.Meta{Mode: 0o644})
	must(t, err)
	isNot(t, h.Rename(staged, "/a/b/f"), fs.ErrNotExist)
	must(t, h.Mkdir("/a", executor.Meta{Mode: 0o755}))
	must(t, h.Mkdir("/a/b", executor.Meta{Mode: 0o755}))
	must(t, h.Rename(staged, "/a/b/f"))
	holds(t, h, "/a/b/f", "x")
}

func unstage(t *testing.T, h executor.Host) {
	must(t, h.Mkdir("/d", executor.Meta{Mode: 0o755}))
	for _, name := range []string{"/f", "/d/f", "/d/x/y/f", "/n/f"} {
		_, err := h.Stage(name, []byte("x"), executor.Meta{Mode: 0o644})
		must(t, err)
	}
	put(t, h, "/kept", "k", executor.Meta{Mode: 0o644})
	must(t, h.Unstage([]string{"/f", "/d/f", "/d/x/y/f", "/n/f", "/kept/below/a/file"}))
	if all := names(t, h, "/"); !slices.Equal(all, []string{"d", "kept"}) {
		t.Fatalf("left over: %v", all)
	}
	if all := names(t, h, "/d"); len(all) != 0 {
		t.Fatalf("left over: %v", all)
	}
}

func folders(t *testing.T, h executor.Host) {
	must(t, h.Mkdir("/d", executor.Meta{Mode: 0o750 | fs.ModeSetgid, UID: 1, GID: 2}))
	st := lstat(t, h, "/d")
	if st.Mode != fs.ModeDir|fs.ModeSetgid|0o750 || st.UID != 1 || st.GID != 2 {
		t.Fatalf("stat %+v", st)
	}
	isNot(t, h.Mkdir("/d", executor.Meta{}), fs.ErrExist)
	put(t, h, "/d/b", "", executor.Meta{Mode: 0o644})
	put(t, h, "/d/a", "", executor.Meta{Mode: 0o644})
	if all := names(t, h, "/d"); !slices.Equal(all, []string{"a", "b"}) {
		t.Fatalf("names %v", all)
	}
	if h.Remove("/d") == nil {
		t.Fatal("a folder that is not empty was removed")
	}
	must(t, h.Remove("/d/a"))
	must(t, h.Remove("/d/b"))
	must(t, h.Remove("/d"))
	must(t, h.Mkdir("/from", executor.Meta{Mode: 0o755}))
	put(t, h, "/from/f", "text", executor.Meta{Mode: 0o644})
	must(t, h.Mkdir("/to", executor.Meta{Mode: 0o755}))
	must(t, h.Rename("/from", "/to/moved"))
	holds(t, h, "/to/moved/f", "text")
	if all := names(t, h, "/"); !slices.Equal(all, []string{"to"}) {
		t.Fatalf("left over: %v", all)
	}
}

func symlinks(t *testing.T, h executor.Host) {
	must(t, h.Symlink("a", "/l"))
	must(t, h.Symlink("/b/c", "/l"))
	target, err := h.Readlink("/l")
	must(t, err)
	if target != "/b/c" || lstat(t, h, "/l").Mode.Type() != fs.ModeSymlink {
		t.Fatalf("target %s", target)
	}
	put(t, h, "/f", "text", executor.Meta{Mode: 0o644})
	must(t, h.Symlink("x", "/f"))
	put(t, h, "/f", "text", executor.Meta{Mode: 0o644})
	holds(t, h, "/f", "text")
	must(t, h.Remove("/l"))
	if all := names(t, h, "/"); !slices.Equal(all, []string{"f"}) {
		t.Fatalf("left over: %v", all)
	}
}

func meta(t *testing.T, h executor.Host) {
	put(t, h, "/f", "text", executor.Meta{Mode: 0o644, Xattrs: map[string][]byte{"user.a": []byte("1"), "user.b": []byte("2")}})
	before := lstat(t, h, "/f")
	must(t, h.SetMeta("/f", executor.Meta{Mode: fs.ModeSetuid | fs.ModeSetgid | 0o755, UID: 5, GID: 6}))
	st := lstat(t, h, "/f")
	if st.Mode != 0o755|fs.ModeSetuid|fs.ModeSetgid || st.UID != 5 || st.GID != 6 || st.Mtime != before.Mtime || st.Inode != before.Inode {
		t.Fatalf("stat %+v", st)
	}
	attrs, err := h.Xattrs("/f")
	must(t, err)
	if len(attrs) != 2 {
		t.Fatalf("nil xattrs changed them to %q", attrs)
	}
	mtime := time.Unix(1, 2)
	must(t, h.SetMeta("/f", executor.Meta{Mode: 0o600, Mtime: mtime, Xattrs: map[string][]byte{"user.b": []byte("3")}}))
	attrs, err = h.Xattrs("/f")
	must(t, err)
	if len(attrs) != 1 || string(attrs["user.b"]) != "3" || lstat(t, h, "/f").Mtime != mtime.UnixNano() {
		t.Fatalf("xattrs %q", attrs)
	}
	must(t, h.Symlink("nowhere", "/l"))
	must(t, h.SetMeta("/l", executor.Meta{UID: 7, GID: 8, Mtime: mtime}))
	if st := lstat(t, h, "/l"); st.UID != 7 || st.GID != 8 || st.Mtime != mtime.UnixNano() {
		t.Fatalf("symlink %+v", st)
	}
}

// links: the last element is never followed, root's own links before it are.
func links(t *testing.T, h executor.Host) {
	must(t, h.Mkdir("/real", executor.Meta{Mode: 0o755}))
	must(t, h.Symlink("real", "/rel"))
	must(t, h.Symlink("/rel", "/abs"))
	put(t, h, "/abs/f", "through", executor.Meta{Mode: 0o644})
	holds(t, h, "/real/f", "through")
	if lstat(t, h, "/abs/f").Size != 7 {
		t.Fatal("lstat does not see through a folder's link")
	}
	must(t, h.Symlink("/real/f", "/last"))
	if second(h.ReadFile("/last")) == nil {
		t.Fatal("a link in the last element was followed")
	}
	must(t, h.Symlink("loop", "/loop"))
	if second(h.ReadFile("/loop/f")) == nil {
		t.Fatal("a loop has an end")
	}
}

func hash(t *testing.T, h executor.Host) {
	put(t, h, "/f", "text", executor.Meta{Mode: 0o644})
	const want = "sha256:982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
	for range 2 {
		got, err := h.Hash("/f", lstat(t, h, "/f"))
		must(t, err)
		if got != want {
			t.Fatalf("hash %s", got)
		}
	}
	// At once, of the same length: a clock that ticks slowly does not tell the two apart.
	put(t, h, "/f", "TEXT", executor.Meta{Mode: 0o644})
	got, err := h.Hash("/f", lstat(t, h, "/f"))
	must(t, err)
	if got == want {
		t.Fatal("the hash of the old contents")
	}
}

// strangers: a folder that is a link of someone else's is not passed.
func strangers(t *testing.T, h executor.Host) {
	must(t, h.Mkdir("/real", executor.Meta{Mode: 0o755}))
	put(t, h, "/real/f", "text", executor.Meta{Mode: 0o644})
	must(t, h.Symlink("/real", "/l"))
	must(t, h.SetMeta("/l", executor.Meta{UID: 4242, GID: 4242}))
	for _, err := range []error{
		second(h.Stage("/l/f", nil, executor.Meta{})), second(h.ReadFile("/l/f")), second(h.Readlink("/l/f")), h.Remove("/l/f"),
		h.SetMeta("/l/f", executor.Meta{}), h.Mkdir("/l/d", executor.Meta{}), h.Symlink("x", "/l/s"), h.Rename("/real/f", "/l/g"),
	} {
		isNot(t, err, executor.ErrUnsafePath)
	}
	holds(t, h, "/real/f", "text")
}

// escape: no link leads out of the root.
func escape(t *testing.T, h executor.Host) {
	must(t, h.Mkdir("/d", executor.Meta{Mode: 0o755}))
	must(t, h.Symlink("../../../../../..", "/d/up"))
	must(t, h.Symlink("/", "/d/top"))
	for _, name := range []string{"/d/up/f", "/d/top/g", "/../../h"} {
		put(t, h, name, "in", executor.Meta{Mode: 0o644})
	}
	if all := names(t, h, "/"); !slices.Equal(all, []string{"d", "f", "g", "h"}) {
		t.Fatalf("the root holds %v", all)
	}
	if lstat(t, h, "/d/up/f").Inode != lstat(t, h, "/f").Inode {
		t.Fatal("reads go elsewhere than writes")
	}
}

func refusals(t *testing.T, h executor.Host) {
	put(t, h, "/f", "text", executor.Meta{Mode: 0o644})
	must(t, h.Mkdir("/d", executor.Meta{Mode: 0o755}))
	staged, err := h.Stage("/x", nil, executor.Meta{})
	must(t, err)
	for name, err := range map[string]error{
		"relative lstat": second(h.Lstat("f")), "relative stage": second(h.Stage("f", nil, executor.Meta{})), "root": h.Remove("/"),
		"file as folder": second(h.Lstat("/f/x")), "folder as file": second(h.ReadFile("/d")), "folder's hash": second(h.Hash("/d", executor.Stat{})),
		"file's names": second(h.ReadDir("/f")), "file's target": second(h.Readlink("/f")), "rename over a folder": h.Rename(staged, "/d"),
		"symlink over a folder": h.Symlink("x", "/d"), "stage below a file": second(h.Stage("/f/x", nil, executor.Meta{})),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	holds(t, h, "/f", "text")
	must(t, h.Unstage([]string{"/x"}))
	if all := names(t, h, "/"); !slices.Equal(all, []string{"d", "f"}) {
		t.Errorf("left over: %v", all)
	}
}

// settings: what is not the kernel's is not written in place. What is, only a machine's own root has.
func settings(t *testing.T, h executor.Host) {
	put(t, h, "/f", "old", executor.Meta{Mode: 0o644})
	if h.WriteSetting("/f", []byte("new")) == nil {
		t.Error("wrote to a file on a disk")
	}
	holds(t, h, "/f", "old")
	isNot(t, h.WriteSetting("/none", []byte("x")), fs.ErrNotExist)
}
