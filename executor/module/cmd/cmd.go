// Package cmd runs commands: cmd.run.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"shoal/executor"
	"shoal/states"
)

// outputLimit is how much of a command's standard output and standard error is kept, in bytes each.
const outputLimit = 16 << 10

// Modules are all functions of this package.
func Modules() []executor.Module { return []executor.Module{Run{}} }

// Run is cmd.run.
type Run struct{}

// Function describes it.
func (Run) Function() states.Function {
	return states.Function{
		Module: "cmd", Name: "run",
		Doc: "Runs a command. With none of creates, unless and only_if it runs every time, unless the state is lazy. Below --root it runs on the machine itself, with SHOAL_ROOT naming the root and cwd below it (by default the root): a sandbox of files is no container.",
		Params: []states.Param{
			{Name: "argv", Type: states.Strings, Doc: "the command and its arguments, with no shell"},
			{Name: "shell", Type: states.String, Doc: "a script for /bin/sh -c, in place of argv"},
			{Name: "creates", Type: states.Path, Doc: "it runs only while nothing is there, and must make it"},
			{Name: "unless", Type: states.String, Doc: "a shell command, also run by a plan: it runs only when that one fails"},
			{Name: "only_if", Type: states.String, Doc: "a shell command, also run by a plan: it runs only when that one succeeds"},
			{Name: "cwd", Type: states.Path, Needs: states.ResourcePath, Doc: "the folder it runs in; / when not given"},
			{Name: "env", Type: states.Map, Doc: "environment variables, added to a minimal environment"},
			{Name: "stdin", Type: states.String, Doc: "its standard input; empty when not given"},
			{Name: "user", Type: states.String, Needs: states.ResourceUser, Doc: "the user it runs as; when not given, shoal's own"},
			{Name: "timeout", Type: states.Duration, Doc: "it is killed with all its children after that long"},
		},
		Outputs: []states.Output{
			{Name: "status", Type: states.Int, Doc: "how it ended"},
			{Name: "stdout", Type: states.String, Command: true, Doc: "the end of its standard output; only where the policy allows it"},
			{Name: "changed", Type: states.Bool, Doc: "whether it ran"},
		},
		Example: `migrate:
  cmd.run:
    argv: [/srv/app/bin/migrate, up]
    user: app
    unless: /srv/app/bin/migrate status
  timeout: 5m`,
		CheckDoc:     "creates is looked at; unless and only_if are run.",
		UndoDoc:      "The state that undo: names is run; without one it cannot be undone. One that failed is taken to have changed nothing.",
		Irreversible: true,
		Validate:     validate,
	}
}

func validate(p map[string]any) error {
	_, argv := p["argv"]
	_, shell := p["shell"]
	if argv == shell {
		return errors.New("needs one of argv and shell")
	}
	if s, ok := p["timeout"].(string); ok {
		if _, err := time.ParseDuration(s); err != nil {
			return fmt.Errorf("timeout: %w", err)
		}
	}
	_, err := environment(p)
	return err
}

// environment returns the variables in the order of their names.
func environment(p map[string]any) ([]string, error) {
	env, _ := p["env"].(map[string]any)
	var out []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return nil, fmt.Errorf("env: %q is no name of a variable", name)
		}
		out = append(out, name+"="+fmt.Sprint(env[name]))
	}
	return out, nil
}

// command is the process that parameters describe; guard is nil, or the script to run in its place.
func command(p executor.Params, guard string) (executor.Command, error) {
	if err := validate(p); err != nil {
		return executor.Command{}, err
	}
	env, err := environment(p)
	if err != nil {
		return executor.Command{}, err
	}
	c := executor.Command{Env: env, Limit: outputLimit}
	c.Cwd, _ = p["cwd"].(string)
	c.User, _ = p["user"].(string)
	if script, ok := p["shell"].(string); ok {
		c.Argv = []string{"/bin/sh", "-c", script}
	}
	argv, _ := p["argv"].([]any)
	for _, arg := range argv {
		c.Argv = append(c.Argv, fmt.Sprint(arg))
	}
	if stdin, ok := p["stdin"].(string); ok {
		c.Stdin = []byte(stdin)
	}
	if guard != "" {
		c.Argv, c.Stdin = []string{"/bin/sh", "-c", guard}, nil
	}
	if len(c.Argv) == 0 {
		return c, errors.New("argv: is empty")
	}
	return c, nil
}

