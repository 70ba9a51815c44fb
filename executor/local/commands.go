package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"shoal/executor"
)

// The environment that a command gets; Command.Env is added to it.
const commandPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// defaultOutput is the limit of kept output where a Command gives none, in bytes.
const defaultOutput = 64 << 10

// killDelay is how long a cancelled command's pipes may stay open, held by a child that left its process group.
const killDelay = 2 * time.Second

// Commands runs processes on this machine. Below a root folder they run on the machine itself, in a folder below the root
// and with SHOAL_ROOT set to it: a sandbox for files is no container.
type Commands struct {
	root string
}

func newCommands(f *Files) *Commands { return &Commands{root: f.root} }

// Run starts one process in its own process group and waits for it. The process dies with this one, which nothing but a
// crash can bring about: what a restart rolls back must not be worked on any more.
func (c *Commands) Run(ctx context.Context, cmd executor.Command) (executor.Exit, error) {
	if len(cmd.Argv) == 0 {
		return executor.Exit{}, errors.New("run: empty command")
	}
	proc := exec.CommandContext(ctx, cmd.Argv[0], cmd.Argv[1:]...)
	proc.Dir = c.folder(cmd.Cwd)
	// The kernel sends that signal when the thread ends that started the process, so the thread has to stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	proc.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	proc.Cancel = func() error { return syscall.Kill(-proc.Process.Pid, syscall.SIGKILL) }
	proc.WaitDelay = killDelay
	home, err := runAs(proc, cmd.User)
	if err != nil {
		return executor.Exit{}, fmt.Errorf("run %s: %w", cmd.Argv[0], err)
	}
	proc.Env = c.environment(home, cmd.Env)
	proc.Stdin = bytes.NewReader(cmd.Stdin)
	limit := cmd.Limit
	if limit <= 0 {
		limit = defaultOutput
	}
	stdout, stderr := &limited{limit: limit}, &limited{limit: limit}
	proc.Stdout, proc.Stderr = stdout, stderr
	err = proc.Run()
	exit := executor.Exit{Stdout: stdout.kept, Stderr: stderr.kept}
	if ctx.Err() != nil {
		return exit, fmt.Errorf("run %s: %w", cmd.Argv[0], context.Cause(ctx))
	}
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		exit.Status = ended.ExitCode()
		if exit.Status < 0 { // by a signal, as shells number it
			exit.Status = 128 + int(ended.Sys().(syscall.WaitStatus).Signal())
		}
		return exit, nil
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return exit, fmt.Errorf("run %s: %w", cmd.Argv[0], err)
	}
	return exit, nil
}

// Path is the name that a command sees for a path of this host.
func (c *Commands) Path(name string) string { return filepath.Join(c.root, filepath.Clean("/"+name)) }

func (c *Commands) folder(cwd string) string {
	if cwd == "" {
		return c.root
	}
	return c.Path(cwd)
}

func (c *Commands) environment(home string, extra []string) []string {
	env := []string{commandPath, "LANG=C.UTF-8", "HOME=" + home}
	if c.root != "/" {
		env = append(env, "SHOAL_ROOT="+c.root)
	}
	return append(env, extra...)
}

// runAs gives the process the ids of a user of this machine, and returns the user's home.
func runAs(proc *exec.Cmd, name string) (home string, err error) {
	if name == "" {
		home, err = os.UserHomeDir()
		if err != nil {
			return "/", nil // started with no HOME, as by a service manager
		}
		return home, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return "", err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return "", err
	}
	if int(uid) == os.Geteuid() {
		return u.HomeDir, nil
	}
	groups, err := supplementary(u)
	if err != nil {
		return "", err
	}
	proc.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: groups}
	return u.HomeDir, nil
}

func supplementary(u *user.User) ([]uint32, error) {
	ids, err := u.GroupIds()
	if err != nil {
		return nil, err
	}
	var groups []uint32
	for _, id := range ids {
		gid, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, err
		}
		groups = append(groups, uint32(gid))
	}
	return groups, nil
}

// limited keeps the last bytes of what is written: the end of an output says why a command failed.
type limited struct {
	limit int
	kept  []byte
}

func (l *limited) Write(p []byte) (int, error) {
	l.kept = append(l.kept, p...)
	if over := len(l.kept) - l.limit; over > 0 {
		l.kept = append(l.kept[:0], l.kept[over:]...)
	}
	return len(p), nil
}
