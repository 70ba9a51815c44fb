package file_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/local"
	"shoal/executor/module/file"
	"shoal/executor/moduletest"
	"shoal/internal/hostfile"
	"shoal/internal/testhost"
)

// TestMain: every function of the package has a conformance suite.
func TestMain(m *testing.M) { moduletest.Main(m, file.Modules()) }

type accounts struct{ executor.Accounts }

func (accounts) LookupUser(name string) (executor.User, bool, error) {
	return executor.User{Name: "app", UID: 1234, GID: 1234}, name == "app", nil
}

func (accounts) LookupGroup(name string) (executor.Group, bool, error) {
	return executor.Group{Name: "app", GID: 1234}, name == "app", nil
}

// hosts are the kinds of machine that every case is tried on.
func hosts() map[string]func(t *testing.T) executor.Host {
	return map[string]func(t *testing.T) executor.Host{
		"local": func(t *testing.T) executor.Host { return newLocal(t) },
		"fake": func(t *testing.T) executor.Host {
			h := fake.New()
			if err := h.PutUser(t.Context(), executor.User{Name: "app", UID: 1234}); err != nil {
				t.Fatal(err)
			}
			return h
		},
	}
}

func newLocal(t *testing.T) *local.Host {
	t.Helper()
	h := testhost.Local(t)
	h.Accounts = accounts{}
	return h
}