func describe(c executor.Command, p executor.Params) string {
	if script, ok := p["shell"].(string); ok {
		return "run: " + strings.TrimRight(script, "\n") + "\n"
	}
	return "run: " + strings.Join(c.Argv, " ") + "\n"
}

// Check looks at the guards: creates first, because it costs nothing.
func (Run) Check(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	c, err := command(p, "")
	if err != nil {
		return executor.Change{}, err
	}
	idle := executor.Change{Outputs: map[string]any{"changed": false}}
	creates, _ := p["creates"].(string)
	unless, _ := p["unless"].(string)
	onlyIf, _ := p["only_if"].(string)
	idle.Guarded = creates != "" || unless != "" || onlyIf != ""
	change := executor.Change{
		// Always, also with creates: a command that did not make it has run all the same, and runs again next time.
		Needed: true, Diff: describe(c, p), Always: true, Guarded: unless != "" || onlyIf != "",
		Outputs: map[string]any{"changed": true},
	}
	if creates != "" {
		if _, err := h.Lstat(creates); err == nil {
			return idle, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return executor.Change{}, err
		}
	}
	if err := ready(h, c); err != nil {
		change.Unknown = unless != "" || onlyIf != ""
		return change, err
	}
	for _, guard := range []struct {
		script string
		runs   bool // on status 0
	}{{onlyIf, true}, {unless, false}} {
		if guard.script == "" {
			continue
		}
		ok, err := ask(ctx, h, p, guard.script)
		if err != nil {
			return executor.Change{}, err
		}
		if ok != guard.runs {
			return idle, nil
		}
	}
	return change, nil
}

// ready: an earlier state may have to make the folder and the user first.
func ready(h executor.Host, c executor.Command) error {
	if c.Cwd != "" {
		if _, err := h.Lstat(c.Cwd); errors.Is(err, fs.ErrNotExist) {
			return &executor.Missing{Kind: states.ResourcePath, Name: path.Clean(c.Cwd)}
		}
	}
	if c.User != "" {
		if _, ok, err := h.LookupUser(c.User); err != nil {
			return err
		} else if !ok {
			return &executor.Missing{Kind: states.ResourceUser, Name: c.User}
		}
	}
	return nil
}

func ask(ctx context.Context, h executor.Host, p executor.Params, script string) (bool, error) {
	c, err := command(p, script)
	if err != nil {
		return false, err
	}
	ctx, cancel := limit(ctx, p)
	defer cancel()
	exit, err := h.Run(ctx, c)
	return exit.Status == 0, err
}

func limit(ctx context.Context, p executor.Params) (context.Context, context.CancelFunc) {
	s, _ := p["timeout"].(string)
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return context.WithTimeoutCause(ctx, d, fmt.Errorf("timed out after %s", d))
	}
	return ctx, func() {}
}

// Capture has nothing to keep: no one knows what a command changes.
func (Run) Capture(_ context.Context, _ executor.Host, p executor.Params) (executor.Undo, error) {
	c, err := command(p, "")
	if err != nil {
		return executor.Undo{}, err
	}
	return executor.Undo{Why: strings.TrimSpace("cannot be undone: " + strings.TrimPrefix(describe(c, p), "run: "))}, nil
}

// Apply runs the command. A status other than 0 is a failure.
func (Run) Apply(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	c, err := command(p, "")
	if err != nil {
		return nil, err
	}
	if err := ready(h, c); err != nil {
		return nil, err
	}
	ctx, cancel := limit(ctx, p)
	defer cancel()
	exit, err := h.Run(ctx, c)
	if err != nil {
		return nil, err
	}
	if exit.Status != 0 {
		return nil, fmt.Errorf("status %d: %s", exit.Status, said(exit))
	}
	return map[string]any{"status": int64(0), "changed": true, "stdout": string(exit.Stdout)}, nil
}

// said is the end of what a command wrote, standard error before standard output.
func said(exit executor.Exit) string {
	text := strings.TrimSpace(string(exit.Stderr))
	if out := strings.TrimSpace(string(exit.Stdout)); out != "" {
		text = strings.TrimSpace(text + "\n" + out)
	}
	if text == "" {
		return "it said nothing"
	}
	const most = 2000
	if len(text) > most {
		text = "…" + text[len(text)-most:]
	}
	return text
}

// React runs the command although what it creates is there.
func (Run) React(p executor.Params) executor.Params {
	p = maps.Clone(p)
	delete(p, "creates")
	return p
}

// Revert has nothing to put back.
func (Run) Revert(context.Context, executor.Host, executor.Params, executor.Undo) error {
	return errors.New("a command cannot be undone")
}
