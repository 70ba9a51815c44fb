package executor_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"

	"shoal/executor"
	"shoal/executor/local"
	"shoal/executor/module/cmd"
	"shoal/executor/module/file"
	"shoal/states"
)

// noAccounts is a machine with root alone.
type noAccounts struct{ executor.Accounts }

func (noAccounts) LookupUser(name string) (executor.User, bool, error) {
	return executor.User{Name: "root"}, name == "root", nil
}

func (noAccounts) LookupGroup(name string) (executor.Group, bool, error) {
	return executor.Group{Name: "root"}, name == "root", nil
}

// world is a machine below a folder, and an engine for it.
type world struct {
	root   string
	data   string
	host   *local.Host
	engine *executor.Engine
	close  func() error
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	w := openWorld(t, dir)
	return w
}

func openWorld(t testing.TB, dir string) *world {
	t.Helper()
	w := openWorldIn(t, dir)
	t.Cleanup(func() {
		if err := w.close(); err != nil && !os.IsNotExist(err) {
			t.Log(err)
		}
	})
	return w
}

// openWorldIn is openWorld for a test that closes it itself.
func openWorldIn(t interface {
	Helper()
	Fatal(args ...any)
}, dir string) *world {
	t.Helper()
	w := &world{root: filepath.Join(dir, "root"), data: filepath.Join(dir, "data")}
	if err := os.MkdirAll(w.root, 0o755); err != nil {
		t.Fatal(err)
	}
	host, err := local.New(local.Options{Root: w.root, DataDir: w.data})
	if err != nil {
		t.Fatal(err)
	}
	host.Accounts = noAccounts{}
	data := local.OpenData(w.data)
	w.close = func() error {
		data.Close()
		return host.Close()
	}
	w.host = host
	w.engine = &executor.Engine{
		Host: host, Modules: executor.Catalogue(append(file.Modules(), cmd.Modules()...)...),
		Journal: data, Ledger: data, Vault: data, Lock: data, Clock: local.Clock{},
	}
	return w
}

func (w *world) write(t testing.TB, name, text string, mode os.FileMode) {
	t.Helper()
	full := filepath.Join(w.root, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(full, mode); err != nil {
		t.Fatal(err)
	}
}

func (w *world) read(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(w.root, name))
	if err != nil {
		return "error: " + err.Error()[strings.LastIndex(err.Error(), ":")+2:]
	}
	return string(data)
}

// picture is all that is below the root: kind, mode, owner, bytes, target, and the times of files and symlinks. A folder's
// time changes with every temporary file in it, and says nothing.
func picture(t testing.TB, root string) string {
	t.Helper()
	var rows []string
	err := filepath.Walk(root, func(name string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		st := info.Sys().(*syscall.Stat_t)
		row := fmt.Sprintf("%s %v %d:%d", rel, info.Mode(), st.Uid, st.Gid)
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			row += fmt.Sprintf(" %d %q", info.ModTime().UnixNano(), data)
		case info.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			row += fmt.Sprintf(" %d -> %s", info.ModTime().UnixNano(), target)
		}
		rows = append(rows, row)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(rows)
	return strings.Join(rows, "\n")
}

// planned builds a plan part by part.
type planned struct {
	states.Plan
	index map[string]int
}

func newPlan() *planned {
	return &planned{
		Plan: states.Plan{
			Node:     states.Node{Name: "test"},
			Policy:   states.Policy{Order: states.Ansible, OnFailure: "rollback", OnRemove: "restore"},
			Rendered: map[string][]byte{},
		},
		index: map[string]int{},
	}
}

func (p *planned) text(s string) states.Content {
	sum := sha256.Sum256([]byte(s))
	hash := "sha256:" + hex.EncodeToString(sum[:])
	p.Rendered[hash] = []byte(s)
	return states.Content{Hash: hash, Size: int64(len(s)), From: "content"}
}

func (p *planned) add(id, function string, params map[string]any) *states.StateInvocation {
	module, name, _ := strings.Cut(function, ".")
	p.index[id] = len(p.Invocations)
	p.Invocations = append(p.Invocations, states.StateInvocation{
		ID: "c/" + id, Number: 1, OnRemove: p.Policy.OnRemove,
		Parts: []states.StatePartInvocation{{Module: module, Function: name, Params: params}},
	})
	return &p.Invocations[len(p.Invocations)-1]
}

func (p *planned) file(id, path, text string) *states.StateInvocation {
	return p.add(id, "file.managed", map[string]any{"path": path, "contents": p.text(text)})
}

func (p *planned) edge(from, to string, kind states.EdgeKind) {
	p.Edges = append(p.Edges, states.Edge{From: p.index[from], To: p.index[to], Kind: kind})
}

func (w *world) apply(t testing.TB, p *planned) executor.Report {
	t.Helper()
	return w.engine.Apply(context.Background(), &p.Plan, nil, executor.RunMeta{})
}

func (w *world) converge(t testing.TB, p *planned) executor.Report {
	t.Helper()
	r := w.apply(t, p)
	if r.Result != executor.Converged {
		t.Fatalf("result %s: %s\n%s", r.Result, r.Error, results(r))
	}
	return r
}

// results is a report in a line for each row.
func results(r executor.Report) string {
	var b strings.Builder
	for _, s := range r.States {
		fmt.Fprintf(&b, "%s %s %s", strings.TrimPrefix(s.ID, "c/"), s.Part, s.Result)
		if s.Note != "" {
			fmt.Fprintf(&b, " (%s)", s.Note)
		}
		if s.Error != "" {
			fmt.Fprintf(&b, " error: %s", s.Error)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
