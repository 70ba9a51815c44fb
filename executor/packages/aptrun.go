package packages

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// merged keeps what a tool and the scripts that it runs say in the order in which they say it.
const merged = `exec 2>&1; exec "$@"`

// do runs a tool that changes something, waits for its locks, and returns what it said.
func (a *Apt) do(ctx context.Context, tool string, args ...string) (string, error) {
	return a.doWith(ctx, nil, tool, args...)
}

func (a *Apt) doWith(ctx context.Context, env []string, tool string, args ...string) (string, error) {
	argv := append([]string{"env"}, env...)
	argv = append(argv, "sh", "-c", merged, "sh", tool)
	said, err := a.tool.command(ctx, "", append(argv, args...)...)
	return said, aptFailed(tool, err)
}

// aptFailed says of a failure what apt says, and not all that it said.
func aptFailed(tool string, err error) error {
	var status *failed
	if errors.As(err, &status) {
		return &failed{argv: []string{tool}, status: status.status, output: aptErrors(status.output)}
	}
	return err
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
	state, err := a.state(ctx)
	if err != nil {
		return "", err
	}
	question := strings.Join(append([]string{tool}, args...), "\x00")
	a.mu.Lock()
	if a.answers.of != state || len(a.answers.said) >= maxAnswers {
		a.answers = answers{of: state, said: map[string]string{}}
	}
	said, ok := a.answers.said[question]
	a.mu.Unlock()
	if ok {
		return said, nil
	}
	if said, err = a.tool.command(ctx, "", append([]string{tool}, args...)...); err != nil {
		return "", aptFailed(tool, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.answers.of == state {
		a.answers.said[question] = said
	}
	return said, nil
}

// stateScript says something else whenever one of the files changed by which apt decides: dpkg's database, the lists, and its
// configuration. What is not there it says nothing of.
const stateScript = `stat -c '%n %d %i %s %y %z' /var/lib/dpkg/status /var/lib/dpkg/updates /var/lib/dpkg/arch /var/lib/apt/extended_states \
/var/lib/apt/lists/* /etc/apt/* /etc/apt/*.d/* 2>/dev/null; true`

func (a *Apt) state(ctx context.Context) (string, error) {
	said, err := a.tool.command(ctx, "", "sh", "-c", stateScript)
	if err != nil {
		return "", fmt.Errorf("look at apt's files: %w", err)
	}
	return said, nil
}
