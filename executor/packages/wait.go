package packages

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"shoal/executor"
)

const (
	// lockWait is the longest wait for another package manager, lockPoll how long between two tries, and tellEvery how often
	// the wait is told.
	lockWait  = 10 * time.Minute
	lockPoll  = 2 * time.Second
	tellEvery = 10 * time.Second
)

// Clock is what waiting needs of the time.
type Clock interface {
	Now() time.Time
	Sleep(ctx context.Context, d time.Duration) error
}

// Waiting is told that another package manager is waited for: at once, and again from time to time. nil: nobody is told.
type Waiting func(Wait)

// Wait is a lock of a package manager that another holds.
type Wait struct {
	Lock   string // what is held: a file, or what the tool calls it
	Holder string // "pid 12 (apt-get)"; empty: it cannot be told
	Since  time.Duration
	Limit  time.Duration
}

func (w Wait) held() string {
	if w.Holder == "" {
		return w.Lock + ", held by another program"
	}
	return w.Lock + ", held by " + w.Holder
}

// String is for a person: what is waited for, who has it, and for how long yet.
func (w Wait) String() string {
	return fmt.Sprintf("waiting for %s (since %s, at most %s)", w.held(), w.Since.Round(time.Second), w.Limit)
}

// lock is what a tool said of a lock that it did not get.
type lock struct {
	name string
	pid  string // who holds it
	// command of the holder, where the tool told it.
	command string
	// open: the holder is whoever has the file of that name open, as the tool tells no number.
	open bool
}

// lockWords are those in which a tool says that another is at work: a pattern whose groups "name", "pid" and "command" it may
// have or not.
type lockWords struct {
	pattern *regexp.Regexp
	name    string // where the pattern has none
	open    bool
}

func (w lockWords) find(output string) (lock, bool) {
	m := w.pattern.FindStringSubmatch(output)
	if m == nil {
		return lock{}, false
	}
	l := lock{name: w.name, open: w.open}
	for i, group := range w.pattern.SubexpNames() {
		switch {
		case m[i] == "":
		case group == "name":
			l.name = strings.TrimSuffix(m[i], ".")
		case group == "pid":
			l.pid = m[i]
		case group == "command":
			l.command = strings.TrimSpace(m[i])
		}
	}
	return l, true
}

// The words of the tools, in English.
var (
	aptLocked = []lockWords{
		{pattern: regexp.MustCompile(`Could not get lock (?P<name>\S+) It is held by process (?P<pid>\d+)(?: \((?P<command>[^)\n]*)\))?`)},
		{pattern: regexp.MustCompile(`Could not get lock (?P<name>\S+?)(?: - open)?[.\s]`), open: true},
		{pattern: regexp.MustCompile(`dpkg: error: dpkg (?P<name>frontend|database) lock was locked by another process(?: with pid (?P<pid>\d+))?`)},
		{pattern: regexp.MustCompile(`Unable to acquire the dpkg frontend lock \((?P<name>\S+)\)`), open: true},
	}
	dnfLocked = []lockWords{
		{pattern: regexp.MustCompile(`(?m)^(?P<name>\w+) already locked by (?P<pid>\d+)(?:\s+The application with PID \d+ is: (?P<command>.*))?`)},
		{pattern: regexp.MustCompile(`can't create transaction lock on (?P<name>\S+)`), open: true},
	}
	zypperLocked = []lockWords{{pattern: regexp.MustCompile(`System management is locked by the application with pid (?P<pid>\d+)(?: \((?P<command>[^)\n]*)\))?`), name: "/run/zypp.pid"}}
	pacmanLocked = []lockWords{{pattern: regexp.MustCompile(`unable to lock database`), name: "/var/lib/pacman/db.lck", open: true}}
	apkLocked    = []lockWords{{pattern: regexp.MustCompile(`(?i)unable to lock database`), name: "/lib/apk/db/lock", open: true}}
)

// lockedBy looks for the words of a tool in what it said.
func (t *tool) lockedBy(output string) (lock, bool) {
	for _, w := range t.locked {
		if l, ok := w.find(output); ok {
			return l, true
		}
	}
	return lock{}, false
}

// openScript says who has a file open: a number and the name of a command; nothing where nobody has. Only root sees that.
const openScript = `[ "$(id -u)" = 0 ] || { echo unknown; exit 0; }
p=$(ls -l /proc/[0-9]*/fd 2>/dev/null | awk -v f="$1" '/^\/proc\//{split($0,a,"/");p=a[3]} $NF==f{print p;exit}')
[ -z "$p" ] || echo "$p $(cat "/proc/$p/comm" 2>/dev/null)"`

// holder names who has a lock, as far as that can be told.
func (t *tool) holder(ctx context.Context, l lock) string {
	argv := []string{"cat", "/proc/" + l.pid + "/comm"}
	switch {
	case l.pid != "" && l.command != "":
		return "pid " + l.pid + " (" + l.command + ")"
	case l.pid == "" && !l.open:
		return ""
	case l.pid == "":
		argv = []string{"sh", "-c", openScript, "sh", l.name}
	}
	exit, err := t.run.Run(ctx, executor.Command{Argv: argv, Limit: outputLimit})
	said := strings.TrimSpace(string(exit.Stdout))
	switch {
	case l.pid != "" && (err != nil || exit.Status != 0 || said == ""):
		return "pid " + l.pid
	case l.pid != "":
		return "pid " + l.pid + " (" + said + ")"
	case err != nil, exit.Status != 0, said == "unknown":
		return ""
	case said == "":
		return nobody
	}
	pid, command, _ := strings.Cut(said, " ")
	return "pid " + pid + " (" + command + ")"
}

// nobody holds a lock that is a file, and is there all the same.
const nobody = "no program that runs"

// patience is one wait for a lock, over several tries.
type patience struct {
	tool   *tool
	began  time.Time
	told   time.Time
	nobody bool // had it at the last try
}

func (t *tool) patience() *patience { return &patience{tool: t, began: t.clock.Now()} }

// again waits a little, and returns an error that names the holder when it is over.
func (p *patience) again(ctx context.Context, l lock) error {
	now := p.tool.clock.Now()
	w := Wait{Lock: l.name, Holder: p.tool.holder(ctx, l), Since: now.Sub(p.began), Limit: lockWait}
	if w.Since >= lockWait {
		return fmt.Errorf("waited %s for another package manager: %s", w.Since.Round(time.Second), w.held())
	}
	// Who had it may have gone in this moment, and its file with it. One that is there again was left by a program that was cut off.
	if w.Holder == nobody && p.nobody {
		return fmt.Errorf("%s: remove the file when you are sure that no package manager runs", w.held())
	}
	p.nobody = w.Holder == nobody
	if p.tool.waiting != nil && (p.told.IsZero() || now.Sub(p.told) >= tellEvery) {
		p.told = now
		p.tool.waiting(w)
	}
	if err := p.tool.clock.Sleep(ctx, lockPoll); err != nil {
		return fmt.Errorf("waiting for %s: %w", w.held(), err)
	}
	return nil
}
