package packages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"shoal/executor"
)

// The names of PackageKit on the bus (its reference manual, "D-Bus API Reference").
const (
	kitName        = "org.freedesktop.PackageKit"
	kitPath        = dbus.ObjectPath("/org/freedesktop/PackageKit")
	kitTransaction = kitName + ".Transaction"
)

// Bits of its enumerations (pk-enum.h).
const (
	kitInstalled = 1 << 2
	kitNewest    = 1 << 16
	kitNative    = 1 << 18 // FILTER_ARCH

	kitSimulate     = 1 << 2
	kitDownloadOnly = 1 << 3
	kitDowngrade    = 1 << 6
)

// Values of its enumerations (pk-enum.h).
const (
	kitSuccess      = 1  // of an exit
	kitRemoving     = 13 // of what a transaction does to a package
	kitObsoleting   = 15
	kitIsInstalled  = 1
	kitWaitsForLock = 30 // of a status
)

// PackageKit is a package manager behind org.freedesktop.PackageKit, for machines whose own is none of those that are known here.
// It has no word for a hold, and removing and installing are two of its transactions. It is safe for use by several goroutines.
type PackageKit struct {
	spotless
	dial  func(context.Context) (*dbus.Conn, error)
	clock Clock
	tool  *tool

	mu   sync.Mutex // one transaction at a time
	conn *dbus.Conn
}

// NewPackageKit uses the bus that dial opens, when it is asked something first. waiting may be nil.
func NewPackageKit(dial func(context.Context) (*dbus.Conn, error), clock Clock, waiting Waiting) *PackageKit {
	return &PackageKit{dial: dial, clock: clock, tool: &tool{clock: clock, waiting: waiting}}
}

// There says whether the bus has PackageKit, running or to be started.
func (k *PackageKit) There(ctx context.Context) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	conn, err := k.connect(ctx)
	if err != nil {
		return false
	}
	for _, method := range []string{"ListActivatableNames", "ListNames"} {
		var names []string
		if conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus."+method, 0).Store(&names) == nil && slices.Contains(names, kitName) {
			return true
		}
	}
	return false
}

// Close ends the connection, if there is one.
func (k *PackageKit) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn == nil {
		return nil
	}
	err := k.conn.Close()
	k.conn = nil
	return err
}

func (k *PackageKit) connect(ctx context.Context) (*dbus.Conn, error) {
	if k.conn != nil && k.conn.Connected() {
		return k.conn, nil
	}
	conn, err := k.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("PackageKit: %w", err)
	}
	k.conn = conn
	return conn, nil
}

// kitPackage is what a transaction says of one package: NAME;VERSION;ARCHITECTURE;DATA, where the data is a repository, or begins
// with a word that tells that it is installed.
type kitPackage struct {
	info          uint32
	id            string
	name, version string
	arch, data    string
}

func parseKitID(info uint32, id string) (kitPackage, bool) {
	f := strings.SplitN(id, ";", 4)
	if len(f) != 4 || f[0] == "" || f[1] == "" {
		return kitPackage{}, false
	}
	return kitPackage{info, id, f[0], f[1], f[2], f[3]}, true
}

// fetchable: a repository has it. Of what is installed the data tells that, after a word for how it came to be.
func (p kitPackage) fetchable() bool {
	if p.name == "" || p.info != kitIsInstalled {
		return p.name != ""
	}
	_, from, _ := strings.Cut(p.data, ":")
	return from != "" && from != "local"
}

// resolve looks packages up. Those that are not known are left out.
func (k *PackageKit) resolve(ctx context.Context, filter uint64, names []string) ([]kitPackage, error) {
	all, err := k.run(ctx, "Resolve", filter|kitNative, names)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(p kitPackage) bool { return !slices.Contains(names, p.name) }), nil
}

func (k *PackageKit) database(ctx context.Context, names []string) (database, error) {
	var all []kitPackage
	var err error
	if len(names) == 0 {
		all, err = k.run(ctx, "GetPackages", uint64(kitInstalled|kitNative))
	} else {
		all, err = k.resolve(ctx, kitInstalled, names)
	}
	db := database{}
	for _, p := range all {
		db[p.name] = executor.Package{Name: p.name, Version: p.version}
	}
	return db, err
}

// Installed implements executor.Packages.
func (k *PackageKit) Installed(ctx context.Context, names []string) ([]executor.Package, error) {
	db, err := k.database(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("read the package database: %w", err)
	}
	return db.some(names), nil
}

// Available implements executor.Packages.
func (k *PackageKit) Available(ctx context.Context, name, version string) (candidate string, ok bool, err error) {
	if err := checkNames([]executor.Package{{Name: name, Version: version}}, nil); err != nil {
		return "", false, err
	}
	found, err := k.find(ctx, name)
	if err != nil || !found.newest.fetchable() {
		return "", false, err
	}
	if version == "" || version == found.newest.version {
		return found.newest.version, true, nil
	}
	_, ok, err = k.exact(ctx, found, version)
	return found.newest.version, ok, err
}

// kitFound is what is known of one package.
type kitFound struct{ newest, installed kitPackage }

