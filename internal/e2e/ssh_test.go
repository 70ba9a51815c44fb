package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"shoal/internal/sshdtest"
)

// sshWorld is an operator's machine with servers that it reaches over SSH. On each a folder stands for the machine.
type sshWorld struct {
	t    *testing.T
	bin  string
	home string
	tree string
	env  []string
}

// sshReport is what the tests read of `--json`.
type sshReport struct {
	Node, Result, Error string
	Changed             int
	States              []struct {
		ID, Result, Error, Diff string
		Outputs                 map[string]any
	}
}

func newSSHWorld(t *testing.T, files map[string]string) *sshWorld {
	t.Helper()
	sshdtest.Need(t)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	w := &sshWorld{t: t, bin: path, home: t.TempDir(), tree: t.TempDir()}
	for name, text := range files {
		w.write(name, text)
	}
	return w
}

func (w *sshWorld) write(name, text string) {
	w.t.Helper()
	full := filepath.Join(w.tree, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(text), 0o644)); err != nil {
		w.t.Fatal(err)
	}
}

// server starts an sshd that this side knows; the cache of the delivered program is below its own folder.
func (w *sshWorld) server(o sshdtest.Options) *sshdtest.Server {
	w.t.Helper()
	o.Home = w.home
	return sshdtest.Start(w.t, o)
}

// command is shoal with no terminal to ask on.
func (w *sshWorld) command(ctx context.Context, args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	cmd := exec.CommandContext(ctx, w.bin, args...)
	cmd.Env = append([]string{"HOME=" + w.home, "PATH=" + os.Getenv("PATH"), "NO_COLOR=1", "SHOAL_NODE=" + filepath.Join(w.home, "none.sock")}, w.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	return cmd, &stdout, &stderr
}

func exitOf(t *testing.T, err error) int {
	t.Helper()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return ended.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0
}

// run ends with a status.
func (w *sshWorld) run(want int, args ...string) (stdout, stderr string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), testLimit)
	defer cancel()
	cmd, out, diagnostics := w.command(ctx, args...)
	if got := exitOf(w.t, cmd.Run()); got != want {
		w.t.Fatalf("shoal %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), got, want, out, diagnostics)
	}
	return out.String(), diagnostics.String()
}

// apply is run with --json.
func (w *sshWorld) reports(want int, args ...string) []sshReport {
	w.t.Helper()
	out, diagnostics := w.run(want, append(args, "--json")...)
	var reports []sshReport
	if err := json.Unmarshal([]byte(out), &reports); err != nil {
		w.t.Fatalf("%v\n%s%s", err, out, diagnostics)
	}
	return reports
}

// motd is a tree that uses a template with a fact of the machine, a source, an output and a secret tag.
var motd = map[string]string{
	"site.yaml":                         "targets:\n  - on: \"*\"\n    components: [motd]\n",
	"components/motd/defaults.yaml":     "greeting: hello\n",
	"components/motd/templates/motd.j2": "{{ vars.greeting }} from {{ name }} ({{ tags['hw.arch'] }}, {{ tags.role }})\n",
	"components/motd/files/big":         strings.Repeat("0123456789abcdef", 1<<14),
	"components/motd/states.yaml": `states:
  motd:
    file.managed: {path: /etc/motd, template: templates/motd.j2}
  big:
    file.managed: {path: /srv/big, source: files/big}
    require: [motd]
  sum:
    file.managed: {path: /srv/sum, content: "${ states[\"big\"].outputs.sha256 }"}
`,
}

func (w *sshWorld) box(name string) string {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

func holds(t *testing.T, file, want string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(data), want) {
		t.Errorf("%s holds %.200q (%v), wanted %q", file, data, err, want)
	}
}

func absent(t *testing.T, file string) {
	t.Helper()
	if _, err := os.Lstat(file); err == nil {
		t.Errorf("%s is there", file)
	}
}

// modes runs a test once for each way to work on a machine.
func modes(t *testing.T, test func(t *testing.T, mode string)) {
	for _, mode := range []string{"binary", "plain"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			test(t, "--ssh-mode="+mode)
		})
	}
}

func TestSSHApply(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode string) {
		w := newSSHWorld(t, motd)
		s := w.server(sshdtest.Options{Config: "SetEnv XDG_CACHE_HOME=" + cacheDir(t)})
		box := w.box("m")
		args := []string{w.tree, "--ssh", s.Target(), "--root", box, mode, "--tag", "role=web"}
		plan := w.reports(10, append([]string{"plan", "--exit-code"}, args...)...)
		if len(plan) != 1 || plan[0].Node != "127.0.0.1" || plan[0].States[0].Result != "would_change" {
			t.Fatalf("plan %+v", plan)
		}
		absent(t, filepath.Join(box, "etc"))
		absent(t, filepath.Join(box, "var"))
		first := w.reports(0, append([]string{"apply"}, args...)...)
		if first[0].Result != "converged" || first[0].Changed != 3 {
			t.Fatalf("apply %+v", first)
		}
		holds(t, filepath.Join(box, "etc/motd"), "hello from 127.0.0.1 (")
		holds(t, filepath.Join(box, "etc/motd"), ", web)")
		holds(t, filepath.Join(box, "srv/big"), "0123456789abcdef")
		holds(t, filepath.Join(box, "srv/sum"), "cb8690e3")
		second := w.reports(0, append([]string{"apply"}, args...)...)
		if second[0].Changed != 0 || second[0].Result != "converged" {
			t.Fatalf("again %+v", second)
		}
		w.reports(0, append([]string{"plan", "--exit-code"}, args...)...)
		// What is written is what a run on the machine itself takes up: a smaller tree takes back what left it.
		w.write("components/motd/states.yaml", "states:\n  motd:\n    file.managed: {path: /etc/motd, template: templates/motd.j2}\n")
		w.run(0, "apply", w.tree, "--root", box, "--tag", "role=web", "--name", "127.0.0.1")
		absent(t, filepath.Join(box, "srv"))
		holds(t, filepath.Join(box, "etc/motd"), "hello")
	})
}

// TestSSHFailure: what a failing run changed is put back, there.
func TestSSHFailure(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode string) {
		w := newSSHWorld(t, motd)
		w.write("components/motd/states.yaml", `states:
  motd:
    file.managed: {path: /etc/motd, content: new}
  fails:
    cmd.run: {argv: [sh, -c, "echo the reason >&2; exit 3"]}
    require: [motd]
`)
		s := w.server(sshdtest.Options{Config: "SetEnv XDG_CACHE_HOME=" + cacheDir(t)})
		box := w.box("m")
		if err := errors.Join(os.Mkdir(filepath.Join(box, "etc"), 0o755), os.WriteFile(filepath.Join(box, "etc/motd"), []byte("old"), 0o600)); err != nil {
			t.Fatal(err)
		}
		got := w.reports(1, "apply", w.tree, "--ssh", s.Target(), "--root", box, mode)
		if got[0].Result != "rolled_back" || !strings.Contains(got[0].Error, "the reason") {
			t.Fatalf("%+v", got)
		}
		holds(t, filepath.Join(box, "etc/motd"), "old")
		if info, err := os.Stat(filepath.Join(box, "etc/motd")); err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	})
}
