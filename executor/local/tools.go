package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"shoal/executor"
)

// toolGrace is how long a package tool that is cancelled may take to leave its database in order.
const toolGrace = time.Minute

// longestTool is how long one that has outlived its process is waited for.
const longestTool = 15 * time.Minute

// gently is a package tool that outlives this process, and that is told to end before it is killed: SIGTERM lets it finish the
// package in hand. What it leaves is mended by the next change.
func gently(ctx context.Context, tool string, args, env []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Env = append(os.Environ(), commandPath, "LC_ALL=C")
	cmd.Env = append(cmd.Env, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = toolGrace
	return cmd
}

// Tools runs the tools of package and service managers on this machine, as Commands does those of states, but gently.
type Tools struct {
	// Lock is a file that each tool holds with flock(2) for as long as it runs, and so longer than this process where that is
	// killed: see Outlived. It is made when its folder is there; empty: none is held.
	Lock string
}

// Run implements the runner of the packages that use such tools.
func (t Tools) Run(ctx context.Context, cmd executor.Command) (executor.Exit, error) {
	tool := gently(ctx, cmd.Argv[0], cmd.Argv[1:], cmd.Env)
	held, err := t.hold()
	if err != nil {
		return executor.Exit{}, fmt.Errorf("%s: %w", cmd.Argv[0], err)
	}
	if held != nil {
		defer held.Close()
		tool.ExtraFiles = []*os.File{held} // the lock is that of the open file, which both have
	}
	stdout, stderr := &headBuffer{limit: cmd.Limit}, &headBuffer{limit: cmd.Limit}
	tool.Stdin, tool.Stdout, tool.Stderr = bytes.NewReader(cmd.Stdin), stdout, stderr
	err = tool.Run()
	exit := executor.Exit{Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
	var ended *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return exit, fmt.Errorf("%s: %w", cmd.Argv[0], ctx.Err())
	case errors.As(err, &ended):
		exit.Status = max(ended.ExitCode(), 1) // a signal is no success
	case err != nil:
		return exit, fmt.Errorf("%s: %w", cmd.Argv[0], err)
	case stdout.cut:
		return exit, fmt.Errorf("%s said more than %d bytes", cmd.Argv[0], cmd.Limit)
	}
	return exit, nil
}

// hold takes the lock beside others of this process.
func (t Tools) hold() (*os.File, error) {
	if t.Lock == "" {
		return nil, nil
	}
	f, err := os.OpenFile(t.Lock, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EROFS) {
		return nil, nil // who may not write there makes plans, and a plan does nothing
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", t.Lock, err), f.Close())
	}
	return f, nil
}

// Outlived waits until the tools have ended that another process started before it was killed: what they still do would be done
// to a machine that has been rolled back.
func (t Tools) Outlived(ctx context.Context) error {
	f, err := os.OpenFile(t.Lock, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, longestTool, fmt.Errorf("it is still at work after %s (lsof %s says which)", longestTool, t.Lock))
	defer cancel()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock %s: %w", t.Lock, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for a tool that an interrupted run has started: %w", context.Cause(ctx))
		case <-time.After(runLockPoll):
		}
	}
}

// TryLock takes the whole of a file with fcntl(2), as package managers do, and makes the file where it is not there. release
// nil: another has it.
func (Tools) TryLock(path string) (release func(), holder string, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, "", err
	}
	held, pid, err := tryRecord(file)
	if err != nil || !held {
		return nil, pid, errors.Join(err, file.Close())
	}
	return func() { _ = file.Close() }, "", nil
}

// headBuffer keeps the first bytes that are written to it.
type headBuffer struct {
	bytes.Buffer
	limit int
	cut   bool
}

func (b *headBuffer) Write(p []byte) (int, error) {
	if room := b.limit - b.Len(); len(p) > room {
		b.cut = true
		_, _ = b.Buffer.Write(p[:room])
		return len(p), nil
	}
	return b.Buffer.Write(p)
}