func have(t *testing.T, h executor.Host, name, text string, meta executor.Meta) {
	t.Helper()
	folder(t, h, filepath.Dir(name))
	staged, err := h.Stage(name, []byte(text), meta)
	if err == nil {
		err = h.Rename(staged, name)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func folder(t *testing.T, h executor.Host, name string) {
	t.Helper()
	if _, err := h.Lstat(name); name == "/" || err == nil {
		return
	}
	folder(t, h, filepath.Dir(name))
	if err := h.Mkdir(name, executor.Meta{Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, h executor.Host, name, target string) {
	t.Helper()
	folder(t, h, filepath.Dir(name))
	if err := h.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

func suite(t *testing.T, m executor.Module, cases []moduletest.Case) {
	for name, host := range hosts() {
		t.Run(name, func(t *testing.T) {
			moduletest.Run(t, moduletest.Suite{Module: m, Host: host, Snapshot: moduletest.Files, Cases: cases})
		})
	}
}

func TestManaged(t *testing.T) {
	texts := moduletest.Texts{}
	new := texts.Text("new\n")
	empty := texts.Text("")
	xattrs := map[string][]byte{"user.note": []byte("x")}
	old := func(mode os.FileMode, uid uint32) func(*testing.T, executor.Host) {
		return func(t *testing.T, h executor.Host) {
			have(t, h, "/etc/f", "old\n", executor.Meta{Mode: mode, UID: uid, GID: uid, Xattrs: xattrs})
		}
	}
	same := func(t *testing.T, h executor.Host) { have(t, h, "/etc/f", "new\n", executor.Meta{Mode: 0o644}) }
	type p = executor.Params
	cases := []moduletest.Case{
		{Name: "new", Params: p{"path": "/f", "contents": new}},
		{Name: "new, parents too", Params: p{"path": "/a/b/c/f", "contents": new, "mode": "0600", "owner": "app", "group": "app"}},
		{Name: "new and empty", Params: p{"path": "/etc/f", "contents": empty}},
		{Name: "new without contents", Params: p{"path": "/etc/f"}},
		{Name: "other contents", Params: p{"path": "/etc/f", "contents": new}, Setup: old(0o640, 7)},
		{Name: "other everything", Params: p{"path": "/etc/f", "contents": new, "mode": "4755", "owner": "0", "group": "0"}, Setup: old(os.ModeSetgid|0o640, 7)},
		{Name: "other mode", Params: p{"path": "/etc/f", "contents": new, "mode": "0600"}, Setup: same},
		{Name: "other mode, contents left alone", Params: p{"path": "/etc/f", "mode": "1777"}, Setup: old(0o644, 7)},
		{Name: "other owner, contents left alone", Params: p{"path": "/etc/f", "owner": "app"}, Setup: old(os.ModeSetuid|0o755, 7)},
		{Name: "emptied", Params: p{"path": "/etc/f", "contents": empty}, Setup: old(0o644, 0)},
		{Name: "matches", Params: p{"path": "/etc/f", "contents": new, "mode": "0644"}, Setup: same, Matches: true},
		{Name: "matches, meta alone", Params: p{"path": "/etc/f", "mode": "0644"}, Setup: same, Matches: true},
		{Name: "over a symlink", Params: p{"path": "/etc/f", "contents": new}, Setup: func(t *testing.T, h executor.Host) { link(t, h, "/etc/f", "elsewhere") }},
		{Name: "validated", Params: p{"path": "/etc/f", "contents": new, "validate": "true {path}"}, Setup: old(0o644, 0)},
		{Name: "refused", Params: p{"path": "/etc/f", "contents": new, "validate": "echo bad >&2; false {path}"}, Setup: old(0o644, 0), Fails: true},
	}
	for i := range cases {
		cases[i].Contents = texts
	}
	suite(t, file.Managed{}, cases)
}

func TestDirectory(t *testing.T) {
	type p = executor.Params
	there := func(t *testing.T, h executor.Host) {
		folder(t, h, "/srv/d")
		have(t, h, "/srv/d/inside", "x", executor.Meta{Mode: 0o600})
	}
	suite(t, file.Directory{}, []moduletest.Case{
		{Name: "new", Params: p{"path": "/d"}},
		{Name: "new, parents too", Params: p{"path": "/a/b/d", "mode": "2750", "owner": "app", "group": "app"}},
		{Name: "other mode", Params: p{"path": "/srv/d", "mode": "1777"}, Setup: there},
		{Name: "other owner", Params: p{"path": "/srv/d", "owner": "app"}, Setup: there},
		{Name: "matches", Params: p{"path": "/srv/d", "mode": "0755"}, Setup: there, Matches: true},
	})
}

func TestSymlink(t *testing.T) {
	type p = executor.Params
	suite(t, file.Symlink{}, []moduletest.Case{
		{Name: "new", Params: p{"path": "/a/l", "target": "../x"}},
		{Name: "other target", Params: p{"path": "/l", "target": "b"}, Setup: func(t *testing.T, h executor.Host) { link(t, h, "/l", "a") }},
		{Name: "over a file", Params: p{"path": "/l", "target": "b"}, Setup: func(t *testing.T, h executor.Host) {
			have(t, h, "/l", "text", executor.Meta{Mode: os.ModeSetuid | 0o711, UID: 3, GID: 4})
		}},
		{Name: "matches", Params: p{"path": "/l", "target": "a"}, Setup: func(t *testing.T, h executor.Host) { link(t, h, "/l", "a") }, Matches: true},
	})
}

func TestAbsent(t *testing.T) {
	type p = executor.Params
	suite(t, file.Absent{}, []moduletest.Case{
		{Name: "nothing", Params: p{"path": "/a/b"}, Matches: true},
		{Name: "file", Params: p{"path": "/etc/f"}, Setup: func(t *testing.T, h executor.Host) {
			have(t, h, "/etc/f", "text", executor.Meta{Mode: 0o600, UID: 5, GID: 6})
		}},
		{Name: "symlink", Params: p{"path": "/l"}, Setup: func(t *testing.T, h executor.Host) { link(t, h, "/l", "/etc") }},
		{Name: "tree", Params: p{"path": "/d"}, Setup: func(t *testing.T, h executor.Host) {
			deep := "/d" + strings.Repeat("/x", 20)
			have(t, h, deep+"/f", "deep", executor.Meta{Mode: 0o600, UID: 5, GID: 6})
			have(t, h, "/d/a", "a", executor.Meta{Mode: 0o755})
			link(t, h, "/d/l", "a")
		}},
	})
}

func TestAbsentBeyondTheLimitIsIrreversible(t *testing.T) {
	h := fake.New()
	folder(t, h, "/d")
	for i := range hostfile.MaxKeptEntries {
		if err := h.Symlink("x", fmt.Sprintf("/d/%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	undo, err := file.Absent{}.Capture(t.Context(), h, executor.Params{"path": "/d"})
	if err != nil || undo.Reversible || !strings.Contains(undo.Why, "too much to be put back") {
		t.Fatalf("%+v, %v", undo, err)
	}
}

func TestRefused(t *testing.T) {
	texts := moduletest.Texts{}
	content := texts.Text("x")
	for name, host := range hosts() {
		t.Run(name, func(t *testing.T) {
			h := host(t)
			folder(t, h, "/d")
			have(t, h, "/f", "x", executor.Meta{Mode: 0o644})
			link(t, h, "/hostile", "/d")
			if err := h.SetMeta("/hostile", executor.Meta{UID: 4242, GID: 4242}); err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				m    executor.Module
				p    executor.Params
				want string
			}{
				{file.Managed{}, executor.Params{"path": "/d", "contents": content}, "/d is a folder"},
				{file.Managed{}, executor.Params{"path": "/f/x", "contents": content}, "not a directory"},
				{file.Managed{}, executor.Params{"path": "/hostile/x", "contents": content}, "does not belong to root"},
				{file.Managed{}, executor.Params{"path": "/n", "contents": content, "owner": "nobody-there"}, "no user nobody-there"},
				{file.Managed{}, executor.Params{"path": "/n", "contents": content, "mode": "888"}, "not an octal mode"},
				{file.Managed{}, executor.Params{"path": "relative", "contents": content}, "not a clean absolute path"},
				{file.Directory{}, executor.Params{"path": "/f"}, "/f is a file"},
				{file.Directory{}, executor.Params{"path": "/hostile/x"}, "does not belong to root"},
				{file.Symlink{}, executor.Params{"path": "/d", "target": "x"}, "/d is a folder"},
			} {
				_, err := c.m.Check(t.Context(), h, texts, c.p)
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s %v: %v, wanted %q", c.m.Function().FullName(), c.p, err, c.want)
				}
			}
		})
	}
}

func TestDiffs(t *testing.T) {
	texts := moduletest.Texts{}
	h := fake.New()
	have(t, h, "/f", "one\ntwo\nthree\n", executor.Meta{Mode: 0o644})
	change, err := file.Managed{}.Check(t.Context(), h, texts, executor.Params{"path": "/f", "contents": texts.Text("one\n2\nthree\n"), "mode": "0600"})
	want := "--- /f\n+++ /f\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\nmode: 0644 -> 0600\n"
	if err != nil || change.Diff != want {
		t.Errorf("%v\n%s", err, change.Diff)
	}
}

func TestSpecialFilesAreRefused(t *testing.T) {
	h := newLocal(t)
	if err := unix.Mkfifo(h.Root()+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	texts := moduletest.Texts{}
	_, err := file.Managed{}.Check(t.Context(), h, texts, executor.Params{"path": "/pipe", "contents": texts.Text("x")})
	if err == nil {
		t.Error("a pipe is taken for a file")
	}
	undo, err := file.Absent{}.Capture(t.Context(), h, executor.Params{"path": "/pipe"})
	if err != nil || undo.Reversible {
		t.Errorf("%+v, %v", undo, err)
	}
}

func FuzzMode(f *testing.F) {
	f.Add("0644")
	f.Add("7777")
	f.Fuzz(func(t *testing.T, s string) {
		mode, err := hostfile.ParseMode(s)
		if err == nil && mode&^(os.ModePerm|os.ModeSetuid|os.ModeSetgid|os.ModeSticky) != 0 {
			t.Errorf("%q has bits %v", s, mode)
		}
	})
}
