package moduletest

import (
	"context"
	"errors"
	"time"

	"shoal/executor"
)

// steps is a host whose n-th operation fails; with dead, all after it fail too, as for a process that was killed there.
// Reads count as well: a module that cannot read must not go on.
type steps struct {
	executor.Host
	at   int // counts from 1; 0: none fails
	dead bool
	// after: the operation is done, and the process dies before it hears of it.
	after bool
	n     int
	name  string // of the one that failed
}

var errStep = errors.New("injected fault")

// step says whether an operation is done, and whether it is heard of.
func (s *steps) step(name string, do func() error) error {
	s.n++
	fails := s.at > 0 && (s.n == s.at || s.dead && s.n > s.at)
	if s.n == s.at {
		s.name = name
	}
	switch {
	case !fails:
		return do()
	case s.after && s.n == s.at:
		_ = do() // the dead do not see how it ended
	}
	return errStep
}

func value[T any](s *steps, name string, do func() (T, error)) (v T, err error) {
	err = s.step(name, func() (err error) { v, err = do(); return err })
	if errors.Is(err, errStep) {
		var none T
		return none, err
	}
	return v, err
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
	return value(s, "stage", func() (string, error) { return s.Host.Stage(path, data, meta) })
}

func (s *steps) Fetch(ctx context.Context, r executor.Request, path string, meta executor.Meta) (string, error) {
	return value(s, "fetch", func() (string, error) { return s.Host.Fetch(ctx, r, path, meta) })
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
