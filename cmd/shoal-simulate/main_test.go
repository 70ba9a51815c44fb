package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// run builds the binary once and runs it: it must work outside of go test.
func run(t *testing.T, binary string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, diag bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = &out, &diag
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), diag.String(), cmd.ProcessState.ExitCode()
}

func TestSimulate(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "shoal-simulate")
	if out, err := exec.Command("go", "build", "-tags", "fastverify", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("tree/site.yaml", "targets: [{on: role=web, components: [c]}]\n")
	write("tree/components/c/states.yaml", "states:\n  motd:\n    file.managed: {path: /etc/motd, content: \"hello\\n\"}\n")
	write("tree/inventory.yaml", "nodes:\n  web-1: {zone: fra, tags: {role: web}}\n  web-2: {zone: ams, tags: {role: web}}\n  db-1: {tags: {role: db}}\n")
	tree := filepath.Join(dir, "tree")

	t.Run("the inventory", func(t *testing.T) {
		out, diag, status := run(t, binary, "--json", tree)
		var a answer
		if err := json.Unmarshal([]byte(out), &a); err != nil || status != 0 {
			t.Fatalf("%d %v\n%s%s", status, err, out, diag)
		}
		if !a.AsExpected || !a.Converged || len(a.Nodes) != 3 || a.Nodes[0].Name == "" || a.StreamBytes == 0 || a.PacketBytes == 0 {
			t.Errorf("%+v", a)
		}
	})
	t.Run("a failure is told", func(t *testing.T) {
		file := write("fail.scenario", "node a b tag role=web\nat 5s push tree to a\nat 1m crash b\nat 2m expect b up\n")
		out, _, status := run(t, binary, tree, file)
		if status != exitBroken || !strings.Contains(out, "fail.scenario:4:1") || !strings.Contains(out, "it is down") {
			t.Errorf("%d\n%s", status, out)
		}
	})
	t.Run("who is late, and why", func(t *testing.T) {
		file := write("late.scenario", "node a b c d e tag role=web\nat 5s isolate e for 60s\nat 10s push tree to a\nat 3m expect all applied tree\n")
		out, _, status := run(t, binary, tree, file)
		if status != 0 || !strings.Contains(out, "late:      e, ") || !strings.Contains(out, "it was cut off from 0:05.0") {
			t.Errorf("%d\n%s", status, out)
		}
	})
	t.Run("a push that changes nothing is not what is waited for", func(t *testing.T) {
		file := write("again.scenario", "node a b c tag role=web\nat 5s push tree to a\nat 30s push tree to b\nat 40s expect all applied tree\n")
		out, _, status := run(t, binary, "--json", tree, file)
		var a answer
		if err := json.Unmarshal([]byte(out), &a); err != nil || status != 0 {
			t.Fatal(status, err, out)
		}
		for _, n := range a.Nodes {
			if n.TookS != nil && *n.TookS > 0 {
				return
			}
		}
		t.Errorf("nobody took any time:\n%s", out)
	})
	t.Run("what is not needed is left out", func(t *testing.T) {
		t.Setenv("TMPDIR", t.TempDir())
		file := write("small.scenario", "node a b c tag role=web\nat 5s push tree to a\nat 20s slow a by 20ms for 5s\nat 30s crash b\nat 40s loss 1% for 5s\nat 1m expect b up\n")
		page := filepath.Join(t.TempDir(), "page.html")
		out, diag, status := run(t, binary, "--shrink", "--page", page, tree, file)
		if status != exitBroken || !strings.Contains(out, "1 of 3 faults are left after 3 runs") {
			t.Errorf("%d\n%s%s", status, out, diag)
		}
		kept, err := os.ReadFile(filepath.Join(os.Getenv("TMPDIR"), "small-small.scenario"))
		if err != nil || !strings.Contains(string(kept), "at 30s crash b") || strings.Contains(string(kept), "loss") {
			t.Errorf("%v\n%s", err, kept)
		}
		if html, err := os.ReadFile(page); err != nil || !strings.Contains(string(html), "it is down") || !strings.Contains(string(html), "<svg") {
			t.Errorf("%v\n%.200s", err, html)
		}
	})
	t.Run("wrong input", func(t *testing.T) {
		file := write("wrong.scenario", "node a\nat 5s push nothing to a\n")
		for _, args := range [][]string{{tree, file}, {dir}, {}, {"-"}, {tree, filepath.Join(dir, "absent")}, {"--tag", "x", tree}} {
			if out, diag, status := run(t, binary, args...); status != exitInput || diag == "" {
				t.Errorf("%v: %d\n%s%s", args, status, out, diag)
			}
		}
	})
	t.Run("chaos can be kept and read", func(t *testing.T) {
		saved := filepath.Join(dir, "chaos.scenario")
		if _, diag, status := run(t, binary, "--nodes", "5", "--chaos", "12", "--seed", "3", "--save", saved, tree); status != 0 {
			t.Fatal(status, diag)
		}
		text, err := os.ReadFile(saved)
		if err != nil || !strings.Contains(string(text), "eventually within 4m all agree") {
			t.Fatalf("%v\n%s", err, text)
		}
		if out, diag, status := run(t, binary, "--nodes", "5", "--tag", "role=web", "--chaos", "12", "--seed", "3", tree); status != 0 {
			t.Errorf("%d\n%s%s", status, out, diag)
		}
	})
}
