package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	escape = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)
	colour = regexp.MustCompile(`\x1b\[[0-9;]*m`)
)

// Colours and bars that redraw themselves are for terminals alone; NO_COLOR takes the colours away.
func TestTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mesh(1)
	n := w.Nodes[0]
	one, two := w.motd("one", "one\n"), w.motd("two", "two\n")
	bad := w.tree("bad", "site.yaml", everywhere, "components/c/states.yaml", "states:\n  x: {file.managd: {path: /x}}\n")
	node := "--node=" + n.Socket()
	box := filepath.Join(w.Dir, "box")
	w.ok("push", one, "--wait", node)
	w.ok("push", two, "--wait", node)
	for _, c := range []struct {
		status int
		args   []string
		plain  bool // it has nothing to colour
	}{
		{0, []string{"members", node}, false},
		{0, []string{"ring", node}, false},
		{0, []string{"status", node}, false},
		{0, []string{"log", node}, false},
		{0, []string{"show", "1", node}, false},
		{0, []string{"diff", "1", "2", node}, false},
		{0, []string{"report", "--all", node}, false},
		{0, []string{"plan", one, node}, false},
		{0, []string{"plan", two, "--tag", "role=web", "--root", box}, false},
		{0, []string{"rollback", node}, false},
		{0, []string{"validate", one, node}, true},
		{2, []string{"validate", bad, node}, true},
		{2, []string{"nonsense"}, true},
		{0, []string{"version"}, true},
		{0, []string{"ticket"}, true},
	} {
		t.Run(c.args[0], func(t *testing.T) {
			w := w.in(t)
			shown := w.onTerminal(c.status, nil, c.args...)
			if got := colour.MatchString(shown); got == c.plain {
				t.Errorf("on a terminal: colours %v\n%q", got, shown)
			}
			if shown := w.onTerminal(c.status, []string{"NO_COLOR=1"}, c.args...); colour.MatchString(shown) {
				t.Errorf("with NO_COLOR: %q", shown)
			}
			if res := w.shoal(c.status, c.args...); escape.MatchString(res.Stdout + res.Stderr) {
				t.Errorf("into a pipe: %q", res.Stdout+res.Stderr)
			}
			if res := w.shoal(c.status, append(c.args, "--json")...); escape.MatchString(res.Stdout + res.Stderr) {
				t.Errorf("as JSON: %q", res.Stdout+res.Stderr)
			}
		})
	}
	t.Run("bar", func(t *testing.T) {
		w := w.in(t)
		shown := w.onTerminal(0, nil, "push", w.motd("three", "three\n"), "--wait", node)
		for _, want := range []string{"\r\x1b[K", "0/1 nodes report", "1/1 nodes report", "\x1b[32mcommitted\x1b[0m"} {
			if !strings.Contains(shown, want) {
				t.Errorf("a push on a terminal does not show %q: %q", want, shown)
			}
		}
		shown = w.onTerminal(0, []string{"NO_COLOR=1"}, "push", w.motd("four", "four\n"), "--wait", node)
		if !strings.Contains(shown, "1/1 nodes report") || colour.MatchString(shown) {
			t.Errorf("with NO_COLOR: %q", shown)
		}
	})
	t.Run("one of two", func(t *testing.T) {
		w := w.in(t)
		var diag bytes.Buffer
		w.attached(0, nil, &diag, "push", w.motd("five", "five\n"), "--wait", node)
		if escape.Match(diag.Bytes()) || !strings.Contains(diag.String(), "committed") {
			t.Errorf("standard error is a file, and gets %q", diag.String())
		}
	})
}

// onTerminal runs a command whose outputs are both a terminal, and returns what that shows.
func (w *world) onTerminal(want int, env []string, args ...string) string {
	w.t.Helper()
	return w.attached(want, env, nil, args...)
}

// attached runs a command on a terminal, with another standard error if one is given.
func (w *world) attached(want int, env []string, stderr io.Writer, args ...string) string {
	w.t.Helper()
	master, slave, err := openTerminal()
	if err != nil {
		w.t.Fatal(err)
	}
	defer master.Close()
	cmd := exec.CommandContext(w.ctx, w.Binary, args...)
	cmd.Env, cmd.Dir = append(append(w.Env(), "NO_COLOR=", "CLICOLOR_FORCE="), env...), w.Dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	if stderr != nil {
		cmd.Stderr = stderr
	}
	err = cmd.Start()
	slave.Close()
	if err != nil {
		w.t.Fatal(err)
	}
	var shown bytes.Buffer
	_, _ = io.Copy(&shown, master) // EIO says that nobody holds the other end any more
	_ = cmd.Wait()                 // its status is looked at
	if code := cmd.ProcessState.ExitCode(); code != want {
		w.t.Errorf("shoal %s on a terminal: exit status %d, want %d\n%s", strings.Join(args, " "), code, want, shown.String())
	}
	return shown.String()
}

// openTerminal makes a terminal of 120 columns: what a program sees, and where it can be read.
func openTerminal() (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 120})
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
	}
	return master, slave, err
}
