package attacks

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/local"
	"shoal/executor/module/archive"
	"shoal/executor/moduletest"
	"shoal/internal/builtin"
	"shoal/internal/codec"
	"shoal/internal/ownfile"
	"shoal/states"
	"shoal/store"
)

func treeAttacks() []attack {
	return []attack{
		{"path-traversal-in-a-manifest", "path traversal", Member, "names a file of a tree ../../etc/cron.d/x", "any-path", manifestWith(store.Entry{Path: "../../etc/cron.d/x", Mode: store.ModeFile})},
		{"absolute-path-in-a-manifest", "path traversal", Member, "names a file of a tree /etc/shadow", "any-path", manifestWith(store.Entry{Path: "/etc/shadow", Mode: store.ModeFile})},
		{"setuid-in-a-manifest", "path traversal", Member, "gives a file of a tree the mode 4755", "any-mode", manifestWith(store.Entry{Path: "x", Mode: 0o4755})},
		{"two-files-of-one-path", "path traversal", Member, "names a path twice, so that two readers of a tree see two files", "same-path-twice", manifestWith(
			store.Entry{Path: "x", Mode: store.ModeFile}, store.Entry{Path: "x", Mode: store.ModeExecutable})},
		{"manifest-bomb", "bomb", Member, "names a manifest of gigabytes, to be joined in memory", "manifests-unbounded", manifestBomb},
		{"alias-bomb", "bomb", Member, "writes a kilobyte of YAML that stands for millions of values", "aliases-unbounded", compiles(aliasBomb())},
		{"starlark-bomb", "bomb", Member, "writes a program that runs for ever", "starlark-unbounded", compiles(starBomb())},
		{"template-bomb", "bomb", Member, "writes loops within loops into a template", "templates-unbounded", compiles(templateBomb())},
		{"expression-bomb", "bomb", Member, "writes an expression that looks at each three of hundreds of values", "expressions-unbounded", compiles(expressionBomb())},
		{"archive-that-leaves", "path traversal", Member, "packs ../../etc/cron.d/x into an archive", "archive-leaves", unpacks(tar.Header{Name: "../../etc/cron.d/x", Mode: 0o644, Typeflag: tar.TypeReg})},
		{"archive-through-a-symlink", "path traversal", Member, "packs a symlink, and a file that is written through it", "archive-through-links", unpacks(
			tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "d"}, tar.Header{Name: "l/x", Mode: 0o644, Typeflag: tar.TypeReg})},
		{"archive-with-a-symlink-out", "path traversal", Member, "packs a symlink to ../../etc", "archive-links-out", unpacks(tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../../etc"})},
		{"decompression-bomb", "bomb", Member, "packs a hundred thousand entries into a few kilobytes", "archive-unbounded", unpacks(manyEntries()...)},
	}
}

func manifestWith(entries ...store.Entry) func(*testing.T) string {
	return func(t *testing.T) string {
		root := manifestOf(t, entries...)
		m, err := store.OpenManifest(t.Context(), store.HashOf(root), func(context.Context, store.Hash) ([]byte, error) { return root, nil })
		if err != nil {
			return ""
		}
		return fmt.Sprintf("a tree with %v is taken", m.Entries)
	}
}

// manifestOf is a manifest as an object, whatever its entries are.
func manifestOf(t *testing.T, entries ...store.Entry) []byte {
	return must(codec.Marshal(struct {
		Entries []store.Entry `cbor:"1,keyasint,omitempty"`
	}{entries}))(t)
}

func manifestBomb(t *testing.T) string {
	type object struct {
		Pieces []store.Chunk `cbor:"2,keyasint,omitempty"`
	}
	var o object
	for range 1000 {
		o.Pieces = append(o.Pieces, store.Chunk{Hash: sumOf("x"), Size: store.MaxObject})
	}
	pieces, err := store.Pieces(must(codec.Marshal(o))(t))
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d pieces of a manifest are fetched", len(pieces))
}

func treeOf(files ...string) fstest.MapFS {
	fsys := fstest.MapFS{"site.yaml": {Data: []byte("targets:\n  - on: \"*\"\n    components: [app]\n")}}
	for i := 0; i < len(files); i += 2 {
		fsys["components/app/"+files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return fsys
}

// compiles compiles a tree, as each node does.
func compiles(fsys fstest.MapFS) func(*testing.T) string {
	return func(*testing.T) string {
		began := time.Now()
		if _, err := states.Compile(fsys, states.Input{Node: states.Node{Name: "n1"}}, builtin.Functions()); err != nil {
			return ""
		}
		return fmt.Sprintf("it is compiled, in %s", time.Since(began).Round(time.Millisecond))
	}
}

func aliasBomb() fstest.MapFS {
	text := "a: &a [" + strings.Repeat("x,", 99) + "x]\nb: &b [" + strings.Repeat("*a,", 99) + "*a]\nc: [" + strings.Repeat("*b,", 149) + "*b]\n"
	return treeOf("defaults.yaml", text, "states.yaml", "states: {}\n")
}

func starBomb() fstest.MapFS {
	return treeOf("states.star", "def states(node, vars):\n    for i in range(3000):\n        for j in range(1000):\n            pass\n    return {\"states\": {}}\n")
}

func templateBomb() fstest.MapFS {
	return treeOf("states.yaml.j2", "{% for i in range(1500) %}{% for j in range(1500) %}{% endfor %}{% endfor %}states: {}\n")
}

func expressionBomb() fstest.MapFS {
	list := "[" + strings.Repeat("1,", 149) + "1]"
	return treeOf("defaults.yaml", "l: "+list+"\n", "states.yaml",
		"states:\n  a:\n    cmd.run: {shell: \"true\"}\n    when: 'vars.l.all(a, vars.l.all(b, vars.l.all(c, a + b + c > 0)))'\n")
}

func tarOf(heads ...tar.Header) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, head := range heads {
		_ = w.WriteHeader(&head)
	}
	_ = w.Close()
	_ = z.Close()
	return b.Bytes()
}

func manyEntries() []tar.Header {
	heads := make([]tar.Header, 100_001)
	for i := range heads {
		heads[i] = tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755}
	}
	return heads
}

// unpacks hands an archive to archive.extracted.
func unpacks(heads ...tar.Header) func(*testing.T) string {
	return func(t *testing.T) string {
		h, texts := fake.New(), moduletest.Texts{}
		data := tarOf(heads...)
		p := executor.Params{"path": "/srv/app", "contents": texts.Text(string(data))}
		_, err := archive.Extracted{}.Apply(t.Context(), h, texts, p)
		if err != nil && (strings.Contains(err.Error(), "leaves the folder") || strings.Contains(err.Error(), "through a symlink") || strings.Contains(err.Error(), "more than")) {
			return ""
		}
		return fmt.Sprintf("an archive of %d bytes with %q is unpacked (%v)", len(data), heads[0].Name, err)
	}
}

func hostAttacks() []attack {
	return []attack{
		{"symlink-of-a-user", "symlink", Stranger, "is a user of the machine, and puts a symlink to /etc where root is to write", "anybodys-symlinks", usersSymlink},
		{"symlink-race", "symlink", Stranger, "is a user of the machine, and swaps a folder for a symlink while root writes there", "symlinks-followed", symlinkRace},
		{"file-of-another", "file", Stranger, "is a user of the machine, and has a file of its own taken for one of root's keys or tokens", "files-of-others", otherFile(0o600, userID)},
		{"file-that-all-may-read", "file", Stranger, "is a user of the machine, and waits for a key in a file that all may read", "files-for-all", otherFile(0o644, 0)},
	}
}

const userID = 4242

// machine is a root folder with a folder that is root's, and one of a user.
func machine(t *testing.T) (h *local.Host, root string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: the attack is one of another user")
	}
	root = t.TempDir()
	for _, dir := range []string{"etc", "home"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(root, "home"), userID, userID); err != nil {
		t.Fatal(err)
	}
	h = must(local.New(local.Options{Root: root}))(t)
	t.Cleanup(func() { h.Close() })
	return h, root
}

