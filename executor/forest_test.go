package executor_test

import (
	"fmt"
	"math/rand"
	"path"
	"testing"

	"shoal/states"
)

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
