package executor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"shoal/executor"
)

// steps counts every write of a run, on the machine and in the data folder, and does something at one of them.
type steps struct {
	mu     sync.Mutex // for the counting: writes may come from several workers
	n      int
	before func(n int, name string) error
	after  func(n int, name string)
}

func (s *steps) do(name string, write func() error) error {
	s.mu.Lock()
	s.n++
	n := s.n
	s.mu.Unlock()
	if s.before != nil {
		if err := s.before(n, name); err != nil {
			return err
		}
	}
	err := write()
	if s.after != nil {
		s.after(n, name)
	}
	return err
}

type stepHost struct {
	executor.Host
	s *steps
}

func (h stepHost) Stage(p string, data []byte, m executor.Meta) (name string, err error) {
	err = h.s.do("stage "+p, func() error { name, err = h.Host.Stage(p, data, m); return err })
	return name, err
}
func (h stepHost) SyncFiles() error { return h.s.do("sync", h.Host.SyncFiles) }
func (h stepHost) Unstage(p []string) error {
	return h.s.do("unstage", func() error { return h.Host.Unstage(p) })
}
func (h stepHost) Rename(a, b string) error {
	return h.s.do("rename "+b, func() error { return h.Host.Rename(a, b) })
}
func (h stepHost) Mkdir(p string, m executor.Meta) error {
	return h.s.do("mkdir "+p, func() error { return h.Host.Mkdir(p, m) })
}
func (h stepHost) Symlink(a, b string) error {
	return h.s.do("symlink "+b, func() error { return h.Host.Symlink(a, b) })
}
func (h stepHost) Remove(p string) error {
	return h.s.do("remove "+p, func() error { return h.Host.Remove(p) })
}
func (h stepHost) SetMeta(p string, m executor.Meta) error {
	return h.s.do("setmeta "+p, func() error { return h.Host.SetMeta(p, m) })
}

func (h stepHost) Run(ctx context.Context, c executor.Command) (exit executor.Exit, err error) {
	err = h.s.do("run", func() error { exit, err = h.Host.Run(ctx, c); return err })
	return exit, err
}
func (h stepHost) ChangePackages(ctx context.Context, install []executor.Package, remove []string) error {
	return h.s.do("packages", func() error { return h.Host.ChangePackages(ctx, install, remove) })
}
func (h stepHost) PurgePackages(ctx context.Context, names []string) error {
	return h.s.do("purge", func() error { return h.Host.PurgePackages(ctx, names) })
}
func (h stepHost) SetHold(ctx context.Context, name string, hold bool) error {
	return h.s.do("hold "+name, func() error { return h.Host.SetHold(ctx, name, hold) })
}
func (h stepHost) StartUnit(ctx context.Context, name string) error {
	return h.s.do("start "+name, func() error { return h.Host.StartUnit(ctx, name) })
}
func (h stepHost) StopUnit(ctx context.Context, name string) error {
	return h.s.do("stop "+name, func() error { return h.Host.StopUnit(ctx, name) })
}
func (h stepHost) RestartUnit(ctx context.Context, name string) error {
	return h.s.do("restart "+name, func() error { return h.Host.RestartUnit(ctx, name) })
}
func (h stepHost) ReloadUnit(ctx context.Context, name string) error {
	return h.s.do("reload "+name, func() error { return h.Host.ReloadUnit(ctx, name) })
}
func (h stepHost) EnableUnit(ctx context.Context, name string, on bool) error {
	return h.s.do("enable "+name, func() error { return h.Host.EnableUnit(ctx, name, on) })
}
func (h stepHost) MaskUnit(ctx context.Context, name string, on bool) error {
	return h.s.do("mask "+name, func() error { return h.Host.MaskUnit(ctx, name, on) })
}
func (h stepHost) PutUser(ctx context.Context, u executor.User) error {
	return h.s.do("put user "+u.Name, func() error { return h.Host.PutUser(ctx, u) })
}
func (h stepHost) RemoveUser(ctx context.Context, name string) error {
	return h.s.do("remove user "+name, func() error { return h.Host.RemoveUser(ctx, name) })
}
func (h stepHost) PutGroup(ctx context.Context, g executor.Group) error {
	return h.s.do("put group "+g.Name, func() error { return h.Host.PutGroup(ctx, g) })
}
func (h stepHost) RemoveGroup(ctx context.Context, name string) error {
	return h.s.do("remove group "+name, func() error { return h.Host.RemoveGroup(ctx, name) })
}

type stepData struct {
	executor.Journal
	executor.Ledger
	executor.Vault
	s *steps
}

