package ssh_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"shoal/executor"
	"shoal/executor/hosttest"
	"shoal/executor/ssh"
	"shoal/internal/sshdial"
	"shoal/internal/sshdtest"
)

// machine connects to a server of the test's own.
func machine(t *testing.T, s *sshdtest.Server) *ssh.Machine {
	t.Helper()
	return machineAt(t, s, s.Target())
}

func machineAt(t *testing.T, s *sshdtest.Server, name string) *ssh.Machine {
	t.Helper()
	t.Setenv("HOME", s.Home)
	config, err := sshdial.LoadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	target, err := sshdial.ParseTarget(name)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := (&sshdial.Dialer{Config: config, Keys: &sshdial.Keyring{}}).Dial(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // a test may have ended it already
	return ssh.NewMachine(conn.Client)
}

func host(t *testing.T, m *ssh.Machine, root, data string) *ssh.Host {
	t.Helper()
	h, err := ssh.Open(t.Context(), m, ssh.Options{Root: root, DataDir: data})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: owners are given by root alone")
	}
}

// TestFiles: the suite that the machine itself and the twin in memory pass.
func TestFiles(t *testing.T) {
	needRoot(t)
	sshdtest.Need(t, "getfattr")
	m := machine(t, sshdtest.Start(t, sshdtest.Options{}))
	hosttest.FilesSuite(t, func(t *testing.T) executor.Host { return host(t, m, t.TempDir(), "/nowhere") })
}

func TestCommands(t *testing.T) {
	m := machine(t, sshdtest.Start(t, sshdtest.Options{}))
	root := t.TempDir()
	h := host(t, m, root, "/nowhere")
	run := func(c executor.Command) (executor.Exit, error) { return h.Run(t.Context(), c) }
	for _, c := range []struct {
		name    string
		command executor.Command
		want    executor.Exit
	}{
		{"words", executor.Command{Argv: []string{"printf", "%s|", "a b", "it's", "$HOME", "`x`", "\\", "two\nlines", ""}}, executor.Exit{Stdout: []byte("a b|it's|$HOME|`x`|\\|two\nlines||")}},
		{"stdin", executor.Command{Argv: []string{"cat"}, Stdin: []byte("in\x00put")}, executor.Exit{Stdout: []byte("in\x00put")}},
		{"status", executor.Command{Argv: []string{"sh", "-c", "echo why >&2; exit 7"}}, executor.Exit{Status: 7, Stderr: []byte("why\n")}},
		{"signal", executor.Command{Argv: []string{"sh", "-c", "kill -TERM $$"}}, executor.Exit{Status: 143}},
		{"environment", executor.Command{Argv: []string{"sh", "-c", "echo $A-$SHOAL_ROOT-$XDG_CACHE_HOME"}, Env: []string{"A=it's $x"}}, executor.Exit{Stdout: []byte("it's $x-" + root + "-\n")}},
		{"folder", executor.Command{Argv: []string{"pwd"}}, executor.Exit{Stdout: []byte(root + "\n")}},
		{"limit", executor.Command{Argv: []string{"sh", "-c", "seq 1 100000; seq 1 100000 >&2"}, Limit: 7}, executor.Exit{Stdout: []byte("100000\n"), Stderr: []byte("100000\n")}},
	} {
		got, err := run(c.command)
		if err != nil || got.Status != c.want.Status || string(got.Stdout) != string(c.want.Stdout) || string(got.Stderr) != string(c.want.Stderr) {
			t.Errorf("%s: %d %q %q, %v", c.name, got.Status, got.Stdout, got.Stderr, err)
		}
	}
	for _, c := range []executor.Command{{}, {Argv: []string{"shoal-no-such-command"}}, {Argv: []string{"true"}, Cwd: "/none"}, {Argv: []string{"true"}, Env: []string{"a b=c"}}, {Argv: []string{"true"}, User: "shoal-nobody"}} {
		if got, err := run(c); err == nil {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

func TestCommandOfAnotherUser(t *testing.T) {
	needRoot(t)
	h := host(t, machine(t, sshdtest.Start(t, sshdtest.Options{})), "", "/nowhere")
	got, err := h.Run(t.Context(), executor.Command{Argv: []string{"sh", "-c", "id -un; echo $HOME $A"}, User: "daemon", Env: []string{"A=it's"}})
	if err != nil || string(got.Stdout) != "daemon\n/usr/sbin it's\n" {
		t.Errorf("%q %q, %v", got.Stdout, got.Stderr, err)
	}
}

// TestCancelledCommand: the whole group ends.
func TestCancelledCommand(t *testing.T) {
	h := host(t, machine(t, sshdtest.Start(t, sshdtest.Options{})), "", "/nowhere")
	dir := t.TempDir()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	go func() {
		awaitFile(t, dir+"/child")
		cancel(why)
	}()
	_, err := h.Run(ctx, executor.Command{Argv: []string{"sh", "-c", "sleep 1000 & echo $! > " + dir + "/child.new; mv " + dir + "/child.new " + dir + "/child; wait"}})
	if !errors.Is(err, why) {
		t.Errorf("error %v", err)
	}
	awaitGone(t, dir+"/child")
}

func kill(pids []int) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL) // one may end with another
	}
}

const patience = 30 * time.Second

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); {
		if time.Now().After(deadline) {
			t.Errorf("never: %s", what)
			return
		}
		<-time.After(5 * time.Millisecond)
	}
}

func awaitFile(t *testing.T, name string) {
	t.Helper()
	await(t, name+" is there", func() bool { _, err := os.Stat(name); return err == nil })
}

// awaitGone waits for the end of the process whose number a file holds.
func awaitGone(t *testing.T, name string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	pid := strings.TrimSpace(string(data))
	await(t, "process "+pid+" ends", func() bool {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}
