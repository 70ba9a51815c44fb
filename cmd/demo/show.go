package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"shoal/internal/fleet"
)

// shipped is what the distribution put into /etc/issue before shoal came.
const shipped = "Debian GNU/Linux 12 \\n \\l\n"

// show is the demonstration: five machines and the tree that they follow.
type show struct {
	*stage
	fleet *fleet.Fleet
	tree  string // the copy that is edited
}

func newShow(binary, tree, dir string, s *stage) (*show, error) {
	f, err := fleet.New(binary, dir)
	if err != nil {
		return nil, err
	}
	for _, m := range []struct{ name, role, dc string }{
		{"web-1", "web", "fra"}, {"web-2", "web", "ams"}, {"web-3", "web", "nyc"}, {"lb-1", "lb", "fra"}, {"db-1", "db", "ams"},
	} {
		n := f.Add(m.name, "role="+m.role, "dc="+m.dc, "sandbox=yes")
		if err := os.MkdirAll(n.Path("etc"), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(n.Path("etc/issue"), []byte(shipped), 0o644); err != nil {
			return nil, err
		}
	}
	w := &show{stage: s, fleet: f, tree: filepath.Join(dir, "webfleet")}
	return w, os.CopyFS(w.tree, os.DirFS(tree))
}

func (w *show) run(ctx context.Context) error {
	w.title("shoal: five machines and no master")
	w.say("Each machine is one process of the same binary on its own loopback address, with a folder that stands for\nits disk. What you see typed is what was run.")
	for _, scene := range []func(context.Context) error{
		w.gather, w.firstPush, w.editAndCrash, w.drift, w.failure, w.removal,
	} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	return nil
}

// shoal types a command and shows its answer; it fails unless the command ends with status want.
func (w *show) shoal(ctx context.Context, want int, args ...string) (string, error) {
	w.typed(fleet.Typed(args))
	if w.live {
		return "", w.attached(ctx, want, args)
	}
	res, err := w.fleet.Shoal(ctx, args...)
	if err != nil {
		return "", err
	}
	w.answer(res.Stderr)
	w.answer(res.Stdout)
	if res.Status != want {
		return "", fmt.Errorf("shoal %s: exit status %d where %d was expected", args[0], res.Status, want)
	}
	return res.Stdout, nil
}

// attached lets the command draw on the terminal itself.
func (w *show) attached(ctx context.Context, want int, args []string) error {
	cmd := exec.CommandContext(ctx, w.fleet.Binary, args...)
	cmd.Dir, cmd.Env = w.fleet.Dir, w.fleet.Env()
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		return fmt.Errorf("shoal %s: exit status %d where %d was expected", args[0], got, want)
	}
	return nil
}

// check waits until try succeeds, and says how long it took.
func (w *show) check(ctx context.Context, what string, try func() error) error {
	started := time.Now()
	if err := fleet.Eventually(ctx, 30*time.Second, try); err != nil {
		return fmt.Errorf("not true: %s: %w", what, err)
	}
	w.checked(what, time.Since(started))
	return nil
}

// edit changes the tree as a person in an editor would, and shows the change.
func (w *show) edit(path, old, now string) error {
	full := filepath.Join(w.tree, path)
	data, err := os.ReadFile(full)
	if err != nil {
		return err
	}
	text := strings.Replace(string(data), old, now, 1)
	if text == string(data) {
		return fmt.Errorf("%s does not hold %q", path, old)
	}
	w.typed("edit webfleet/" + path)
	w.answer(changed("-", old) + changed("+", now))
	return os.WriteFile(full, []byte(text), 0o644)
}

func changed(sign, text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(sign + " " + strings.TrimSuffix(line, "\n") + "\n")
	}
	return b.String()
}

func (w *show) node(i int) *fleet.Node { return w.fleet.Nodes[i-1] }

// at is the flag that picks a machine to talk to.
func (w *show) at(i int) []string { return []string{"--node", w.node(i).Socket()} }
