package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	start, err := median(9, nil, b.start)
	if err != nil {
		return err
	}
	row("the process's fixed start (shoal version)", ms(start), "")
	if err := b.first(start.Seconds()); err != nil {
		return err
	}
	return b.unchanged(start.Seconds())
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
func (b applyBench) first(start float64) error {
	took, err := median(5, func() error { return os.RemoveAll(b.box) }, b.apply)
	if err != nil {
		return err
	}
	twin, err := median(5, func() error { return fresh(b.twin) }, b.writeLoop)
	if err != nil {
		return err
	}
	row("first apply", ms(took), "")
	row("twin: render, write, sync, rename, one by one", ms(twin), "")
	row("ratio, beyond the fixed start", fmt.Sprintf("%.2f", (took.Seconds()-start)/twin.Seconds()), "aim: at most 1")
	return nil
}

// unchanged measures a box that matches against a loop of one lstat a file.
func (b applyBench) unchanged(start float64) error {
	took, err := median(15, nil, b.apply)
	if err != nil {
		return err
	}
	twin, err := median(15, nil, b.lstatLoop)
	if err != nil {
		return err
	}
	row("apply with nothing to do", ms(took), "")
	row("twin: one lstat a file", ms(twin), "")
	row("ratio, beyond the fixed start", fmt.Sprintf("%.2f", (took.Seconds()-start)/twin.Seconds()), "aim: at most 3")
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
