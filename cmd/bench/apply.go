package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// applyBench is one tree of many small templated files, and the folders that it and its twin fill.
type applyBench struct {
	ctx          context.Context // of the one run that this value lives for
	binary, tree string
	box, twin    string
	files        int
	peak         int64 // most memory that an apply had resident, in bytes
}

// benchApply measures whole processes, for more and more files.
func benchApply(ctx context.Context, o options) error {
	var first, unchanged, peak growth
	for _, size := range sizesUpTo(o.large) {
		dir := filepath.Join(o.dir, fmt.Sprint(size))
		b := applyBench{ctx: ctx, binary: o.binary, tree: filepath.Join(dir, "tree"), box: filepath.Join(dir, "box"), twin: filepath.Join(dir, "twin"), files: size}
		if err := b.writeTree(); err != nil {
			return err
		}
		title("apply of %d small templated files, whole process, median", size)
		took, err := b.first()
		if err != nil {
			return err
		}
		first.add(size, took.Seconds())
		if took, err = b.unchanged(); err != nil {
			return err
		}
		unchanged.add(size, took.Seconds())
		peak.add(size, float64(b.peak))
	}
	if len(first.x) > 2 {
		title("growth of these")
		first.row("first apply: slope", 1e6, "µs/file")
		unchanged.row("apply with nothing to do: slope", 1e6, "µs/file")
		peak.row("peak memory: slope", 1, "B/file")
	}
	return nil
}

func sizesUpTo(large int) []int {
	var sizes []int
	for _, size := range []int{100, 300, 1000, 3000} {
		if size < large {
			sizes = append(sizes, size)
		}
	}
	return append(sizes, large)
}

func (b *applyBench) start() error { return exec.CommandContext(b.ctx, b.binary, "version").Run() }

func (b *applyBench) apply() error {
	cmd := exec.CommandContext(b.ctx, b.binary, "apply", b.tree, "--root", b.box, "--name", "bench")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("apply: %w: %s", err, out.Bytes())
	}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		b.peak = max(b.peak, u.Maxrss<<10)
	}
	return nil
}

// first measures an empty box against a loop that renders, writes a temporary file, syncs and renames each, and one that
// does not sync.
func (b *applyBench) first() (time.Duration, error) {
	took, err := medians(5,
		work{do: b.start},
		work{do: b.apply, before: func() error { return os.RemoveAll(b.box) }},
		work{do: func() error { return b.writeLoop(true) }, before: func() error { return fresh(b.twin) }},
		work{do: func() error { return b.writeLoop(false) }, before: func() error { return fresh(b.twin) }})
	if err != nil {
		return 0, err
	}
	row("first apply", ms(took[1]), "")
	row("twin: render, write, sync, rename, one by one", ms(took[2]), "")
	row("ratio, beyond the fixed start", ratio(took[0], took[1], took[2]), "aim: at most 1")
	row("floor: the same without a sync", ms(took[3]), "ratio "+ratio(took[0], took[1], took[3]))
	return took[1], nil
}

// ratio of an apply to its twin, both medians, the start of the process left out.
func ratio(start, apply, twin time.Duration) string {
	return fmt.Sprintf("%.2f", (apply-start).Seconds()/twin.Seconds())
}

// unchanged measures a box that matches against a loop of one lstat a file.
func (b *applyBench) unchanged() (time.Duration, error) {
	took, err := medians(15, work{do: b.start}, work{do: b.apply}, work{do: b.lstatLoop})
	if err != nil {
		return 0, err
	}
	row("the process's fixed start (shoal version)", ms(took[0]), "")
	row("apply with nothing to do", ms(took[1]), "")
	row("twin: one lstat a file", ms(took[2]), "")
	row("ratio, beyond the fixed start", ratio(took[0], took[1], took[2]), "aim: at most 3")
	row("peak memory of an apply", mib(float64(b.peak)), "")
	return took[1], nil
}

func fresh(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.MkdirAll(dir, 0o755)
}

func (b *applyBench) writeTree() error {
	return writeTree(b.tree, manyFiles(b.files))
}

// manyFiles is a tree of small templated files below /etc/bench, one state each.
func manyFiles(n int) map[string]string {
	files, names := map[string]string{}, []string{}
	for base := 0; base < n; base += 5000 {
		var states strings.Builder
		states.WriteString("states:\n")
		for i := base; i < min(n, base+5000); i++ {
			fmt.Fprintf(&states, "  file-%d:\n    file.managed: {path: %s, template: templates/f.j2, mode: \"0644\"}\n", i, filePath(i))
		}
		name := fmt.Sprintf("many%d", base/5000)
		names = append(names, name)
		files["components/"+name+"/states.yaml"] = states.String()
		files["components/"+name+"/templates/f.j2"] = "{{ vars.greeting }} from {{ name }}\n{% for i in range(8) %}line {{ i }}\n{% endfor %}"
	}
	files["site.yaml"] = "targets:\n  - on: \"*\"\n    components: [" + strings.Join(names, ", ") + "]\n    variables: {greeting: hello}\n"
	return files
}

func filePath(i int) string { return fmt.Sprintf("/etc/bench/d%d/f%d", i%20, i) }

func (b *applyBench) writeLoop(sync bool) error {
	for i := range b.files {
		dir := filepath.Join(b.twin, fmt.Sprintf("d%d", i%20))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := writeBeside(filepath.Join(dir, fmt.Sprintf("f%d", i)), rendered("bench"), sync); err != nil {
			return err
		}
	}
	return nil
}

// rendered is what the template makes, by the least that could make it.
func rendered(node string) []byte {
	var b strings.Builder
	b.WriteString("hello from " + node + "\n")
	for i := range 8 {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return []byte(b.String())
}

func writeBeside(path string, data []byte, sync bool) error {
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if sync {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (b *applyBench) lstatLoop() error {
	for i := range b.files {
		if _, err := os.Lstat(filepath.Join(b.box, filePath(i))); err != nil {
			return err
		}
	}
	return nil
}
