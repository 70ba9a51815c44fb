package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// applyBench is one tree of many small templated files, and the folders that it and its twin fill.
type applyBench struct {
	ctx          context.Context // of the one run that this value lives for
	binary, tree string
	box, twin    string
	files        int
}

func benchApply(ctx context.Context, binary, dir string, files int) error {
	b := applyBench{ctx: ctx, binary: binary, tree: filepath.Join(dir, "tree"), box: filepath.Join(dir, "box"), twin: filepath.Join(dir, "twin"), files: files}
	if err := b.writeTree(); err != nil {
		return err
	}
	fmt.Printf("apply of %d small templated files, whole process, median\n", files)
	if err := b.first(); err != nil {
		return err
	}
	return b.unchanged()
}

func (b applyBench) start() error { return exec.CommandContext(b.ctx, b.binary, "version").Run() }

func (b applyBench) apply() error {
	out, err := exec.CommandContext(b.ctx, b.binary, "apply", b.tree, "--root", b.box, "--name", "bench").CombinedOutput()
	if err != nil {
		return fmt.Errorf("apply: %w: %s", err, out)
	}
	return nil
}

// first measures an empty box against a loop that renders, writes a temporary file, syncs and renames each.
func (b applyBench) first() error {
	took, err := medians(5,
		work{do: b.start},
		work{do: b.apply, before: func() error { return os.RemoveAll(b.box) }},
		work{do: b.writeLoop, before: func() error { return fresh(b.twin) }})
	if err != nil {
		return err
	}
	row("first apply", ms(took[1]), "")
	row("twin: render, write, sync, rename, one by one", ms(took[2]), "")
	row("ratio, beyond the fixed start", ratio(took), "aim: at most 1")
	return nil
}

// ratio of an apply to its twin, both medians, the start of the process left out.
func ratio(took []time.Duration) string {
	start, apply, twin := took[0].Seconds(), took[1].Seconds(), took[2].Seconds()
	return fmt.Sprintf("%.2f", (apply-start)/twin)
}

// unchanged measures a box that matches against a loop of one lstat a file.
func (b applyBench) unchanged() error {
	took, err := medians(25, work{do: b.start}, work{do: b.apply}, work{do: b.lstatLoop})
	if err != nil {
		return err
	}
	row("the process's fixed start (shoal version)", ms(took[0]), "")
	row("apply with nothing to do", ms(took[1]), "")
	row("twin: one lstat a file", ms(took[2]), "")
	row("ratio, beyond the fixed start", ratio(took), "aim: at most 3")
	return nil
}

func fresh(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.MkdirAll(dir, 0o755)
}

func (b applyBench) writeTree() error {
	var states strings.Builder
	states.WriteString("states:\n")
	for i := range b.files {
		fmt.Fprintf(&states, "  file-%d:\n    file.managed: {path: /etc/bench/d%d/f%d, template: templates/f.j2, mode: \"0644\"}\n", i, i%20, i)
	}
	for path, text := range map[string]string{
		"site.yaml":                         "targets:\n  - on: \"*\"\n    components: [many]\n    variables: {greeting: hello}\n",
		"components/many/states.yaml":       states.String(),
		"components/many/templates/f.j2":    "{{ vars.greeting }} from {{ name }}\n{% for i in range(8) %}line {{ i }}\n{% endfor %}",
		"components/many/files/placeholder": "",
	} {
		full := filepath.Join(b.tree, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (b applyBench) writeLoop() error {
	for i := range b.files {
		dir := filepath.Join(b.twin, fmt.Sprintf("d%d", i%20))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := writeSynced(filepath.Join(dir, fmt.Sprintf("f%d", i)), rendered()); err != nil {
			return err
		}
	}
	return nil
}

// rendered is what the template makes, by the least that could make it.
func rendered() []byte {
	var b strings.Builder
	b.WriteString("hello from bench\n")
	for i := range 8 {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return []byte(b.String())
}

func writeSynced(path string, data []byte) error {
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (b applyBench) lstatLoop() error {
	for i := range b.files {
		if _, err := os.Lstat(filepath.Join(b.box, fmt.Sprintf("etc/bench/d%d/f%d", i%20, i))); err != nil {
			return err
		}
	}
	return nil
}
