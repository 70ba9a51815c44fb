package e2e

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"shoal/internal/sshdtest"
)

// TestSSHPlainMachine: accounts, packages of apt and downloads of the machine itself, with no program there; and all of it taken
// back when it leaves the tree.
func TestSSHPlainMachine(t *testing.T) {
	t.Parallel()
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

// lockDpkg holds the lock of package managers on the server's machine, as dpkg does.
const lockDpkg = `use Fcntl; open(F, "+>>", "/var/lib/dpkg/lock-frontend") or die; my $l = pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0);
fcntl(F, F_SETLK, $l) or die; $| = 1; print "held\n"; <STDIN>`

// TestSSHWaits: who works on a machine elsewhere sees that its package manager is locked, and by whom, whichever way the work is done.
func TestSSHWaits(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("installs packages: not with -short")
	}
	sshdtest.Need(t, "perl", "nsenter")
	modes(t, func(t *testing.T, mode string) {
		w := newSSHWorld(t, map[string]string{
			"site.yaml":                "targets:\n  - on: \"*\"\n    components: [c]\n",
			"components/c/states.yaml": "states:\n  leaf:\n    pkg.installed: {name: shoal-leaf}\n",
		})
		o := sshdtest.Layered(t, sshdtest.Repository(t), "/etc", "/var", "/usr")
		o.Config = "SetEnv XDG_CACHE_HOME=" + cacheDir(t)
		s := w.server(o)
		holder := exec.Command("nsenter", "-t", strconv.Itoa(s.Pid()), "-m", "perl", "-e", lockDpkg)
		release, err := holder.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		held, err := holder.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = release.Close() // it may be over
			_ = holder.Wait()
		})
		if line, err := bufio.NewReader(held).ReadString('\n'); line != "held\n" {
			t.Fatalf("%q, %v", line, err)
		}
		cmd, out, _ := w.command(t.Context(), "apply", w.tree, "--ssh", s.Target(), mode)
		cmd.Stderr = nil
		diagnostics, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waited := false
		var all strings.Builder
		for lines := bufio.NewScanner(diagnostics); lines.Scan(); {
			fmt.Fprintln(&all, lines.Text())
			if strings.Contains(lines.Text(), fmt.Sprintf("waiting for /var/lib/dpkg/lock-frontend, held by pid %d (perl)", holder.Process.Pid)) {
				waited = true
				_ = release.Close() // a second line may come meanwhile
			}
		}
		if err := cmd.Wait(); err != nil || !waited {
			t.Errorf("%v, waited %v\n%s%s", err, waited, out, &all)
		}
		holds(t, s.Path("/var/lib/dpkg/status"), "Package: shoal-leaf\nStatus: install ok installed\n")
	})
}

// TestSSHLostInApt: the line breaks while a package is being installed. Its script does not go on, and the recovery finishes what dpkg
// had begun, and takes it back.
func TestSSHLostInApt(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("installs packages: not with -short")
	}
	w := newSSHWorld(t, map[string]string{
		"site.yaml":                "targets:\n  - on: \"*\"\n    components: [c]\n",
		"components/c/states.yaml": "states:\n  before:\n    file.managed: {path: /etc/shoal-before, content: x}\n  slow:\n    pkg.installed: {name: shoal-slow}\n    require: [before]\n",
	})
	s := w.server(sshdtest.Layered(t, sshdtest.Repository(t), "/etc", "/var", "/usr"))
	status := func() string {
		data, err := os.ReadFile(s.Path("/var/lib/dpkg/status"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	cmd, out, diagnostics := w.command(t.Context(), "apply", w.tree, "--ssh", s.Target(), "--ssh-mode=plain")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := begunWithin(t, testLimit, s.Path("/var/slow-began")) // apt takes its time on a busy machine
	for _, victim := range s.Sessions() {
		_ = syscall.Kill(victim, syscall.SIGKILL) // one may end with another
	}
	if code := exitOf(t, cmd.Wait()); code == 0 {
		t.Errorf("exit status 0 of a run that was cut off: %s%s", out, diagnostics)
	}
	gone(t, pid)
	if err := os.WriteFile(s.Path("/var/slow-go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	said, more := w.run(0, "recover", "--ssh", s.Target(), "--ssh-mode=plain")
	if !strings.Contains(said+more, "rolled") {
		t.Errorf("%s%s", said, more)
	}
	if strings.Contains(status(), "Package: shoal-slow\n") {
		t.Error("dpkg knows the package")
	}
	absent(t, s.Path("/etc/shoal-before"))
	w.run(0, "apply", w.tree, "--ssh", s.Target(), "--ssh-mode=plain")
	if !strings.Contains(status(), "Package: shoal-slow\nStatus: install ok installed\n") {
		t.Error("it is not installed")
	}
}

// TestSSHRecover: what a line that broke left is taken back when somebody asks for it, with no tree.
func TestSSHRecover(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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

// TestSSHSecretsOfModules: what goes into an extension module and comes out of it is hidden like all else, here and elsewhere.
func TestSSHSecretsOfModules(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"clang", "wasm-ld"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NOT TESTED: no %s on this machine", tool)
		}
	}
	const secret = "hunter2-and-more"
	w := newSSHWorld(t, nil)
	build := exec.Command("sh", "../../examples/modules/build.sh", w.tree)
	build.Env = os.Environ()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	site, err := os.ReadFile(filepath.Join(w.tree, "site.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, modules, _ := strings.Cut(string(site), "  banner:\n") // the other is large, and compiled anew by each run
	w.write("site.yaml", "targets:\n  - on: \"*\"\n    components: [banner]\nmodules:\n  banner:\n"+modules)
	if err := os.RemoveAll(filepath.Join(w.tree, "components/names")); err != nil {
		t.Fatal(err)
	}
	state := func(dir string) {
		w.write("components/banner/defaults.yaml", "token: !secret "+secret+"\n")
		w.write("components/banner/states.yaml", "states:\n  b:\n    banner.shown: {path: \""+dir+"/${vars.token}\", text: \"it is ${vars.token}\"}\n")
	}
	state("/etc")
	s := w.server(sshdtest.Options{Config: "SetEnv XDG_CACHE_HOME=" + cacheDir(t)})
	for name, way := range map[string][]string{
		"here": nil, "binary": {"--ssh", s.Target(), "--ssh-mode=binary"}, "plain": {"--ssh", s.Target(), "--ssh-mode=plain"},
	} {
		t.Run(name, func(t *testing.T) {
			box := w.box(name)
			hides := func(status int, args ...string) string {
				t.Helper()
				all := ""
				formats := [][]string{{"--json"}}
				if way == nil {
					formats = append(formats, nil)
				}
				for _, format := range formats {
					out, said := w.run(status, append(append(append(args, "--root", box), way...), format...)...)
					all += out + said
				}
				if strings.Contains(all, secret) {
					t.Errorf("%v says it:\n%s", args, all)
				}
				return all
			}
			hides(0, "plan", w.tree)
			hides(0, "apply", w.tree)
			holds(t, filepath.Join(box, "etc", secret), "it is "+secret)
			state("/srv")
			if all := hides(1, "apply", w.tree); !strings.Contains(all, "may not look at /srv/****") {
				t.Errorf("the error tells nothing:\n%s", all)
			}
			state("/etc")
		})
	}
}
