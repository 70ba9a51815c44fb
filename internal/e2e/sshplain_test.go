package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"shoal/internal/sshdtest"
)

// TestSSHPlainMachine: accounts, packages of apt and downloads of the machine itself, with no program there; and all of it taken
// back when it leaves the tree.
func TestSSHPlainMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("installs packages: not with -short")
	}
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fetched") }))
	t.Cleanup(files.Close)
	sum := sha256.Sum256([]byte("fetched"))
	w := newSSHWorld(t, map[string]string{
		"site.yaml": "targets:\n  - on: \"*\"\n    components: [c]\n",
		"components/c/states.yaml": `states:
  staff:
    group.present: {name: shoalstaff, gid: 4801}
  ann:
    user.present: {name: shoalann, uid: 4800, group: shoalstaff, home: /home/shoalann, password: "$6$salt$hash"}
    require: [staff]
  leaf:
    pkg.installed: {name: shoal-leaf, version: "1.0"}
  conf:
    file.managed: {path: /etc/shoal-leaf.conf, content: mine, owner: shoalann}
    require: [leaf, ann]
  got:
    download.fetched: {path: /srv/got, url: ` + files.URL + "/x, sha256: " + hex.EncodeToString(sum[:]) + `}
`,
	})
	s := w.server(sshdtest.Layered(t, sshdtest.Repository(t), "/etc", "/var", "/usr", "/home", "/srv"))
	snapshot := func() map[string]string {
		all := map[string]string{}
		for _, name := range []string{"passwd", "group", "shadow", "gshadow"} {
			data, err := os.ReadFile(s.Path("/etc/" + name))
			if err != nil {
				t.Fatal(err)
			}
			all[name] = string(data)
		}
		return all
	}
	before := snapshot()
	args := []string{w.tree, "--ssh", s.Target(), "--ssh-mode=plain"}
	for _, want := range []int{5, 0} {
		out, diagnostics := w.run(0, append([]string{"apply", "--json"}, args...)...)
		if strings.Contains(diagnostics, "needs the program there") || !strings.Contains(out, fmt.Sprintf(`"changed": %d`, want)) {
			t.Fatalf("wanted %d changes\n%s%s", want, out, diagnostics)
		}
	}
	holds(t, s.Path("/etc/passwd"), "\nshoalann:x:4800:4801:")
	holds(t, s.Path("/etc/shadow"), "\nshoalann:$6$salt$hash:")
	holds(t, s.Path("/etc/shoal-leaf.conf"), "mine")
	holds(t, s.Path("/srv/got"), "fetched")
	holds(t, s.Path("/var/lib/dpkg/status"), "Package: shoal-leaf\nStatus: install ok installed\n")
	if after := snapshot(); after["passwd"] == before["passwd"] {
		t.Error("no user")
	}
	w.write("components/c/states.yaml", "states: {}\n")
	w.run(0, append([]string{"apply"}, args...)...)
	for name, was := range before {
		if is := snapshot()[name]; is != was {
			t.Errorf("%s is not as it was:\n%s", name, is)
		}
	}
	absent(t, s.Path("/srv/got"))
	if data, err := os.ReadFile(s.Path("/var/lib/dpkg/status")); err != nil || strings.Contains(string(data), "Package: shoal-leaf\nStatus: install ok installed") {
		t.Errorf("the package is there: %v", err)
	}
}

// TestSSHRecover: what a line that broke left is taken back when somebody asks for it, with no tree.
func TestSSHRecover(t *testing.T) {
	modes(t, func(t *testing.T, mode string) {
		box, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		w := newSSHWorld(t, steps(box, 1))
		s := w.server(sshdtest.Options{Config: "SetEnv XDG_CACHE_HOME=" + cacheDir(t)})
		if err := errors.Join(os.Mkdir(filepath.Join(box, "etc"), 0o755), os.WriteFile(filepath.Join(box, "etc/f0"), []byte("old"), 0o640)); err != nil {
			t.Fatal(err)
		}
		again := []string{"recover", "--ssh", s.Target(), "--root", box, mode}
		if _, said := w.run(0, again...); !strings.Contains(said, "no run was interrupted") {
			t.Errorf("%s", said)
		}
		cmd, _, _ := w.command(t.Context(), "apply", w.tree, "--ssh", s.Target(), "--root", box, mode)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pid := begun(t, filepath.Join(box, "pid0"))
		holds(t, filepath.Join(box, "etc/f0"), "new 0")
		for _, victim := range append(append(workers(box), s.Sessions()...), cmd.Process.Pid) {
			_ = syscall.Kill(victim, syscall.SIGKILL) // one may end with another
		}
		_ = cmd.Wait() // it was killed
		_ = syscall.Kill(pid, syscall.SIGKILL)
		gone(t, pid)
		out, said := w.run(0, again...)
		if !strings.Contains(out+said, "rolled_back") {
			t.Errorf("%s%s", out, said)
		}
		holds(t, filepath.Join(box, "etc/f0"), "old")
		if reports := w.reports(0, again...); len(reports) != 1 || reports[0].Result != "" {
			t.Errorf("%+v", reports)
		}
	})
}

// TestSSHSecrets: nothing that a run elsewhere prints holds a secret, in either way to work there, whether it succeeds or fails; what
// a machine says itself is no exception. It gets the secret all the same.
func TestSSHSecrets(t *testing.T) {
	const secret = "hunter2-and-more"
	modes(t, func(t *testing.T, mode string) {
		w := newSSHWorld(t, map[string]string{
			"site.yaml":                  "targets:\n  - on: \"*\"\n    components: [c]\n",
			"components/c/defaults.yaml": "token: !secret " + secret + "\nfail: false\n",
			"components/c/states.yaml": `states:
  conf:
    file.managed: {path: /etc/conf, content: "token=${vars.token}\n"}
  user:
    user.present: {name: shoalann, gecos: "${vars.token}"}
  says:
    cmd.run: {argv: [sh, -c, "echo it is $1; echo it is $1 >&2; exit 3", sh, "${vars.token}"]}
    require: [conf]
    when: vars.fail
`,
		})
		s := w.server(sshdtest.Options{Config: "SetEnv XDG_CACHE_HOME=" + cacheDir(t)})
		box := w.box("m")
		hides := func(status int, args ...string) {
			t.Helper()
			for _, format := range [][]string{nil, {"--json"}} {
				out, said := w.run(status, append(append(args, "--ssh", s.Target(), "--root", box, mode), format...)...)
				if strings.Contains(out+said, secret) {
					t.Errorf("%v says it:\n%s%s", args, out, said)
				}
				if !strings.Contains(out, "hidden") && !strings.Contains(out+said, "****") && status != 0 {
					t.Errorf("%v hides nothing:\n%s%s", args, out, said)
				}
			}
		}
		hides(0, "plan", w.tree)
		hides(0, "apply", w.tree)
		holds(t, filepath.Join(box, "etc/conf"), "token="+secret)
		w.write("components/c/defaults.yaml", "token: !secret "+secret+"\nfail: true\n")
		hides(1, "apply", w.tree)
		w.write("components/c/states.yaml", "states: {}\n")
		hides(0, "plan", w.tree)
		hides(0, "apply", w.tree)
		absent(t, filepath.Join(box, "etc/conf"))
	})
}
