package moduletest

import (
	"context"
	"errors"
	"testing"
	"time"

	"shoal/executor"
)

// Interrupt kills each case after each change that its Apply makes to the host, and lets each fail once; the Revert that
// follows restores the machine. So it does where the Revert itself is killed and made again. The host of the suite has to be
// a fresh one each time. It returns how many interruptions there were.
func Interrupt(t *testing.T, s Suite) (count int) {
	for _, c := range s.Cases {
		if c.Matches || c.Fails || c.Irreversible {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			for n := 1; n <= maxSteps; n++ {
				killed := s.interrupt(t, c, n, step{at: n, die: true}, step{})
				s.interrupt(t, c, n, step{at: n}, step{})
				if !killed {
					break
				}
				s.interrupt(t, c, n, step{at: n, die: true}, step{at: 1, die: true})
				count += 3
			}
			for n := 1; n <= maxSteps; n++ { // all is done, and the way back is interrupted
				killed := s.interrupt(t, c, n, step{}, step{at: n, die: true})
				s.interrupt(t, c, n, step{}, step{at: n})
				if !killed {
					break
				}
				count += 2
			}
		})
	}
	t.Logf("%d interruptions", count)
	return count
}

// step is a change at which something happens: the process dies once it is made, or it fails and is not made.
type step struct {
	at  int
	die bool
}

// interrupt applies and reverts, and returns whether something was interrupted on the way.
func (s Suite) interrupt(t *testing.T, c Case, n int, apply, revert step) (killed bool) {
	t.Helper()
	h := s.Host(t)
	if c.Setup != nil {
		c.Setup(t, h)
	}
	before := s.Snapshot(t, h)
	undo := s.capture(t, h, c)
	killed = until(h, apply, func(h executor.Host) error {
		_, err := s.Module.Apply(t.Context(), h, c.Contents, c.Params)
		return err
	})
	back := func(h executor.Host) error {
		if staged := s.stages(c, undo); len(staged) > 0 {
			if err := h.Unstage(staged); err != nil {
				return err
			}
		}
		return s.Module.Revert(t.Context(), h, c.Params, undo)
	}
	if revert.at > 0 {
		killed = until(h, revert, back) || killed
	}
	if err := back(h); err != nil {
		t.Fatalf("Revert after an interruption at change %d (%+v, %+v): %v", n, apply, revert, err)
	}
	if t.Failed() {
		t.FailNow()
	}
	s.same(t, h, before, "Revert after an interruption did not restore the machine")
	return killed
}

var (
	errKilled = errors.New("killed")
	errFault  = errors.New("no space left on device")
)

// until runs do on a host that ends it at a step, and returns whether it came that far.
func until(h executor.Host, s step, do func(executor.Host) error) (reached bool) {
	b := &brittle{Host: h, step: s}
	defer func() {
		if r := recover(); r != nil && r != any(errKilled) {
			panic(r)
		}
		reached = b.reached
	}()
	_ = do(b) // what matters is what is left
	return b.reached
}

// brittle is a host that dies or fails at one change.
type brittle struct {
	executor.Host
	step    step
	n       int
	reached bool
}

func (b *brittle) change(do func() error) error {
	b.n++
	if b.n != b.step.at {
		return do()
	}
	b.reached = true
	if !b.step.die {
		return errFault
	}
	_ = do()
	panic(errKilled)
}

func (b *brittle) Stage(path string, data []byte, meta executor.Meta) (staged string, err error) {
	err = b.change(func() error { staged, err = b.Host.Stage(path, data, meta); return err })
	return staged, err
}

func (b *brittle) SyncFiles() error { return b.change(b.Host.SyncFiles) }

func (b *brittle) Rename(staged, path string) error {
	return b.change(func() error { return b.Host.Rename(staged, path) })
}

func (b *brittle) Mkdir(path string, meta executor.Meta) error {
	return b.change(func() error { return b.Host.Mkdir(path, meta) })
}

func (b *brittle) Symlink(target, path string) error {
	return b.change(func() error { return b.Host.Symlink(target, path) })
}

func (b *brittle) Remove(path string) error {
	return b.change(func() error { return b.Host.Remove(path) })
}

func (b *brittle) SetMeta(path string, meta executor.Meta) error {
	return b.change(func() error { return b.Host.SetMeta(path, meta) })
}

func (b *brittle) WriteSetting(path string, data []byte) error {
	return b.change(func() error { return b.Host.WriteSetting(path, data) })
}

func (b *brittle) Run(ctx context.Context, cmd executor.Command) (exit executor.Exit, err error) {
	err = b.change(func() error { exit, err = b.Host.Run(ctx, cmd); return err })
	return exit, err
}

func (b *brittle) ChangePackages(ctx context.Context, install []executor.Package, remove []string) error {
	return b.change(func() error { return b.Host.ChangePackages(ctx, install, remove) })
}

func (b *brittle) SetHold(ctx context.Context, name string, hold bool) error {
	return b.change(func() error { return b.Host.SetHold(ctx, name, hold) })
}

func (b *brittle) RefreshPackages(ctx context.Context, repository string, maxAge time.Duration) error {
	return b.change(func() error { return b.Host.RefreshPackages(ctx, repository, maxAge) })
}

func (b *brittle) StartUnit(ctx context.Context, name string) error {
	return b.change(func() error { return b.Host.StartUnit(ctx, name) })
}

func (b *brittle) StopUnit(ctx context.Context, name string) error {
	return b.change(func() error { return b.Host.StopUnit(ctx, name) })
}

func (b *brittle) RestartUnit(ctx context.Context, name string) error {
	return b.change(func() error { return b.Host.RestartUnit(ctx, name) })
}

func (b *brittle) ReloadUnit(ctx context.Context, name string) error {
	return b.change(func() error { return b.Host.ReloadUnit(ctx, name) })
}

func (b *brittle) EnableUnit(ctx context.Context, name string, enabled bool) error {
	return b.change(func() error { return b.Host.EnableUnit(ctx, name, enabled) })
}

func (b *brittle) MaskUnit(ctx context.Context, name string, masked bool) error {
	return b.change(func() error { return b.Host.MaskUnit(ctx, name, masked) })
}

func (b *brittle) ReloadManager(ctx context.Context) error {
	return b.change(func() error { return b.Host.ReloadManager(ctx) })
}

func (b *brittle) PutUser(ctx context.Context, u executor.User) error {
	return b.change(func() error { return b.Host.PutUser(ctx, u) })
}

func (b *brittle) RemoveUser(ctx context.Context, name string) error {
	return b.change(func() error { return b.Host.RemoveUser(ctx, name) })
}

func (b *brittle) PutGroup(ctx context.Context, g executor.Group) error {
	return b.change(func() error { return b.Host.PutGroup(ctx, g) })
}

func (b *brittle) RemoveGroup(ctx context.Context, name string) error {
	return b.change(func() error { return b.Host.RemoveGroup(ctx, name) })
}