func (d stepData) Append(records ...[]byte) error {
	return d.s.do("journal", func() error { return d.Journal.Append(records...) })
}
func (d stepData) Note(record []byte) error {
	return d.s.do("note", func() error { return d.Journal.Note(record) })
}
func (d stepData) Clear() error { return d.s.do("clear", d.Journal.Clear) }
func (d stepData) Store(data []byte) error {
	return d.s.do("ledger", func() error { return d.Ledger.Store(data) })
}
func (d stepData) Stamp() (string, error) {
	if s, ok := d.Ledger.(executor.Stamped); ok {
		return s.Stamp()
	}
	return "", errors.New("no stamp")
}
func (d stepData) Put(hash string, data []byte) error {
	return d.s.do("put", func() error { return d.Vault.Put(hash, data) })
}
func (d stepData) Sync() error { return d.s.do("vault sync", d.Vault.Sync) }
func (d stepData) Collect(keep func(string) bool) error {
	return d.s.do("collect", func() error { return d.Vault.Collect(keep) })
}

// through sends every write of the world through s.
func (w *world) through(s *steps) { through(w.engine, s) }

func through(e *executor.Engine, s *steps) {
	e.Host = stepHost{e.Host, s}
	d := stepData{e.Journal, e.Ledger, e.Vault, s}
	e.Journal, e.Ledger, e.Vault = d, d, d
}

// firstTree is what the machine was made before; secondTree replaces it.
func (w *world) prepare(t testing.TB) {
	w.write(t, "/etc/motd", "welcome\n", 0o644)
	w.write(t, "/etc/taken", "taken from people\n", 0o640)
	w.write(t, "/etc/loose", "too open\n", 0o666)
	w.write(t, "/opt/old/a", "a\n", 0o600)
	w.write(t, "/opt/old/deep/er/b", "b\n", 0o4755)
	if err := os.Symlink("a", w.root+"/opt/old/link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", w.root+"/etc/link"); err != nil {
		t.Fatal(err)
	}
}

func firstTree() *planned {
	p := newPlan()
	p.file("taken", "/etc/taken", "shoal's first\n")
	p.file("leaves", "/srv/leaves/file", "to be removed\n")
	p.add("leaves-dir", "file.directory", map[string]any{"path": "/srv/folder", "mode": "0700"})
	p.add("leaves-link", "file.symlink", map[string]any{"path": "/etc/link", "target": "/somewhere"})
	p.add("leaves-absent", "file.absent", map[string]any{"path": "/etc/motd"})
	return p
}

func secondTree() *planned {
	p := newPlan()
	p.file("renamed", "/etc/taken", "shoal's second\n") // another state has the path now
	p.file("new", "/etc/app/conf.d/new", "new\n")
	p.file("newer", "/etc/app/conf.d/newer", "newer\n").Parts[0].Params["mode"] = "4711"
	p.add("dir", "file.directory", map[string]any{"path": "/srv/app/data", "mode": "2750", "owner": "7", "group": "8"})
	p.file("in-dir", "/srv/app/data/file", "in a new folder\n").Parts[0].Params["owner"] = "7"
	p.add("chmod", "file.managed", map[string]any{"path": "/etc/loose", "mode": "0600"})
	p.add("link", "file.symlink", map[string]any{"path": "/srv/app/link", "target": "data"})
	p.add("old", "file.absent", map[string]any{"path": "/opt/old"})
	p.file("motd", "/etc/motd", "managed\n") // absent before
	p.file("again", "/etc/app/twice", "one\n")
	p.file("again2", "/etc/app/twice", "two\n")
	p.add("empty", "file.managed", map[string]any{"path": "/var/lib/empty"})
	return p
}

var times = regexp.MustCompile(`(\d+:\d+) \d{15,}`)

// timeless is a picture without times: those of a second run are its own.
func timeless(picture string) string { return times.ReplaceAllString(picture, "$1") }

// reference is the machine before the first tree, after it, and after the second.
func reference(t *testing.T) (bare, before, after string, writes int, names []string) {
	w := newWorld(t)
	w.prepare(t)
	bare = timeless(picture(t, w.root))
	w.converge(t, firstTree())
	before = timeless(picture(t, w.root))
	s := &steps{after: func(_ int, name string) { names = append(names, name) }}
	w.through(s)
	w.converge(t, secondTree())
	return bare, before, timeless(picture(t, w.root)), s.n, names
}

const (
	killAt  = "SHOAL_TEST_KILL_AT"
	killDir = "SHOAL_TEST_KILL_DIR"
)

// TestMain is also the process that the kill test kills.
func TestMain(m *testing.M) {
	if at := os.Getenv(killAt); at != "" {
		killed(at)
		return
	}
	os.Exit(m.Run())
}

// killed applies the second tree and dies after its n-th write.
func killed(at string) {
	if at == byCommand {
		var t fatal
		fmt.Println(openWorld(&t, os.Getenv(killDir)).apply(&t, deadlyTree()).Result)
		return
	}
	n, err := strconv.Atoi(at)
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	recovering := strings.HasPrefix(at, "-")
	var t fatal
	w := openWorld(&t, os.Getenv(killDir))
	w.through(&steps{after: func(i int, _ string) {
		if i == max(n, -n) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}})
	if recovering {
		_, _, err = w.engine.Recover(context.Background())
		fmt.Println("recovered", err)
		return
	}
	fmt.Println(w.apply(&t, secondTree()).Result)
}

