package ssh

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"shoal/executor"
)

const (
	// defaultOutput is the limit of kept output where a Command gives none, in bytes.
	defaultOutput = 64 << 10
	// killGrace is how long a killed command may take to be gone; toolGrace how long a package manager may take to end in order.
	killGrace = 5 * time.Second
	toolGrace = time.Minute
)

// Commands runs processes over there. Each is written down while it runs, so that whoever works on the machine next, and the
// holder of the lock when the connection is lost, ends what was left of it: what is rolled back must not be worked on any more.
type Commands struct {
	machine *Machine
	root    string
	home    string
	uid     uint32
	users   executor.Accounts

	mu      sync.Mutex
	running string // the folder where they are written down, while the lock is held
}

// cannotStart is what a script says of a command that is not there.
const cannotStart = "shoal-cannot-start"

// Run implements executor.Commands.
func (c *Commands) Run(ctx context.Context, cmd executor.Command) (executor.Exit, error) {
	return c.run(ctx, cmd, "KILL", killGrace)
}

// Tools runs the tools of package and service managers, which are told to end before they are killed.
type Tools struct{ commands *Commands }

// Run implements the runner of the packages that use such tools.
func (t Tools) Run(ctx context.Context, cmd executor.Command) (executor.Exit, error) {
	return t.commands.run(ctx, cmd, "TERM", toolGrace)
}

func (c *Commands) run(ctx context.Context, cmd executor.Command, signal string, grace time.Duration) (executor.Exit, error) {
	if len(cmd.Argv) == 0 {
		return executor.Exit{}, errors.New("run: empty command")
	}
	script, err := c.script(cmd)
	if err != nil {
		return executor.Exit{}, fmt.Errorf("run %s: %w", cmd.Argv[0], err)
	}
	limit := cmd.Limit
	if limit <= 0 {
		limit = defaultOutput
	}
	exit, err := c.machine.run(ctx, script, cmd.Stdin, limit, signal, grace)
	if err == nil && (exit.Status == 127 || exit.Status == 126) && strings.HasSuffix(strings.TrimSpace(string(exit.Stderr)), cannotStart) {
		err = errors.New("there is no such command, or no such folder to run it in")
	}
	if err != nil {
		return exit, fmt.Errorf("run %s: %w", cmd.Argv[0], err)
	}
	return exit, nil
}

// noteScript writes down the group of the process and when it began, which tells it from a later one with its number.
const noteScript = `if [ -d %[1]s ]; then f=%[1]s/$g; set -- $(cat /proc/$g/stat); echo "${22}" > "$f"; fi
`

// script is the command with its environment and folder, in an environment that holds nothing else.
func (c *Commands) script(cmd executor.Command) (string, error) {
	home, become := c.home, ""
	if cmd.User != "" {
		u, ok, err := c.users.LookupUser(cmd.User)
		if err != nil {
			return "", err
		}
		if !ok {
			return "", fmt.Errorf("no user %s", cmd.User)
		}
		if home = u.Home; u.UID != c.uid {
			become = fmt.Sprintf(`if command -v setpriv >/dev/null; then exec setpriv --reuid=%d --regid=%d --init-groups -- sh -c "$0"; else exec su -s /bin/sh -c "$0" %s; fi`,
				u.UID, u.GID, quote(u.Name))
		}
	}
	env := []string{"HOME=" + home}
	if c.root != "/" {
		env = append(env, "SHOAL_ROOT="+c.root)
	}
	var b strings.Builder
	c.mu.Lock()
	running := c.running
	c.mu.Unlock()
	if running != "" {
		fmt.Fprintf(&b, noteScript, quote(running))
	}
	b.WriteString("unset XDG_CACHE_HOME\n")
	for _, pair := range append(env, cmd.Env...) {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || !isVariable(key) {
			return "", fmt.Errorf("%q is no variable of an environment", key)
		}
		b.WriteString("export " + key + "=" + quote(value) + "\n")
	}
	start := fmt.Sprintf("cd %s && command -v %s >/dev/null || { echo %s >&2; exit 127; }\nexec %s",
		quote(c.folder(cmd.Cwd)), quote(cmd.Argv[0]), cannotStart, quoteAll(cmd.Argv))
	if become != "" {
		start = "sh -c " + quote(become) + " " + quote(start)
	} else {
		start = "\n" + start
	}
	// The outer shell would say on standard error by which signal the command ended.
	b.WriteString("exec 3>&2 2>/dev/null\n( exec 2>&3 3>&-; " + start + " )\ns=$?; [ -z \"$f\" ] || rm -f \"$f\"; exit $s")
	return b.String(), nil
}

func isVariable(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// Path is the name that a command sees for a path of this host.
func (c *Commands) Path(name string) string { return path.Join(c.root, path.Clean("/"+name)) }

func (c *Commands) folder(cwd string) string {
	if cwd == "" {
		return c.root
	}
	return c.Path(cwd)
}

// writeDown says where commands are written down from now on.
func (c *Commands) writeDown(folder string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = folder
}
