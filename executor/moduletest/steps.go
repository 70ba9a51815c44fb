package moduletest

import (
	"context"
	"errors"
	"time"

	"shoal/executor"
)

// steps is a host whose n-th operation ends in a fault; a dead one does nothing more. Reads count as well: a module that
// cannot read must not go on.
type steps struct {
	executor.Host
	at    int // counts from 1
	fault fault
	n     int    // operations that the fault is for
	name  string // of the one that failed
}

var errDead = errors.New("injected fault: the process is gone")

// step says whether an operation is done, and whether it is heard of.
func (s *steps) step(name string, do func() error) error {
	if s.fault.dead && s.n >= s.at {
		return errDead
	}
	if s.fault.only != nil && !s.fault.only(name) {
		return do()
	}
	s.n++
	if s.n != s.at {
		return do()
	}
	s.name = name
	if s.fault.after {
		_ = do() // the dead do not see how it ended
	}
	return &injected{name, s.fault.err}
}

// injected is the error of a fault.
type injected struct {
	operation string
	err       error
}

func (e *injected) Error() string { return e.operation + ": injected fault: " + e.err.Error() }
func (e *injected) Unwrap() error { return e.err }

// halfOf: the operation that just failed had done half of its work.
func (s *steps) halfOf(name string) bool {
	return s.fault.half && s.fault.only(name) && s.n == s.at
}

func value[T any](s *steps, name string, do func() (T, error)) (v T, err error) {
	var got T
	err = s.step(name, func() (err error) { got, err = do(); return err })
	var fault *injected
	if errors.As(err, &fault) || errors.Is(err, errDead) {
		return v, err
	}
	return got, err
}

func (s *steps) Lstat(path string) (executor.Stat, error) {
	return value(s, "lstat", func() (executor.Stat, error) { return s.Host.Lstat(path) })
}

func (s *steps) ReadFile(path string) ([]byte, error) {
	return value(s, "read", func() ([]byte, error) { return s.Host.ReadFile(path) })
}

func (s *steps) Readlink(path string) (string, error) {
	return value(s, "readlink", func() (string, error) { return s.Host.Readlink(path) })
}

func (s *steps) ReadDir(path string) ([]string, error) {
	return value(s, "readdir", func() ([]string, error) { return s.Host.ReadDir(path) })
}

func (s *steps) Xattrs(path string) (map[string][]byte, error) {
	return value(s, "xattrs", func() (map[string][]byte, error) { return s.Host.Xattrs(path) })
}

func (s *steps) Hash(path string, st executor.Stat) (string, error) {
	return value(s, "hash", func() (string, error) { return s.Host.Hash(path, st) })
}

func (s *steps) Stage(path string, data []byte, meta executor.Meta) (string, error) {
	name, err := value(s, "stage", func() (string, error) { return s.Host.Stage(path, data, meta) })
	if err != nil && s.halfOf("stage") {
		_, _ = s.Host.Stage(path, data[:len(data)/2], meta) // it stays where it is: who ran out of space has none to clean up with
	}
	return name, err
}

func (s *steps) Fetch(ctx context.Context, r executor.Request, path string, meta executor.Meta) (string, error) {
	name, err := value(s, "fetch", func() (string, error) { return s.Host.Fetch(ctx, r, path, meta) })
	if err != nil && s.halfOf("fetch") {
		_, _ = s.Host.Stage(path, []byte("half"), meta)
	}
	return name, err
}

func (s *steps) SyncFiles() error { return s.step("sync", s.Host.SyncFiles) }

func (s *steps) Rename(staged, path string) error {
	return s.step("rename", func() error { return s.Host.Rename(staged, path) })
}

func (s *steps) Mkdir(path string, meta executor.Meta) error {
	return s.step("mkdir", func() error { return s.Host.Mkdir(path, meta) })
}

func (s *steps) Symlink(target, path string) error {
	return s.step("symlink", func() error { return s.Host.Symlink(target, path) })
}

func (s *steps) Remove(path string) error {
	return s.step("remove", func() error { return s.Host.Remove(path) })
}

func (s *steps) SetMeta(path string, meta executor.Meta) error {
	return s.step("setmeta", func() error { return s.Host.SetMeta(path, meta) })
}

func (s *steps) WriteSetting(path string, data []byte) error {
	return s.step("write setting", func() error { return s.Host.WriteSetting(path, data) })
}

func (s *steps) RefreshPackages(ctx context.Context, repository string, maxAge time.Duration) error {
	return s.step("refresh packages", func() error { return s.Host.RefreshPackages(ctx, repository, maxAge) })
}

