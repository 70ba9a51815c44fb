package executor_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/local"
	"shoal/executor/module/cmd"
	"shoal/executor/module/file"
	"shoal/executor/module/group"
	"shoal/executor/module/pkg"
	"shoal/executor/module/service"
	"shoal/executor/module/user"
	"shoal/states"
)

var orders = []states.Order{states.Ansible, states.JustDoIt, states.Genius}

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
func (m *memory) Stamp() (string, error)                    { return string(m.ledger), nil }
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
	var modules []executor.Module
	for _, some := range [][]executor.Module{file.Modules(), cmd.Modules(), pkg.Modules(), service.Modules(), user.Modules(), group.Modules()} {
		modules = append(modules, some...)
	}
	return &executor.Engine{
		Host: m.Host, Modules: executor.Catalogue(modules...), Journal: m.kept, Ledger: m.kept, Vault: m.kept, Lock: m.kept,
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

// forest grows random trees that do not depend on the order of what no edge orders.
type forest struct {
	*rand.Rand
	p *planned
	n int
	// quiet: without commands. That a command's state left the tree is undone by its undo state, which no rollback undoes.
	quiet bool
}

func (f *forest) id(kind string) string {
	f.n++
	return fmt.Sprint(kind, f.n)
}

func (f *forest) grow(size int, fails bool) *planned {
	f.p = newPlan()
	f.p.Policy.OnFailure = "rollback"
	f.accounts()
	for range size {
		f.one()
	}
	f.nginx()
	f.block()
	if fails {
		f.p.add(f.id("fails"), "cmd.run", map[string]any{"argv": []any{"false"}})
	}
	f.randomEdges(size / 2)
	return f.p
}

func (f *forest) accounts() {
	for i := range 1 + f.Intn(3) {
		name := fmt.Sprint("u", i)
		f.p.add("group-"+name, "group.present", map[string]any{"name": name, "gid": int64(3000 + i)})
		f.p.add(name, "user.present", map[string]any{"name": name, "uid": int64(3000 + i), "group": name})
		f.p.edge("group-"+name, name, states.EdgeRequire)
	}
}

func (f *forest) folder() string { return fmt.Sprint("/d", f.Intn(4)) }

func (f *forest) text() string { return fmt.Sprintf("text %d\n", f.Intn(1000)) }

func (f *forest) one() {
	switch f.Intn(8) {
	case 0:
		name := f.folder()
		if id := "dir" + name; f.p.index[id] == 0 {
			f.p.add(id, "file.directory", map[string]any{"path": name, "mode": []string{"0700", "0751"}[f.Intn(2)]})
		}
	case 1:
		f.p.add(f.id("link"), "file.symlink", map[string]any{"path": path.Join(f.folder(), fmt.Sprint("l", f.n)), "target": "/anywhere"})
	case 2:
		name := fmt.Sprint("p", f.Intn(4))
		if f.p.index[name] == 0 {
			f.p.add(name, "pkg.installed", map[string]any{"name": name})
		}
	case 3:
		name := []string{"s0", "s2", "s3"}[f.Intn(3)] // s1 is that of the sequence
		if f.p.index[name] == 0 {
			f.p.add(name, []string{"service.running", "service.stopped"}[f.Intn(2)], map[string]any{"name": name, "enabled": f.Intn(2) == 0})
		}
	case 4:
		if f.p.index["gone"] == 0 {
			f.p.add("gone", "file.absent", map[string]any{"path": "/d0/gone"})
		}
	case 5:
		if f.quiet {
			return
		}
		id, at := f.id("cmd"), fmt.Sprint("/t/", f.n)
		f.p.add("un"+id, "cmd.run", map[string]any{"argv": []any{"rm", at}}).Lazy = true
		f.p.add(id, "cmd.run", map[string]any{"argv": []any{"touch", at}, "creates": at}).Undo = "c/un" + id
	default:
		id := f.id("file")
		inv := f.p.file(id, path.Join(f.folder(), fmt.Sprint("f", f.n%5, "-", f.n)), f.text())
		if f.Intn(3) == 0 {
			inv.Parts[0].Params["owner"] = "u0"
			f.p.edge("u0", id, states.EdgeRequire)
		}
	}
}

// nginx is a sequence that configures a file twice, and reloads a service after each.
func (f *forest) nginx() {
	base := len(f.p.Invocations)
	for i := range 2 {
		conf := f.p.file(fmt.Sprint("conf", i), "/d0/f0", fmt.Sprint("conf ", i))
		conf.ID, conf.Number = "c/conf", i+1
		reload := f.p.add(fmt.Sprint("reload", i), "service.reloaded", map[string]any{"name": "s1"})
		reload.ID, reload.Number, reload.Lazy = "c/reload", i+1, true
		f.p.edge(fmt.Sprint("conf", i), fmt.Sprint("reload", i), states.EdgeNotify)
		if i == 0 {
			f.p.file("between", "/d0/between", f.text())
		}
	}
	f.p.Invocations[base].SupersededBy = base + 3
	f.p.Invocations[base+1].SupersededBy = base + 4
	f.p.sequence("site", "conf0", "reload0", "between", "conf1", "reload1")
}

// block may have a member that fails, and is rescued.
func (f *forest) block() {
	run := []string{"run0", "run1"}
	f.p.file("run0", "/d1/block/run0", f.text())
	f.p.file("run1", "/d0/run1", f.text())
	if f.Intn(2) == 0 {
		f.p.add("unboom", "cmd.run", map[string]any{"argv": []any{"true"}}).Lazy = true
		f.p.add("boom", "cmd.run", map[string]any{"argv": []any{"false"}}).Undo = "c/unboom"
		run = append(run, "boom")
	}
	f.p.file("rescue", "/d1/rescue", f.text())
	f.p.file("always", "/d1/always", f.text())
	f.p.block("block", run, []string{"rescue"}, []string{"always"})
}

// randomEdges orders some of what stands outside of blocks and sequences.
func (f *forest) randomEdges(n int) {
	var free []int
	for i, inv := range f.p.Invocations {
		if inv.ID == "c/run0" || inv.ID == "c/conf" {
			break
		}
		if !inv.Lazy {
			free = append(free, i)
		}
	}
	for range n {
		a, b := free[f.Intn(len(free))], free[f.Intn(len(free))]
		if a != b {
			kind := []states.EdgeKind{states.EdgeRequire, states.EdgeAfter, states.EdgeNotify}[f.Intn(3)]
			f.p.Edges = append(f.p.Edges, states.Edge{From: min(a, b), To: max(a, b), Kind: kind})
		}
	}
}

// tree grows the tree of a seed for a mode.
func tree(seed int64, order states.Order, fails bool) *planned {
	return grow(seed, order, fails, false)
}

func grow(seed int64, order states.Order, fails, quiet bool) *planned {
	f := &forest{Rand: rand.New(rand.NewSource(seed)), quiet: quiet}
	p := f.grow(6+f.Intn(20), fails)
	p.Policy.Order = order
	return p
}

const workers = 4

// seeds is how many trees are grown; under -short, which is for the race detector, a few of them.
func seeds(n int64) int64 {
	if testing.Short() {
		return n / 6
	}
	return n
}

// TestModesAgree: all three modes reach the same end state, a second run changes nothing, a failure leaves the machine as it
// was, and an empty tree brings back what was before the first.
func TestModesAgree(t *testing.T) {
	for seed := range seeds(150) {
		var first string
		for _, order := range orders {
			name := fmt.Sprintf("seed %d, %s", seed, order)
			m := newMachine(t)
			e := m.engine(workers)
			bare, exact := m.look(t, false), m.look(t, true)
			p := tree(seed, order, true)
			if r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{}); r.Result != executor.RolledBackRun || m.look(t, true) != exact {
				t.Fatalf("%s: a failure: %s %s\n%s\n%s", name, r.Result, r.Error, results(r), difference(exact, m.look(t, true)))
			}
			p = tree(seed, order, false)
			r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{})
			if r.Result != executor.Converged {
				t.Fatalf("%s: %s %s\n%s", name, r.Result, r.Error, results(r))
			}
			inOrder(t, name, p, r)
			after := m.look(t, false)
			if first == "" {
				first = after
			}
			if after != first {
				t.Fatalf("%s: not as in the first mode\n%s\n%s", name, difference(first, after), results(r))
			}
			if r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{}); r.Result != executor.Converged || r.Changed != 0 || m.look(t, false) != after {
				t.Fatalf("%s: the second run: %s, %d changed\n%s", name, r.Result, r.Changed, results(r))
			}
			if r := e.Apply(t.Context(), &newPlan().Plan, nil, executor.RunMeta{}); r.Result != executor.Converged {
				t.Fatalf("%s: the empty tree: %s %s", name, r.Result, r.Error)
			}
			if now := m.look(t, false); now != bare {
				t.Fatalf("%s: the empty tree left\n%s", name, difference(bare, now))
			}
		}
	}
}