func (k *PackageKit) find(ctx context.Context, name string) (f kitFound, err error) {
	for _, ask := range []struct {
		filter uint64
		into   *kitPackage
	}{{kitNewest, &f.newest}, {kitInstalled, &f.installed}} {
		all, err := k.resolve(ctx, ask.filter, []string{name})
		if err != nil {
			return f, fmt.Errorf("look up package %s: %w", name, err)
		}
		for _, p := range all {
			if ask.into.name == "" || ask.into.info == kitIsInstalled {
				*ask.into = p
			}
		}
	}
	return f, nil
}

// exact is the id of a version that a repository has. PackageKit lists the newest alone, but answers questions about others.
func (k *PackageKit) exact(ctx context.Context, f kitFound, version string) (id string, ok bool, err error) {
	for _, p := range []kitPackage{f.newest, f.installed} {
		if p.version == version {
			return p.id, p.fetchable(), nil
		}
	}
	id = strings.Join([]string{f.newest.name, version, f.newest.arch, f.newest.data}, ";")
	details, err := k.run(ctx, "GetDetails", []string{id})
	var kit *kitError
	if errors.As(err, &kit) {
		return "", false, nil
	}
	// Some back ends answer about another version where they do not have this one.
	has := slices.ContainsFunc(details, func(p kitPackage) bool { return p.name == f.newest.name && p.version == version })
	return id, has, err
}

// plan are the ids of a change. What needs nothing is left out.
func (k *PackageKit) plan(ctx context.Context, install []executor.Package, remove []string) (db database, add, drop []string, err error) {
	if err := checkNames(install, remove); err != nil {
		return nil, nil, nil, err
	}
	if db, err = k.database(ctx, append(namesOf(install), remove...)); err != nil || len(install)+len(remove) == 0 {
		return nil, nil, nil, err
	}
	needed, gone := db.needed(install, remove)
	for _, p := range needed {
		f, err := k.find(ctx, p.Name)
		if err != nil {
			return nil, nil, nil, err
		}
		id, ok := f.newest.id, f.newest.fetchable()
		if ok && p.Version != "" {
			if id, ok, err = k.exact(ctx, f, p.Version); err != nil {
				return nil, nil, nil, err
			}
		}
		if !ok {
			return nil, nil, nil, fmt.Errorf("install %s: no repository has it", nameVersion(p, "="))
		}
		add = append(add, id)
	}
	for _, name := range gone {
		f, err := k.find(ctx, name)
		if err != nil {
			return nil, nil, nil, err
		}
		drop = append(drop, f.installed.id)
	}
	return db, add, drop, nil
}

// do installs and removes, or does as if.
func (k *PackageKit) do(ctx context.Context, flags uint64, add, drop []string) (all []kitPackage, err error) {
	if len(drop) > 0 && flags&kitDownloadOnly == 0 {
		// What depends on it goes with it; what it brought along stays.
		if all, err = k.run(ctx, "RemovePackages", flags, drop, true, false); err != nil {
			return nil, err
		}
	}
	if len(add) > 0 {
		more, err := k.run(ctx, "InstallPackages", flags|kitDowngrade, add)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// SimulatePackages implements executor.Packages.
func (k *PackageKit) SimulatePackages(ctx context.Context, install []executor.Package, remove []string) ([]executor.PackageChange, error) {
	_, add, drop, err := k.plan(ctx, install, remove)
	if err != nil || len(add)+len(drop) == 0 {
		return nil, err
	}
	all, err := k.do(ctx, kitSimulate, add, drop)
	if err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	after := map[string]string{}
	for _, id := range drop {
		if p, ok := parseKitID(0, id); ok {
			after[p.name] = ""
		}
	}
	for _, id := range add {
		if p, ok := parseKitID(0, id); ok {
			after[p.name] = p.version
		}
	}
	for _, p := range all {
		if _, known := after[p.name]; !known && (p.info == kitRemoving || p.info == kitObsoleting) {
			after[p.name] = ""
		} else if !known {
			after[p.name] = p.version
		}
	}
	var names []string
	for name := range after {
		names = append(names, name)
	}
	db, err := k.database(ctx, names)
	if err != nil {
		return nil, err
	}
	return db.changes(after, install, remove)
}

// ChangePackages implements executor.Packages. What is to be installed is fetched before anything is removed.
func (k *PackageKit) ChangePackages(ctx context.Context, install []executor.Package, remove []string) error {
	_, add, drop, err := k.plan(ctx, install, remove)
	if err != nil {
		return err
	}
	for _, flags := range []uint64{kitDownloadOnly, 0} {
		if _, err := k.do(ctx, flags, add, drop); err != nil {
			return fmt.Errorf("change packages: %w", err)
		}
	}
	return nil
}

// SetHold implements executor.Packages.
func (k *PackageKit) SetHold(ctx context.Context, name string, hold bool) error {
	db, err := k.database(ctx, []string{name})
	if err != nil {
		return err
	}
	switch _, there := db[name]; {
	case !there:
		return fmt.Errorf("hold %s: %w", name, errNotInstalled)
	case hold:
		return fmt.Errorf("hold %s: PackageKit has no way to hold a package", name)
	}
	return nil
}

// RefreshPackages implements executor.Packages. PackageKit fetches the lists of all repositories.
func (k *PackageKit) RefreshPackages(ctx context.Context, repository string, maxAge time.Duration) error {
	if repository == "" && !k.tool.due(maxAge) {
		return nil
	}
	if _, err := k.run(ctx, "RefreshCache", true); err != nil {
		return fmt.Errorf("fetch package lists: %w", err)
	}
	return nil
}
