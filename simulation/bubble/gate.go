package bubble

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"

	"shoal/executor"
	"shoal/executor/fake"
)

// gate stands between a run and its machine. When the power goes it shuts: what the run has done by then stays, and nothing that it
// still tries happens, its rollback included.
type gate struct {
	executor.Host
	files  *fake.Files
	data   *fake.Data
	brake  *brake
	disk   *platter
	gone   chan struct{} // closed when the power goes
	faults *hostFaults
	shut   atomic.Bool
}

// hostFaults are what is wrong with a machine.
type hostFaults struct {
	files, packages, services, commands atomic.Bool
}

var errFault = errors.New("broken by the scenario")

func (g *gate) pass(broken *atomic.Bool, err error, do func() error) error {
	if g.brake.pass(); g.shut.Load() {
		return errGone
	}
	if broken != nil && broken.Load() {
		return err
	}
	return do()
}

func (g *gate) file(do func() error) error {
	return g.pass(&g.faults.files, syscall.ENOSPC, do)
}

func (g *gate) Stage(path string, data []byte, meta executor.Meta) (staged string, err error) {
	err = g.file(func() (err error) { staged, err = g.Host.Stage(path, data, meta); return err })
	return staged, err
}

func (g *gate) Fetch(ctx context.Context, r executor.Request, path string, meta executor.Meta) (staged string, err error) {
	err = g.file(func() (err error) { staged, err = g.Host.Fetch(ctx, r, path, meta); return err })
	return staged, err
}

// What removes or restores needs no room.

func (g *gate) Unstage(paths []string) error {
	return g.pass(nil, nil, func() error { return g.Host.Unstage(paths) })
}

func (g *gate) Rename(staged, path string) error {
	return g.pass(nil, nil, func() error { return g.Host.Rename(staged, path) })
}

func (g *gate) Remove(path string) error {
	return g.pass(nil, nil, func() error { return g.Host.Remove(path) })
}

func (g *gate) SetMeta(path string, meta executor.Meta) error {
	return g.pass(nil, nil, func() error { return g.Host.SetMeta(path, meta) })
}

func (g *gate) Mkdir(path string, meta executor.Meta) error {
	return g.file(func() error { return g.Host.Mkdir(path, meta) })
}

func (g *gate) Symlink(target, path string) error {
	return g.file(func() error { return g.Host.Symlink(target, path) })
}

func (g *gate) WriteSetting(path string, data []byte) error {
	return g.pass(nil, nil, func() error { return g.Host.WriteSetting(path, data) })
}

func (g *gate) Run(ctx context.Context, cmd executor.Command) (exit executor.Exit, err error) {
	if g.faults.commands.Load() && !g.shut.Load() {
		return executor.Exit{Status: 1, Stderr: []byte(errFault.Error() + "\n")}, nil
	}
	err = g.pass(nil, nil, func() (err error) { exit, err = g.Host.Run(ctx, cmd); return err })
	return exit, err
}

func (g *gate) packages(do func() error) error {
	return g.pass(&g.faults.packages, fmt.Errorf("the package database is locked: %w", errFault), do)
}

func (g *gate) ChangePackages(ctx context.Context, install []executor.Package, remove []string) error {
	return g.packages(func() error { return g.Host.ChangePackages(ctx, install, remove) })
}

func (g *gate) PurgePackages(ctx context.Context, names []string) error {
	return g.packages(func() error { return g.Host.PurgePackages(ctx, names) })
}

func (g *gate) SetHold(ctx context.Context, name string, hold bool) error {
	return g.packages(func() error { return g.Host.SetHold(ctx, name, hold) })
}

func (g *gate) service(do func() error) error {
	return g.pass(&g.faults.services, fmt.Errorf("the service manager does not answer: %w", errFault), do)
}

func (g *gate) StartUnit(ctx context.Context, name string) error {
	return g.service(func() error { return g.Host.StartUnit(ctx, name) })
}

func (g *gate) StopUnit(ctx context.Context, name string) error {
	return g.service(func() error { return g.Host.StopUnit(ctx, name) })
}

func (g *gate) RestartUnit(ctx context.Context, name string) error {
	return g.service(func() error { return g.Host.RestartUnit(ctx, name) })
}

func (g *gate) ReloadUnit(ctx context.Context, name string) error {
	return g.service(func() error { return g.Host.ReloadUnit(ctx, name) })
}

func (g *gate) EnableUnit(ctx context.Context, name string, enabled bool) error {
	return g.service(func() error { return g.Host.EnableUnit(ctx, name, enabled) })
}

func (g *gate) MaskUnit(ctx context.Context, name string, masked bool) error {
	return g.service(func() error { return g.Host.MaskUnit(ctx, name, masked) })
}

func (g *gate) ReloadManager(ctx context.Context) error {
	return g.service(func() error { return g.Host.ReloadManager(ctx) })
}

func (g *gate) PutUser(ctx context.Context, u executor.User) error {
	return g.pass(nil, nil, func() error { return g.Host.PutUser(ctx, u) })
}

func (g *gate) RemoveUser(ctx context.Context, name string) error {
	return g.pass(nil, nil, func() error { return g.Host.RemoveUser(ctx, name) })
}

func (g *gate) PutGroup(ctx context.Context, group executor.Group) error {
	return g.pass(nil, nil, func() error { return g.Host.PutGroup(ctx, group) })
}

func (g *gate) RemoveGroup(ctx context.Context, name string) error {
	return g.pass(nil, nil, func() error { return g.Host.RemoveGroup(ctx, name) })
}

// Journal and ledger are on the machine's disk too.

func (g *gate) Append(records ...[]byte) error {
	for _, r := range records {
		if err := g.Note(r); err != nil {
			return err
		}
	}
	return g.sync(func() error { return g.data.Append() })
}

func (g *gate) Note(record []byte) error {
	return g.pass(nil, nil, func() error { return g.data.Note(record) })
}

// sync waits for the disk; then do says that all is on it.
func (g *gate) sync(do func() error) error {
	if !g.disk.sync(g.gone) {
		return errGone
	}
	return g.pass(nil, nil, do)
}

func (g *gate) SyncFiles() error {
	return g.sync(func() error { g.disk.synced(g.files); return nil })
}

// vault is where old contents are.
type vault struct {
	*fake.Data
	gate *gate
}

func (v vault) Sync() error { return v.gate.sync(v.Data.Sync) }

func (g *gate) Records() ([][]byte, error) { return g.data.Records() }

func (g *gate) Clear() error { return g.pass(nil, nil, g.data.Clear) }

func (g *gate) Load() ([]byte, error) { return g.data.Load() }

func (g *gate) Store(data []byte) error {
	return g.sync(func() error { return g.data.Store(data) })
}