// inOrder: the report lists every invocation after all that its edges put before it.
func inOrder(t *testing.T, name string, p *planned, r executor.Report) {
	t.Helper()
	type key struct {
		id string
		n  int
	}
	at := map[key]int{}
	for i, s := range r.States {
		if _, ok := at[key{s.ID, s.Invocation}]; !ok {
			at[key{s.ID, s.Invocation}] = i
		}
	}
	for _, e := range p.Edges {
		from, to := p.Invocations[e.From], p.Invocations[e.To]
		a, okA := at[key{from.ID, from.Number}]
		b, okB := at[key{to.ID, to.Number}]
		if okA && okB && a > b {
			t.Fatalf("%s: %s is reported after %s\n%s", name, from.ID, to.ID, results(r))
		}
	}
}

func difference(a, b string) string {
	return executor.TextDiff("machine", []byte(a+"\n"), []byte(b+"\n"))
}

var errDead = errors.New("the machine is dead")

// dieAfter lets nothing happen after the n-th write.
func dieAfter(n int) *steps {
	return &steps{before: func(i int, _ string) error {
		if i > n {
			return errDead
		}
		return nil
	}}
}

// TestKilledInEveryMode: a run of which nothing is written after some write leaves, once it is recovered, exactly the machine
// before or exactly the one after; whether or not the power took what was not synced.
func TestKilledInEveryMode(t *testing.T) {
	kills, rolled, done := 0, 0, 0
	for _, order := range orders {
		for seed := range seeds(6) {
			for n := 0; ; n++ {
				name := fmt.Sprintf("%s, seed %d, killed after write %d", order, seed, n)
				m := newMachine(t)
				m.grown(t, grow(seed+1000, order, false, true))
				exact := m.look(t, true)
				p := tree(seed, order, false)
				e := m.engine(workers)
				s := dieAfter(n)
				through(e, s)
				e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{})
				alive := s.n <= n
				if n%2 == 1 {
					m.kept.powerCut()
				}
				if n%3 == 0 && !alive { // a recovery may die as well
					e := m.engine(workers)
					through(e, dieAfter(n%5))
					_, _, _ = e.Recover(t.Context())
				}
				r, _, err := m.engine(workers).Recover(t.Context())
				if err != nil || len(r.Left) > 0 {
					t.Fatalf("%s: recover: %v, left %v", name, err, r.Left)
				}
				kills++
				switch now := m.look(t, true); {
				case now == exact:
					rolled++
				case m.look(t, false) == m.end(t, p):
					done++
				default:
					t.Fatalf("%s: neither as before nor as after\n%s", name, difference(exact, now))
				}
				if alive {
					break
				}
			}
		}
	}
	t.Logf("%d kills: %d runs rolled back, %d were over", kills, rolled, done)
	if !testing.Short() && kills < 500 || rolled < 100 || done < 3 {
		t.Errorf("%d kills, %d rolled back, %d over: the test does not see what it is for", kills, rolled, done)
	}
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