func plantLink(root string) error {
	name := filepath.Join(root, "home/.d") // made elsewhere: it is the user's from the beginning
	if err := os.Symlink("../etc", name); err != nil {
		return err
	}
	if err := os.Lchown(name, userID, userID); err != nil {
		return err
	}
	return os.Rename(name, filepath.Join(root, "home/d"))
}

// writes is what root does for a state: stage beside, and rename.
func writes(t *testing.T, h *local.Host, root string) string {
	staged, err := h.Stage("/home/d/x", []byte("text"), executor.Meta{Mode: 0o644})
	said := inEtc(t, root)
	if err == nil {
		_ = h.Rename(staged, "/home/d/x")
	}
	_ = h.Unstage([]string{"/home/d/x"})
	if said == "" {
		said = inEtc(t, root)
	}
	return said
}

func inEtc(t *testing.T, root string) string {
	for _, e := range must(os.ReadDir(filepath.Join(root, "etc")))(t) {
		return "root writes etc/" + e.Name() + " for a user"
	}
	return ""
}

func usersSymlink(t *testing.T) string {
	h, root := machine(t)
	if err := plantLink(root); err != nil {
		t.Fatal(err)
	}
	return writes(t, h, root)
}

func symlinkRace(t *testing.T) string {
	h, root := machine(t)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			name := filepath.Join(root, "home/d")
			_ = os.Mkdir(name, 0o755)
			_ = os.RemoveAll(name)
			_ = plantLink(root)
			_ = os.Remove(name)
		}
	}()
	said := ""
	for i := 0; i < 1000 && said == ""; i++ {
		said = writes(t, h, root)
	}
	close(stop)
	<-done
	return said
}

// otherFile is a file in a folder of root's, with a mode and an owner, that root reads as its own.
func otherFile(mode os.FileMode, owner int) func(t *testing.T) string {
	return func(t *testing.T) string {
		_, root := machine(t)
		name := filepath.Join(root, "etc/key")
		if err := errors.Join(os.WriteFile(name, []byte("theirs"), mode), os.Chmod(name, mode), os.Chown(name, owner, owner)); err != nil {
			t.Fatal(err)
		}
		if data, err := ownfile.Read(name); err == nil {
			return fmt.Sprintf("root goes by %q of a file of user %d with mode %04o", data, owner, mode)
		}
		return ""
	}
}