// TestKilledAnywhere: a run that is killed after any of its writes is undone by the next start, or was over.
func TestKilledAnywhere(t *testing.T) {
	bare, before, after, writes, names := reference(t)
	if writes < 30 {
		t.Fatalf("only %d writes: the run is not what this test is for", writes)
	}
	var rolled, done int
	for n := 1; n <= writes; n++ {
		t.Run(fmt.Sprintf("%d %s", n, names[n-1]), func(t *testing.T) {
			dir := t.TempDir()
			w := openWorld(t, dir)
			w.prepare(t)
			w.converge(t, firstTree())
			exact := picture(t, w.root)
			kill(t, dir, n)
			if n%3 == 0 { // a recovery may die as well
				kill(t, dir, -(n%7 + 1))
			}
			w = openWorld(t, dir)
			if _, _, err := w.engine.Recover(context.Background()); err != nil {
				t.Fatal(err)
			}
			switch now := picture(t, w.root); {
			case now == exact:
				rolled++
			case timeless(now) == after:
				done++
			default:
				t.Fatalf("neither as before nor as after\n%s\n\nbefore\n%s\n\nafter\n%s", now, before, after)
			}
			w.onward(t, after, bare)
		})
	}
	if rolled == 0 || done == 0 {
		t.Errorf("%d runs rolled back, %d done: the test does not see both", rolled, done)
	}
}

// onward: the next run does it all, and an empty tree undoes all.
func (w *world) onward(t *testing.T, after, bare string) {
	t.Helper()
	w.converge(t, secondTree())
	if now := timeless(picture(t, w.root)); now != after {
		t.Fatalf("the next run made\n%s\n\nwanted\n%s", now, after)
	}
	w.converge(t, newPlan())
	if now := timeless(picture(t, w.root)); now != bare {
		t.Fatalf("the empty tree left\n%s\n\nwanted\n%s", now, bare)
	}
}

func kill(t *testing.T, dir string, n int) {
	t.Helper()
	out, err := child(dir, strconv.Itoa(n))
	if n < 0 && err == nil {
		return // it was over before its n-th write
	}
	wasKilled(t, out, err)
}

func child(dir, at string) ([]byte, error) {
	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), killAt+"="+at, killDir+"="+dir)
	return child.CombinedOutput()
}

func wasKilled(t *testing.T, out []byte, err error) {
	t.Helper()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child was not killed: %v\n%s", err, out)
	}
}

const byCommand = "command"

// deadlyTree has a command that kills shoal.
func deadlyTree() *planned {
	p := newPlan()
	p.file("new", "/etc/new", "new\n")
	p.add("deadly", "cmd.run", map[string]any{"shell": "kill -9 $PPID"})
	return p
}

// TestKilledInACommand: no one knows whether it did what it was to do, and the report says so.
func TestKilledInACommand(t *testing.T) {
	dir := t.TempDir()
	w := openWorld(t, dir)
	before := picture(t, w.root)
	out, err := child(dir, byCommand)
	wasKilled(t, out, err)
	r, found, err := w.engine.Recover(t.Context())
	if err != nil || !found || r.Result != executor.RollbackIncomplete || len(r.Left) != 1 || !strings.Contains(r.Left[0], "c/deadly (cmd.run): may have run when the machine stopped") {
		t.Fatalf("%v, %v, %+v", found, err, r)
	}
	if now := picture(t, w.root); now != before {
		t.Fatalf("left\n%s", now)
	}
	if _, found, err := w.engine.Recover(t.Context()); found || err != nil {
		t.Fatalf("it is recovered twice: %v, %v", found, err)
	}
}

// TestEachWriteFails: a run in which any one write fails is undone at once, or says what it left.
func TestEachWriteFails(t *testing.T) {
	bare, before, after, writes, names := reference(t)
	broken := errors.New("no space left on device")
	for n := 1; n <= writes; n++ {
		t.Run(fmt.Sprintf("%d %s", n, names[n-1]), func(t *testing.T) {
			dir := t.TempDir()
			w := openWorld(t, dir)
			w.prepare(t)
			w.converge(t, firstTree())
			exact := picture(t, w.root)
			w.through(&steps{before: func(i int, _ string) error {
				if i == n {
					return broken
				}
				return nil
			}})
			r := w.apply(t, secondTree())
			now := picture(t, w.root)
			switch {
			case r.Result == executor.RolledBackRun && now == exact:
			case r.Result == executor.Converged && timeless(now) == after:
			default:
				t.Fatalf("result %s, error %s, left %v, and the machine is\n%s\n\nbefore\n%s\n\nafter\n%s", r.Result, r.Error, r.Left, now, before, after)
			}
			w = openWorld(t, dir)
			if _, found, err := w.engine.Recover(context.Background()); err != nil || found {
				t.Errorf("recover: %v, found %v: a run that ended left its journal open", err, found)
			}
			w.onward(t, after, bare)
		})
	}
}

// fatal is the testing.TB of the child.
type fatal struct{ testing.TB }

func (fatal) Helper()           {}
func (fatal) Cleanup(func())    {}
func (fatal) Fatal(args ...any) { fmt.Println(args...); os.Exit(2) }