func (s *steps) Run(ctx context.Context, cmd executor.Command) (executor.Exit, error) {
	return value(s, "run", func() (executor.Exit, error) { return s.Host.Run(ctx, cmd) })
}

func (s *steps) ChangePackages(ctx context.Context, install []executor.Package, remove []string) error {
	return s.step("change packages", func() error { return s.Host.ChangePackages(ctx, install, remove) })
}

func (s *steps) PurgePackages(ctx context.Context, names []string) error {
	return s.step("purge packages", func() error { return s.Host.PurgePackages(ctx, names) })
}

func (s *steps) SetHold(ctx context.Context, name string, hold bool) error {
	return s.step("hold", func() error { return s.Host.SetHold(ctx, name, hold) })
}

func (s *steps) Unit(ctx context.Context, name string) (executor.Unit, error) {
	return value(s, "unit", func() (executor.Unit, error) { return s.Host.Unit(ctx, name) })
}

func (s *steps) StartUnit(ctx context.Context, name string) error {
	return s.step("start", func() error { return s.Host.StartUnit(ctx, name) })
}

func (s *steps) StopUnit(ctx context.Context, name string) error {
	return s.step("stop", func() error { return s.Host.StopUnit(ctx, name) })
}

func (s *steps) RestartUnit(ctx context.Context, name string) error {
	return s.step("restart", func() error { return s.Host.RestartUnit(ctx, name) })
}

func (s *steps) ReloadUnit(ctx context.Context, name string) error {
	return s.step("reload", func() error { return s.Host.ReloadUnit(ctx, name) })
}

func (s *steps) EnableUnit(ctx context.Context, name string, enabled bool) error {
	return s.step("enable", func() error { return s.Host.EnableUnit(ctx, name, enabled) })
}

func (s *steps) MaskUnit(ctx context.Context, name string, masked bool) error {
	return s.step("mask", func() error { return s.Host.MaskUnit(ctx, name, masked) })
}

func (s *steps) ReloadManager(ctx context.Context) error {
	return s.step("reload manager", func() error { return s.Host.ReloadManager(ctx) })
}

func (s *steps) PutUser(ctx context.Context, u executor.User) error {
	return s.step("put user", func() error { return s.Host.PutUser(ctx, u) })
}

func (s *steps) RemoveUser(ctx context.Context, name string) error {
	return s.step("remove user", func() error { return s.Host.RemoveUser(ctx, name) })
}

func (s *steps) PutGroup(ctx context.Context, g executor.Group) error {
	return s.step("put group", func() error { return s.Host.PutGroup(ctx, g) })
}

func (s *steps) RemoveGroup(ctx context.Context, name string) error {
	return s.step("remove group", func() error { return s.Host.RemoveGroup(ctx, name) })
}

func (s *steps) Unstage(paths []string) error {
	return s.step("unstage", func() error { return s.Host.Unstage(paths) })
}

func (s *steps) Installed(ctx context.Context, names []string) ([]executor.Package, error) {
	return value(s, "installed packages", func() ([]executor.Package, error) { return s.Host.Installed(ctx, names) })
}

func (s *steps) Leftovers(ctx context.Context, names []string) ([]string, error) {
	return value(s, "leftovers", func() ([]string, error) { return s.Host.Leftovers(ctx, names) })
}

func (s *steps) SimulatePackages(ctx context.Context, install []executor.Package, remove []string) ([]executor.PackageChange, error) {
	return value(s, "simulate packages", func() ([]executor.PackageChange, error) { return s.Host.SimulatePackages(ctx, install, remove) })
}

func (s *steps) Available(ctx context.Context, name, version string) (candidate string, ok bool, err error) {
	err = s.step("available package", func() (err error) { candidate, ok, err = s.Host.Available(ctx, name, version); return err })
	return candidate, ok, err
}

func (s *steps) LookupUser(name string) (u executor.User, ok bool, err error) {
	err = s.step("lookup", func() (err error) { u, ok, err = s.Host.LookupUser(name); return err })
	return u, ok, err
}

func (s *steps) LookupGroup(name string) (g executor.Group, ok bool, err error) {
	err = s.step("lookup", func() (err error) { g, ok, err = s.Host.LookupGroup(name); return err })
	return g, ok, err
}

func (s *steps) GroupByID(gid uint32) (g executor.Group, ok bool, err error) {
	err = s.step("lookup", func() (err error) { g, ok, err = s.Host.GroupByID(gid); return err })
	return g, ok, err
}
