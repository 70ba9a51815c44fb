package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"shoal/executor"
)

// aptOutput is the most that is kept of what a package tool says, in bytes; a simulation of a whole distribution's upgrade is
// below a tenth. aptGrace is how long a cancelled one may take to leave its database in order.
const (
	aptOutput = 16 << 20
	aptGrace  = time.Minute
)

// gently is a package tool that outlives this process, and that is told to end before it is killed: SIGTERM lets it finish the
// package in hand. What it leaves is mended by the next change.
func gently(ctx context.Context, tool string, args, env []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Env = append(os.Environ(), commandPath, "LC_ALL=C")
	cmd.Env = append(cmd.Env, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = aptGrace
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

// runApt runs a package tool that asks nothing and speaks English, and returns what it said.
func runApt(ctx context.Context, env []string, tool string, args ...string) (string, error) {
	cmd := gently(ctx, tool, args, env)
	cmd.Env = append(cmd.Env, "DEBIAN_FRONTEND=noninteractive", "APT_LISTCHANGES_FRONTEND=none", "UCF_FORCE_CONFFOLD=1", "NEEDRESTART_SUSPEND=1")
	output := &headBuffer{limit: aptOutput}
	cmd.Stdout, cmd.Stderr = output, output
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("%s is not on this machine: packages are managed through apt alone so far", tool)
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s: %w", tool, ctx.Err())
	case err != nil:
		return "", fmt.Errorf("%s: %w\n%s", tool, err, aptErrors(output.String()))
	case output.cut:
		return "", fmt.Errorf("%s said more than %d bytes", tool, aptOutput)
	}
	return output.String(), nil
}

// maxAnswers bounds what is remembered; a run asks for each of its packages a few times.
const maxAnswers = 512

// answers are what apt said to questions, while nothing that it reads has changed. apt takes about a second to say
// anything, and check, capture and apply of one part ask the same.
type answers struct {
	of   string // the state of what apt reads
	said map[string]string
}

// ask runs a package tool that changes nothing.
func (a *Apt) ask(ctx context.Context, tool string, args ...string) (string, error) {
	state, question := aptState(), strings.Join(append([]string{tool}, args...), "\x00")
	a.mu.Lock()
	if a.answers.of != state || len(a.answers.said) >= maxAnswers {
		a.answers = answers{of: state, said: map[string]string{}}
	}
	said, ok := a.answers.said[question]
	a.mu.Unlock()
	if ok {
		return said, nil
	}
	said, err := runApt(ctx, nil, tool, args...)
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.answers.of == state {
		a.answers.said[question] = said
	}
	return said, nil
}

// aptState changes with every file that apt decides by: dpkg's database, the lists, and its configuration.
func aptState() string {
	paths := []string{"/var/lib/dpkg/status", "/var/lib/dpkg/updates", "/var/lib/dpkg/arch", "/var/lib/apt/extended_states"}
	for _, pattern := range []string{"/var/lib/apt/lists/*", "/etc/apt/*", "/etc/apt/*.d/*"} {
		found, _ := filepath.Glob(pattern) // its one error is a bad pattern
		paths = append(paths, found...)
	}
	var b strings.Builder
	for _, path := range paths {
		if info, err := os.Lstat(path); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				fmt.Fprintln(&b, path, st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim)
			}
		}
	}
	return b.String()
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
