package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"shoal/executor"
	cmdmodule "shoal/executor/module/cmd"
	"shoal/executor/module/file"
	"shoal/executor/module/pkg"
	"shoal/executor/module/service"
	"shoal/executor/module/user"
	"shoal/states"
	"shoal/states/disk"
)

// benchCompile measures the compiler by itself: one node, many nodes, many states, and how it grows.
func benchCompile(_ context.Context, o options) error {
	small := filepath.Join(o.dir, "fleet")
	if err := writeFleetTree(small); err != nil {
		return err
	}
	title("compiling a tree of 1,000 states, of which every tenth reads the node's name, from its files, processor time, median")
	took, err := medians(5, work{do: func() error { return compileFor(small, 1) }, clock: ownCPU}, work{do: func() error { return compileFor(small, 1000) }, clock: ownCPU})
	if err != nil {
		return err
	}
	row("for one node", ms(took[0]), "")
	row("for 1,000 nodes", ms(took[1]), "")
	row("ratio", fmt.Sprintf("%.1f", took[1].Seconds()/took[0].Seconds()), "aim: at most 50")
	return benchGrowth(o.dir)
}

// benchGrowth measures plans of more and more states, each with two requisites.
func benchGrowth(dir string) error {
	sizes := []int{1000, 2000, 5000, 10_000, 20_000}
	var seconds, bytes growth
	title("plan of N states with 2 N requisites, from its files, processor time, median")
	for _, size := range sizes {
		tree := filepath.Join(dir, fmt.Sprint(size))
		if err := writeWideTree(tree, size); err != nil {
			return err
		}
		took, err := medians(3, work{do: func() error { return compileFor(tree, 1) }, clock: ownCPU})
		if err != nil {
			return err
		}
		held, edges, err := heldBy(tree)
		if err != nil {
			return err
		}
		row(fmt.Sprintf("%d states, %d edges", size, edges), ms(took[0]), fmt.Sprintf("%.1f µs and %.0f bytes a state", took[0].Seconds()*1e6/float64(size), held/float64(size)))
		seconds.add(size, took[0].Seconds())
		bytes.add(size, held)
	}
	seconds.row("time: slope of the line through these", 1e6, "µs/state")
	bytes.row("memory of the plan: slope of its line", 1, "B/state")
	return nil
}

func compileFor(dir string, nodes int) error {
	tree, err := disk.Open(dir)
	if err != nil {
		return err
	}
	defer tree.Close()
	l, err := states.Open(tree, functions())
	if err != nil {
		return err
	}
	for i := range nodes {
		if _, err := l.Compile(states.Input{Node: benchNode(i)}); err != nil {
			return err
		}
	}
	return nil
}

func benchNode(i int) states.Node {
	return states.Node{Name: fmt.Sprintf("n%d", i), Tags: map[string]string{"role": "web", "dc": []string{"fra", "ams"}[i%2]}}
}

// heldBy is what a plan holds in memory, in bytes, and how many edges it has.
func heldBy(dir string) (bytes float64, edges int, err error) {
	tree, err := disk.Open(dir)
	if err != nil {
		return 0, 0, err
	}
	defer tree.Close()
	before := liveBytes()
	plan, err := states.Compile(tree, states.Input{Node: benchNode(0)}, functions())
	if err != nil {
		return 0, 0, err
	}
	after := liveBytes()
	edges = len(plan.Edges)
	runtime.KeepAlive(plan)
	return after - before, edges, nil
}

func liveBytes() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one finalized
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func functions() []states.Function {
	var all []states.Function
	for _, some := range [][]executor.Module{file.Modules(), cmdmodule.Modules(), pkg.Modules(), service.Modules(), user.Modules()} {
		for _, m := range some {
			all = append(all, m.Function())
		}
	}
	return all
}

// writeFleetTree writes 1,000 states of the usual kinds, of which every tenth reads the node's name.
func writeFleetTree(dir string) error {
	var b strings.Builder
	b.WriteString("states:\n")
	for i := range 250 {
		fmt.Fprintf(&b, "  pkg%d: {pkg.installed: {name: p%d}}\n", i, i)
		fmt.Fprintf(&b, "  conf%d:\n    file.managed: {path: \"/etc/p%d/main.conf\", template: templates/main.j2, mode: \"0644\"}\n    require: [pkg%d]\n    notify: [svc%d]\n", i, i, i, i)
		fmt.Fprintf(&b, "  svc%d: {service.running: {name: p%d, enabled: true}, require: [pkg%d]}\n", i, i, i)
		switch i % 5 {
		case 0:
			fmt.Fprintf(&b, "  own%d: {file.managed: {path: \"/srv/own%d\", template: templates/own.j2}}\n", i, i)
		case 1:
			fmt.Fprintf(&b, "  own%d: {file.managed: {path: \"/srv/own%d\", content: \"${name} has ${vars.workers}\"}}\n", i, i)
		default:
			fmt.Fprintf(&b, "  own%d: {cmd.run: {shell: \"echo ${vars.workers}\", creates: /srv/x%d}, when: tags.role == \"web\"}\n", i, i)
		}
	}
	return writeTree(dir, map[string]string{
		"site.yaml":                        "targets:\n  - on: \"*\"\n    components: [app]\n",
		"components/app/states.yaml":       b.String(),
		"components/app/defaults.yaml":     "servers: [a, b, c]\nworkers: 4\n",
		"components/app/templates/main.j2": "workers {{ vars.workers }};\n{% for s in vars.servers %}\nserver {{ s }} weight={{ loop.index }};\n{% endfor %}\n{% if tags.dc == 'fra' %}\nnear\n{% endif %}\n",
		"components/app/templates/own.j2":  "# {{ name }}\nworkers {{ vars.workers }};\n{% for s in vars.servers %}\nserver {{ s }};\n{% endfor %}\n",
	})
}

// writeWideTree writes n states in components of 1,000, each with two requisites.
func writeWideTree(dir string, n int) error {
	files, names := map[string]string{}, []string{}
	for base := 0; base < n; base += 1000 {
		var b strings.Builder
		b.WriteString("states:\n")
		for i := range 1000 {
			fmt.Fprintf(&b, "  s%d:\n    file.managed: {path: /srv/f%d, content: \"file %d of ${tags.dc}\"}\n", i, base+i, base+i)
			if i > 1 {
				fmt.Fprintf(&b, "    require: [s%d]\n    after: [s%d]\n", (i*7919)%i, (i*104729+1)%i)
			}
		}
		name := fmt.Sprintf("c%d", base/1000)
		files["components/"+name+"/states.yaml"] = b.String()
		names = append(names, name)
	}
	files["site.yaml"] = "targets:\n  - on: \"*\"\n    components: [" + strings.Join(names, ", ") + "]\n"
	return writeTree(dir, files)
}

func writeTree(dir string, files map[string]string) error {
	for name, text := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
