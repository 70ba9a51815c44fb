package packages

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"shoal/executor"
)

// refreshAge is how long fetched package lists count as fresh for this process.
const refreshAge = time.Hour

var errPackagesBelowRoot = errors.New("pkg.installed works on the machine itself, not below --root: install it there, or skip the state there with a condition (when)")

// Apt is the package manager of Debian and its kin: it reads dpkg's own database, and changes things through apt-get. It is
// safe for use by several goroutines.
type Apt struct {
	files Files
	tool  *tool
	below bool

	mu        sync.Mutex
	stamps    [2]executor.Stat // of the status file and the folder of its updates
	cache     *dpkgDatabase
	refreshed time.Time // when the lists were last fetched, or it was last tried
	answers   answers
}

// NewApt uses the apt of the machine whose files those are, and on which run runs commands. waiting may be nil.
func NewApt(files Files, run Runner, clock Clock, waiting Waiting) *Apt {
	return &Apt{files: files, tool: &tool{run: run, clock: clock, waiting: waiting, locked: aptLocked, env: []string{
		"DEBIAN_FRONTEND=noninteractive", "APT_LISTCHANGES_FRONTEND=none", "UCF_FORCE_CONFFOLD=1", "NEEDRESTART_SUSPEND=1",
	}}}
}

// NewAptBelow reads the database of a folder that stands for a machine: nothing can be changed there.
func NewAptBelow(files Files) *Apt { return &Apt{files: files, below: true} }

// database costs two lstats while nothing has changed.
func (a *Apt) database() (*dpkgDatabase, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var stamps [2]executor.Stat
	for i, name := range []string{dpkgStatus, dpkgUpdates} {
		st, err := a.files.Lstat(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		stamps[i] = st
	}
	if a.cache != nil && stamps == a.stamps {
		return a.cache, nil
	}
	db, err := readDpkg(a.files)
	if err != nil {
		return nil, fmt.Errorf("read the package database: %w", err)
	}
	a.cache, a.stamps = db, stamps
	return db, nil
}

// Installed implements executor.Packages.
func (a *Apt) Installed(_ context.Context, names []string) ([]executor.Package, error) {
	db, err := a.database()
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return db.all(), nil
	}
	var list []executor.Package
	for _, name := range names {
		if p, ok := db.find(name); ok {
			list = append(list, p)
		}
	}
	return list, nil
}

// Available implements executor.Packages. Where the lists do not know the package they are fetched, at most once an hour:
// they are a cache, and on a fresh machine an empty one.
func (a *Apt) Available(ctx context.Context, name, version string) (candidate string, ok bool, err error) {
	if err := a.check([]executor.Package{{Name: name, Version: version}}, nil); err != nil {
		return "", false, err
	}
	candidate, ok, err = a.available(ctx, name, version)
	if err != nil || ok || !a.mayRefresh() {
		return candidate, ok, err
	}
	if err := a.refresh(ctx); err != nil {
		return candidate, false, nil // what cannot be fetched now is not available now
	}
	return a.available(ctx, name, version)
}

func (a *Apt) available(ctx context.Context, name, version string) (candidate string, ok bool, err error) {
	output, err := a.ask(ctx, "apt-cache", "policy", name)
	if err != nil {
		return "", false, fmt.Errorf("look up package %s: %w", name, err)
	}
	db, err := a.database()
	if err != nil {
		return "", false, err
	}
	p, known := parsePolicy(output, strings.TrimSuffix(name, ":"+db.native))
	if !known {
		return "", false, nil
	}
	if version == "" {
		return p.candidate, p.candidate != "", nil
	}
	return p.candidate, slices.Contains(p.versions, version), nil
}

var (
	// debName as Debian policy 5.6.1 has it, with an architecture. What apt-get would take for a pattern, an option or
	// a removal ("name-") is none.
	debName    = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*[a-z0-9+.](:[a-z0-9-]+)?$`)
	debVersion = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+:~-]*$`)
)

