package executor_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/local"
)

// memory keeps what a run keeps, in memory. Like a disk it may lose the notes that came after the last Append.
type memory struct {
	mu      sync.Mutex
	journal [][]byte
	synced  int
	ledger  []byte
	vault   map[string][]byte
}

func (m *memory) Append(records ...[]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.journal = append(m.journal, records...)
	m.synced = len(m.journal)
	return nil
}

func (m *memory) Note(record []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.journal = append(m.journal, record)
	return nil
}

func (m *memory) Records() ([][]byte, error)                { return m.journal, nil }
func (m *memory) Clear() error                              { m.journal, m.synced = nil, 0; return nil }
func (m *memory) Load() ([]byte, error)                     { return m.ledger, nil }
func (m *memory) Store(data []byte) error                   { m.ledger = data; return nil }
func (m *memory) Sync() error                               { return nil }
func (m *memory) Lock(context.Context) (func(), error)      { return func() {}, nil }
func (m *memory) powerCut()                                 { m.journal = m.journal[:m.synced] }
func (m *memory) Put(hash string, data []byte) error        { m.vault[hash] = data; return nil }
func (m *memory) Collect(keep func(hash string) bool) error { return nil }

func (m *memory) Get(hash string) ([]byte, error) {
	if data, ok := m.vault[hash]; ok {
		return data, nil
	}
	return nil, fmt.Errorf("no %s in the vault", hash)
}

// machine is a host in memory with something on it, and what a run keeps of it.
type machine struct {
	*fake.Host
	kept *memory
}

func newMachine(t testing.TB) *machine {
	m := &machine{Host: fake.New(), kept: &memory{vault: map[string][]byte{}}}
	m.Exec = m.exec
	for i := range 4 {
		m.Offer(fmt.Sprint("p", i), []string{"1", "2"}, "lib")
		m.Add(fmt.Sprint("s", i))
	}
	m.Offer("lib", []string{"1"})
	ctx := context.Background()
	err := errors.Join(
		m.ChangePackages(ctx, []executor.Package{{Name: "p3", Version: "1"}}, nil),
		m.StartUnit(ctx, "s1"), m.EnableUnit(ctx, "s1", true),
		m.PutUser(ctx, executor.User{Name: "old", UID: 2000, Home: "/home/old", Shell: "/bin/sh"}),
		m.Mkdir("/d0", executor.Meta{Mode: 0o750}), m.Mkdir("/t", executor.Meta{Mode: 0o755}),
		m.put("/d0/f0", "people's", 0o600), m.put("/d0/gone", "to go", 0o644), m.Symlink("/d0/f0", "/d0/l0"),
	)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *machine) put(name, text string, mode fs.FileMode) error {
	staged, err := m.Stage(name, []byte(text), executor.Meta{Mode: mode})
	if err != nil {
		return err
	}
	return m.Rename(staged, name)
}

// exec knows touch, rm -f, true and false.
func (m *machine) exec(c executor.Command) (executor.Exit, error) {
	switch c.Argv[0] {
	case "touch":
		return executor.Exit{}, m.put(c.Argv[1], "touched", 0o644)
	case "rm":
		if err := m.Remove(c.Argv[1]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return executor.Exit{Status: 1}, nil
		}
		return executor.Exit{}, nil
	case "false":
		return executor.Exit{Status: 1}, nil
	}
	return executor.Exit{}, nil
}

func (m *machine) engine(workers int) *executor.Engine {
	return &executor.Engine{
		Host: m.Host, Modules: allModules(), Journal: m.kept, Ledger: m.kept, Vault: m.kept, Lock: m.kept,
		Clock: local.Clock{}, Workers: workers,
	}
}

// look is everything on the machine; with times of files and symlinks, or without.
func (m *machine) look(t testing.TB, times bool) string {
	t.Helper()
	var rows []string
	var walk func(dir string)
	walk = func(dir string) {
		names, err := m.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			at := path.Join(dir, name)
			if at == "/home" {
				continue // a home is never deleted
			}
			st, err := m.Lstat(at)
			if err != nil {
				t.Fatal(err)
			}
			row := fmt.Sprintf("%s %v %d:%d", at, st.Mode, st.UID, st.GID)
			switch {
			case st.Mode.IsDir():
				rows = append(rows, row)
				walk(at)
				continue
			case st.Mode.IsRegular():
				data, _ := m.ReadFile(at)
				row += fmt.Sprintf(" %q", data)
			default:
				target, _ := m.Readlink(at)
				row += " -> " + target
			}
			if times {
				row += fmt.Sprint(" ", st.Mtime)
			}
			rows = append(rows, row)
		}
	}
	walk("/")
	ctx := context.Background()
	installed, _ := m.Installed(ctx, nil)
	rows = append(rows, fmt.Sprintf("packages %+v", installed))
	for i := range 4 {
		u, _ := m.Unit(ctx, fmt.Sprint("s", i))
		rows = append(rows, fmt.Sprintf("unit %d active %v enabled %v masked %v", i, u.Active, u.Enabled, u.Masked))
	}
	for _, name := range []string{"old", "u0", "u1", "u2"} {
		u, ok, _ := m.LookupUser(name)
		g, there, _ := m.LookupGroup(name)
		u.After, g.After = "", ""
		rows = append(rows, fmt.Sprintf("user %s %v %+v %v %+v", name, ok, u, there, g))
	}
	return strings.Join(rows, "\n")
}

func (m *machine) grown(t *testing.T, p *planned) {
	t.Helper()
	if r := m.engine(workers).Apply(t.Context(), &p.Plan, nil, executor.RunMeta{}); r.Result != executor.Converged {
		t.Fatalf("%s %s\n%s", r.Result, r.Error, results(r))
	}
}

// end is the machine once the tree has been applied to it, which is no more to do where it had been.
func (m *machine) end(t *testing.T, p *planned) string {
	t.Helper()
	r := m.engine(workers).Apply(t.Context(), &p.Plan, nil, executor.RunMeta{})
	if r.Result != executor.Converged || r.Changed != 0 {
		return "it was not done: " + results(r)
	}
	return m.look(t, false)
}

// slow is a clock whose sleeps and timeouts take no time.
type slow struct{ slept []time.Duration }

func (*slow) Now() time.Time { return time.Time{} }

func (c *slow) Sleep(_ context.Context, d time.Duration) error {
	c.slept = append(c.slept, d)
	return nil
}

func (*slow) Timeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	cancel(fmt.Errorf("timed out after %s", d))
	return ctx, func() {}
}
