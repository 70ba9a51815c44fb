package packages

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"shoal/executor"
)

// busy is a machine whose package manager is locked for so many tries, in the words of its tool.
type busy struct {
	words  executor.Exit
	tries  int
	holder string // what the scripts that look for the holder say
}

func (b *busy) Run(_ context.Context, cmd executor.Command) (executor.Exit, error) {
	switch {
	case cmd.Argv[0] == "cat" && strings.HasSuffix(cmd.Argv[1], "/comm"):
		return executor.Exit{Stdout: []byte(b.holder + "\n")}, nil
	case slices.Contains(cmd.Argv, openScript):
		return executor.Exit{Stdout: []byte(b.holder)}, nil
	case b.tries == 0:
		return executor.Exit{}, nil
	}
	b.tries--
	return b.words, nil
}

// What the tools say when another is at work, as they were seen to (apk: as its source has it).
var lockedTools = map[string]struct {
	open   func(Runner, Clock, Waiting) executor.Packages
	words  executor.Exit
	holder string
	want   string
}{
	"apt": {
		func(r Runner, c Clock, w Waiting) executor.Packages { return NewApt(folder("/nowhere"), r, c, w) },
		executor.Exit{Status: 100, Stderr: []byte("E: Could not get lock /var/lib/apt/lists/lock. It is held by process 8908 (apt-get)\nE: Unable to lock directory /var/lib/apt/lists/\n")},
		"", "/var/lib/apt/lists/lock, held by pid 8908 (apt-get)",
	},
	"dpkg": {
		func(r Runner, c Clock, w Waiting) executor.Packages { return NewApt(folder("/nowhere"), r, c, w) },
		executor.Exit{Status: 2, Stderr: []byte("dpkg: error: dpkg frontend lock was locked by another process with pid 8908\nNote: removing the lock file is always wrong\n")},
		"aptitude", "frontend, held by pid 8908 (aptitude)",
	},
	"dnf": {
		func(r Runner, c Clock, w Waiting) executor.Packages { return NewDnf(r, c, w) },
		executor.Exit{Status: 200, Stderr: []byte("metadata already locked by 13591\n  The application with PID 13591 is: dnf\n    Memory : 1.8 M RSS (2.9 MB VSZ)\n")},
		"", "metadata, held by pid 13591 (dnf)",
	},
	"zypper": {
		func(r Runner, c Clock, w Waiting) executor.Packages { return NewZypper(r, c, w) },
		executor.Exit{Status: 7, Stdout: []byte("<?xml version='1.0'?>\n<stream>\n<message type=\"error\">System management is locked by the application with pid 14501 (packagekitd).\nClose this application before trying again.</message>\n</stream>\n")},
		"", "/run/zypp.pid, held by pid 14501 (packagekitd)",
	},
	"pacman": {
		func(r Runner, c Clock, w Waiting) executor.Packages { return NewPacman(r, c, w) },
		executor.Exit{Status: 1, Stderr: []byte("error: failed to synchronize all databases (unable to lock database)\n")},
		"77 pacman", "/var/lib/pacman/db.lck, held by pid 77 (pacman)",
	},
	"apk": {
		func(r Runner, c Clock, w Waiting) executor.Packages { return NewApk(r, c, w) },
		executor.Exit{Status: 99, Stderr: []byte("ERROR: Unable to lock database: temporary error (try again later)\nERROR: Failed to open apk database: temporary error (try again later)\n")},
		"78 apk", "/lib/apk/db/lock, held by pid 78 (apk)",
	},
}

// A lock that another package manager holds is waited for, and who waits is told who has it, not at each try.
func TestLockIsWaitedFor(t *testing.T) {
	const tries = 12
	for name, c := range lockedTools {
		t.Run(name, func(t *testing.T) {
			var told []string
			clock := &clock{now: time.Unix(1e9, 0)}
			p := c.open(&busy{c.words, tries, c.holder}, clock, func(w Wait) { told = append(told, w.String()) })
			if err := refresh(t.Context(), p, name); err != nil && !strings.Contains(err.Error(), "read what zypper says") {
				t.Fatal(err) // the rest of what zypper says is not played here
			}
			want := []string{
				"waiting for " + c.want + " (since 0s, at most 10m0s)", "waiting for " + c.want + " (since 10s, at most 10m0s)",
				"waiting for " + c.want + " (since 20s, at most 10m0s)",
			}
			if !slices.Equal(told, want) {
				t.Errorf("told %q", told)
			}
			if waited := clock.now.Sub(time.Unix(1e9, 0)); waited != tries*lockPoll {
				t.Errorf("waited %s", waited)
			}
		})
	}
}

func refresh(ctx context.Context, p executor.Packages, name string) error {
	if name == "dpkg" {
		return p.(*Apt).doNothing(ctx)
	}
	return p.RefreshPackages(ctx, "", 0)
}

func (a *Apt) doNothing(ctx context.Context) error {
	_, err := a.do(ctx, "dpkg", "--configure", "-a")
	return err
}

// A wait has an end, and its error names the holder.
func TestLockIsNotWaitedForWithoutEnd(t *testing.T) {
	for name, c := range lockedTools {
		t.Run(name, func(t *testing.T) {
			clock := &clock{now: time.Unix(1e9, 0)}
			err := refresh(t.Context(), c.open(&busy{c.words, 1 << 30, c.holder}, clock, nil), name)
			if err == nil || !strings.Contains(err.Error(), "waited 10m0s for another package manager: "+c.want) {
				t.Error(err)
			}
			if waited := clock.now.Sub(time.Unix(1e9, 0)); waited != lockWait {
				t.Errorf("waited %s", waited)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := refresh(ctx, c.open(&busy{c.words, 1 << 30, c.holder}, clock, nil), name); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
		})
	}
}

// A file that a program left that was cut off is no reason to wait, and may be the file of one that has just gone.
func TestLockOfNobody(t *testing.T) {
	c := lockedTools["pacman"]
	if err := c.open(&busy{c.words, 1, ""}, &clock{}, nil).RefreshPackages(t.Context(), "", 0); err != nil {
		t.Error(err)
	}
	clock := &clock{}
	err := c.open(&busy{c.words, 1 << 30, ""}, clock, nil).RefreshPackages(t.Context(), "", 0)
	if err == nil || !strings.Contains(err.Error(), "db.lck, held by no program that runs: remove the file") || clock.now.Sub(time.Time{}) != lockPoll {
		t.Errorf("%v after %s", err, clock.now)
	}
	// Who is not root does not see who has it: then it is waited for.
	if err := c.open(&busy{c.words, 5, "unknown"}, clock, nil).RefreshPackages(t.Context(), "", 0); err != nil {
		t.Error(err)
	}
}