// check says what cannot be done at all.
func (a *Apt) check(install []executor.Package, remove []string) error {
	if a.below && len(install)+len(remove) > 0 {
		return errPackagesBelowRoot
	}
	for _, p := range install {
		if p.Version != "" && !debVersion.MatchString(p.Version) {
			return fmt.Errorf("package %s: %q is not a version", p.Name, p.Version)
		}
		remove = append(slices.Clone(remove), p.Name)
	}
	for _, name := range remove {
		if !debName.MatchString(name) {
			return fmt.Errorf("%q is not the name of a package", name)
		}
	}
	return nil
}

// aptOptions make apt-get decide like a person who has read the plan: old configuration stays, no question is asked, nobody
// but the tool itself waits for a lock.
func aptOptions() []string {
	return []string{
		"-y", "-q", "--allow-downgrades", "--allow-change-held-packages",
		"-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold",
		"-o", "DPkg::Lock::Timeout=0",
		"-o", "Dpkg::Use-Pty=0", "-o", "APT::Get::AutomaticRemove=false",
	}
}

// arguments of apt-get install. Those of install that need nothing and of remove that are not there are left out, so
// that apt-get neither upgrades the former nor stumbles over the latter; empty: there is nothing to do.
func (a *Apt) arguments(ctx context.Context, install []executor.Package, remove []string) ([]string, error) {
	if err := a.check(install, remove); err != nil {
		return nil, err
	}
	db, err := a.database()
	if err != nil {
		return nil, err
	}
	var args []string
	for _, p := range install {
		have, there := db.find(p.Name)
		if there && (p.Version == "" || p.Version == have.Version) {
			continue
		}
		// apt-get would take a name that it does not know for a pattern.
		_, known, err := a.available(ctx, p.Name, "")
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, fmt.Errorf("install %s: no repository has it", p.Name)
		}
		arg := p.Name
		if p.Version != "" {
			arg += "=" + p.Version
		}
		args = append(args, arg)
	}
	for _, name := range remove {
		if db.present(name) {
			args = append(args, name+"-")
		}
	}
	return args, nil
}

// SimulatePackages implements executor.Packages.
func (a *Apt) SimulatePackages(ctx context.Context, install []executor.Package, remove []string) ([]executor.PackageChange, error) {
	args, err := a.arguments(ctx, install, remove)
	if err != nil || len(args) == 0 {
		return nil, err
	}
	return a.simulate(ctx, args)
}

func (a *Apt) simulate(ctx context.Context, args []string) ([]executor.PackageChange, error) {
	output, err := a.ask(ctx, "apt-get", slices.Concat([]string{"install", "--simulate"}, aptOptions(), args)...)
	if err != nil {
		return nil, fmt.Errorf("simulate %s: %w", strings.Join(args, " "), err)
	}
	changes := parseSimulation(output)
	db, err := a.database()
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		if have, _ := db.find(c.Name); have.Hold && !names(args, c.Name) {
			return nil, fmt.Errorf("simulate %s: it would change %s, which is held", strings.Join(args, " "), c.Name)
		}
	}
	return changes, nil
}

// names: one of the arguments NAME, NAME=VERSION and NAME- is about that package.
func names(args []string, name string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		arg, _, _ = strings.Cut(strings.TrimSuffix(arg, "-"), "=")
		arg, _, _ = strings.Cut(arg, ":")
		base, _, _ := strings.Cut(name, ":")
		return arg == base
	})
}

