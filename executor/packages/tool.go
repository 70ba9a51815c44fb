// Package packages holds the package managers that are used through their commands: apt, dnf, zypper, pacman and apk; and
// PackageKit, over the bus. Each is an executor.Packages; what they share is here. Those with commands see the machine through
// a Runner, and apt reads dpkg's database through Files, so that they work here and over a connection alike.
package packages

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"shoal/executor"
)

// Runner runs a command of the machine. One that is cancelled may take the time to leave its database in order.
type Runner interface {
	Run(ctx context.Context, cmd executor.Command) (executor.Exit, error)
}

// outputLimit is the most that is kept of what a tool says, in bytes; a simulation of a whole distribution's upgrade is below a
// tenth.
const outputLimit = 16 << 20

// tool runs the commands of one package manager.
type tool struct {
	run   Runner
	clock Clock
	// locked are the words in which it says that another package manager is at work: it is told not to wait itself, so that
	// the wait can be told and has an end.
	locked  []lockWords
	waiting Waiting
	env     []string

	mu        sync.Mutex
	refreshed time.Time
}

// failed is a command that ended with another status than 0.
type failed struct {
	argv   []string
	status int
	output string
}

func (e *failed) Error() string {
	return fmt.Sprintf("%s: status %d\n%s", e.argv[0], e.status, lastLines(e.output))
}

// errorLines is how much of a failing tool's output is shown.
const errorLines = 8

func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-errorLines):], "\n")
}

// command runs a tool that asks nothing and speaks English, waits for a lock that another holds, and returns its standard
// output.
func (t *tool) command(ctx context.Context, stdin string, argv ...string) (string, error) {
	wait := t.patience()
	for {
		exit, err := t.run.Run(ctx, executor.Command{Argv: argv, Env: append([]string{"LC_ALL=C"}, t.env...), Stdin: []byte(stdin), Limit: outputLimit})
		if err != nil {
			return "", err
		}
		if exit.Status == 0 {
			return string(exit.Stdout), nil
		}
		output := string(exit.Stderr) + string(exit.Stdout)
		held, busy := t.lockedBy(output)
		if !busy {
			return string(exit.Stdout), &failed{argv, exit.Status, output}
		}
		if err := wait.again(ctx, held); err != nil {
			return "", err
		}
	}
}

// due says whether lists that may be that old have to be fetched, and counts the asking as the try.
func (t *tool) due(maxAge time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	if maxAge > 0 && !t.refreshed.IsZero() && now.Sub(t.refreshed) < maxAge {
		return false
	}
	t.refreshed = now
	return true
}

// What no tool takes for an option, a pattern or a file.
var (
	packageName    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+@:-]*$`)
	packageVersion = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+~^:-]*$`)
)

func checkNames(install []executor.Package, remove []string) error {
	for _, p := range install {
		if p.Version != "" && !packageVersion.MatchString(p.Version) {
			return fmt.Errorf("package %s: %q is not a version", p.Name, p.Version)
		}
		remove = append(slices.Clone(remove), p.Name)
	}
	for _, name := range remove {
		if !packageName.MatchString(name) {
			return fmt.Errorf("%q is not the name of a package", name)
		}
	}
	return nil
}

// database is what is installed, by name.
type database map[string]executor.Package

// some returns those of names that are installed, or all of them sorted.
func (db database) some(names []string) []executor.Package {
	if len(names) == 0 {
		for name := range db {
			names = append(names, name)
		}
		slices.Sort(names)
	}
	var list []executor.Package
	for _, name := range names {
		if p, ok := db[name]; ok {
			list = append(list, p)
		}
	}
	return list
}

// needed leaves out what is installed as asked, and what is to be removed and is not there.
func (db database) needed(install []executor.Package, remove []string) (add []executor.Package, drop []string) {
	for _, p := range install {
		if have, there := db[p.Name]; !there || (p.Version != "" && p.Version != have.Version) {
			add = append(add, p)
		}
	}
	for _, name := range remove {
		if _, there := db[name]; there {
			drop = append(drop, name)
		}
	}
	return add, drop
}

// changes compares versions after a transaction with those before; an empty one after is a removal. Held packages that are not
// named are an error.
func (db database) changes(after map[string]string, install []executor.Package, remove []string) ([]executor.PackageChange, error) {
	var all []executor.PackageChange
	for name, version := range after {
		c := executor.PackageChange{Name: name, Before: db[name].Version, After: version}
		if c.Before == c.After {
			continue
		}
		named := slices.Contains(remove, name) || slices.ContainsFunc(install, func(p executor.Package) bool { return p.Name == name })
		if db[name].Hold && !named {
			return nil, fmt.Errorf("simulate: it would change %s, which is held", name)
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b executor.PackageChange) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

var errNotInstalled = errors.New("it is not installed")

// spotless is a package manager that keeps no account of what a package left: none of these has a state between installed and
// not known. A configuration file that was edited may stay under another name (.rpmsave, .pacsave), as its manual says.
type spotless struct{}

// Leftovers implements executor.Packages.
func (spotless) Leftovers(context.Context, []string) ([]string, error) { return nil, nil }

// PurgePackages implements executor.Packages.
func (spotless) PurgePackages(context.Context, []string) error { return nil }
