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

	"shoal/executor"
)

// toolGrace is how long a package tool that is cancelled may take to leave its database in order.
const toolGrace = time.Minute

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
type Tools struct{}

// Run implements the runner of the packages that use such tools.
func (Tools) Run(ctx context.Context, cmd executor.Command) (executor.Exit, error) {
	tool := gently(ctx, cmd.Argv[0], cmd.Argv[1:], cmd.Env)
	stdout, stderr := &headBuffer{limit: cmd.Limit}, &headBuffer{limit: cmd.Limit}
	tool.Stdin, tool.Stdout, tool.Stderr = bytes.NewReader(cmd.Stdin), stdout, stderr
	err := tool.Run()
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