// ChangePackages implements executor.Packages. Lists that are too old to fetch from are fetched once.
func (a *Apt) ChangePackages(ctx context.Context, install []executor.Package, remove []string) error {
	if err := a.check(install, remove); err != nil {
		return err
	}
	if err := a.mend(ctx); err != nil {
		return err
	}
	if err := a.stay(ctx, install); err != nil {
		return err
	}
	args, err := a.prepare(ctx, install, remove)
	if err != nil && a.mayRefresh() && a.refresh(ctx) == nil {
		args, err = a.prepare(ctx, install, remove)
	}
	if err != nil || len(args) == 0 {
		return err
	}
	if _, err := a.do(ctx, "apt-get", slices.Concat([]string{"install"}, aptOptions(), args)...); err != nil {
		return fmt.Errorf("change packages %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// prepare simulates and fetches, so that a transaction that begins needs no network and is not refused.
func (a *Apt) prepare(ctx context.Context, install []executor.Package, remove []string) (args []string, err error) {
	args, err = a.arguments(ctx, install, remove)
	if err != nil || len(args) == 0 {
		return nil, err
	}
	changes, err := a.simulate(ctx, args)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(changes, func(c executor.PackageChange) bool { return c.After != "" }) {
		return args, nil
	}
	if _, err := a.do(ctx, "apt-get", slices.Concat([]string{"install", "--download-only"}, aptOptions(), args)...); err != nil {
		return nil, fmt.Errorf("fetch packages %s: %w", strings.Join(args, " "), err)
	}
	return args, nil
}

// mend finishes what an interrupted dpkg left: apt-get refuses to work before. A dpkg that is running is waited for.
func (a *Apt) mend(ctx context.Context) error {
	db, err := a.database()
	if err != nil || !db.interrupted {
		return err
	}
	_, err = a.do(ctx, "dpkg", "--configure", "-a", "--force-confdef", "--force-confold")
	var status *failed
	if errors.As(err, &status) {
		return ctx.Err() // a package that fails again is no reason to stop: it may be the one that is to go, and apt-get says so if it is not
	}
	return err
}

// selectScript chooses packages to be installed, as dpkg --get-selections writes it.
const selectScript = `for p in "$@"; do echo "$p install"; done | dpkg --set-selections`

// stay takes back the choice of what is to be there and was chosen to go: apt-get leaves alone what has its version already.
func (a *Apt) stay(ctx context.Context, install []executor.Package) error {
	db, err := a.database()
	if err != nil {
		return err
	}
	var leaving []string
	for _, p := range install {
		if have, _ := db.find(p.Name); have.Leaving {
			leaving = append(leaving, p.Name)
		}
	}
	if len(leaving) == 0 {
		return nil
	}
	if _, err := a.do(ctx, "sh", append([]string{"-c", selectScript, "sh"}, leaving...)...); err != nil {
		return fmt.Errorf("keep packages %s: %w", strings.Join(leaving, " "), err)
	}
	return nil
}

// Leftovers implements executor.Packages.
func (a *Apt) Leftovers(_ context.Context, names []string) ([]string, error) {
	db, err := a.database()
	if err != nil {
		return nil, err
	}
	var left []string
	for _, name := range names {
		if db.leftover(name) {
			left = append(left, name)
		}
	}
	slices.Sort(left)
	return left, nil
}

// frontendLock is the lock that all package managers take around what they do with dpkg.
const frontendLock = "/var/lib/dpkg/lock-frontend"

// Locker is a Runner that can hold a lock of fcntl(2) for as long as several commands take, as a process can on its own machine.
// release nil: another has it, and holder says who.
type Locker interface {
	TryLock(path string) (release func(), holder string, err error)
}

// lockFrontend holds the lock, where the runner can. A shell cannot: there what is done between looking and doing is for the
// time of one command.
func (a *Apt) lockFrontend(ctx context.Context) (release func(), env []string, err error) {
	locker, ok := a.tool.run.(Locker)
	if !ok {
		return func() {}, nil, nil
	}
	for wait := a.tool.patience(); ; {
		release, holder, err := locker.TryLock(frontendLock)
		if release != nil || err != nil {
			return release, []string{"DPKG_FRONTEND_LOCKED=true"}, err
		}
		if err := wait.again(ctx, lock{name: frontendLock, pid: holder}); err != nil {
			return nil, nil, err
		}
	}
}

// purgeScript looks once more, as dpkg would purge what has come to be installed meanwhile.
const purgeScript = `for p in "$@"; do [ "$(dpkg-query -W -f '${db:Status-Status}' "$p")" = config-files ] || { echo "$p has changed meanwhile" >&2; exit 1; }; done
exec dpkg --purge "$@"`

// PurgePackages implements executor.Packages. apt-get has no word for "what is left, but not what is there": dpkg is told
// after a look at its database, and would refuse what something depends on.
func (a *Apt) PurgePackages(ctx context.Context, names []string) error {
	if err := a.check(nil, names); err != nil {
		return err
	}
	if err := a.mend(ctx); err != nil {
		return err
	}
	release, env, err := a.lockFrontend(ctx)
	if err != nil {
		return err
	}
	defer release()
	left, err := a.Leftovers(ctx, names)
	if err != nil || len(left) == 0 {
		return err
	}
	if _, err := a.doWith(ctx, env, "sh", append([]string{"-c", purgeScript, "sh"}, left...)...); err != nil {
		return fmt.Errorf("purge packages %s: %w", strings.Join(left, " "), err)
	}
	return nil
}

// mayRefresh is true once an hour, and counts the asking as the try.
func (a *Apt) mayRefresh() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.refreshed.IsZero() && a.tool.clock.Now().Sub(a.refreshed) < refreshAge {
		return false
	}
	a.refreshed = a.tool.clock.Now()
	return true
}

func (a *Apt) refresh(ctx context.Context, only ...string) error {
	args := []string{"update", "-q", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20", "-o", "Acquire::Retries=1"}
	_, err := a.do(ctx, "apt-get", append(args, only...)...)
	return err
}

// RefreshPackages implements executor.Packages. That of one repository leaves the lists of the others, so that it needs none
// of their servers.
func (a *Apt) RefreshPackages(ctx context.Context, repository string, maxAge time.Duration) error {
	if a.below {
		return errPackagesBelowRoot
	}
	if repository == "" {
		a.mu.Lock()
		fresh := maxAge > 0 && (a.tool.clock.Now().Sub(a.refreshed) < maxAge || a.tool.clock.Now().Sub(a.listsFetched()) < maxAge)
		if !fresh {
			a.refreshed = a.tool.clock.Now()
		}
		a.mu.Unlock()
		if fresh {
			return nil
		}
		return a.refresh(ctx)
	}
	only, err := a.aptSource(repository)
	if err != nil {
		return err
	}
	// apt-get warns and succeeds when a list cannot be fetched, and a repository that was just added has to be there.
	return a.refresh(ctx, "-o", "Dir::Etc::sourcelist="+only, "-o", "Dir::Etc::sourceparts=-", "-o", "APT::Get::List-Cleanup=0",
		"-o", "APT::Update::Error-Mode=any")
}

// listsFetched is when lists were last fetched, by this or another process; the zero time when there are none.
func (a *Apt) listsFetched() (last time.Time) {
	for _, dir := range []string{"/var/lib/apt/lists", "/var/lib/apt/lists/partial"} {
		if st, err := a.files.Lstat(dir); err == nil && time.Unix(0, st.Mtime).After(last) {
			last = time.Unix(0, st.Mtime)
		}
	}
	return last
}

// aptSource finds the file of a repository.
func (a *Apt) aptSource(repository string) (string, error) {
	for _, ending := range []string{".sources", ".list"} {
		name := path.Join("/etc/apt/sources.list.d", path.Base(repository)+ending)
		if _, err := a.files.Lstat(name); err == nil {
			return name, nil
		}
	}
	return "", fmt.Errorf("fetch package lists: no repository %s in /etc/apt/sources.list.d", repository)
}

// SetHold implements executor.Packages.
func (a *Apt) SetHold(ctx context.Context, name string, hold bool) error {
	if err := a.check(nil, []string{name}); err != nil {
		return err
	}
	db, err := a.database()
	if err != nil {
		return err
	}
	if _, there := db.find(name); !there {
		return fmt.Errorf("hold %s: %w", name, errNotInstalled)
	}
	verb := "unhold"
	if hold {
		verb = "hold"
	}
	if _, err := a.do(ctx, "apt-mark", verb, name); err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	return nil
}
