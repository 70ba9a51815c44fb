package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The demonstration is the end-to-end test: five real agents, and everything that it claims is checked by it.
func TestDemo(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "shoal")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../shoal")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	s := &stage{out: &out}
	if err := demo(t.Context(), binary, "../../examples/webfleet", false, s); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), agentLogs(t))
	}
	if s.scene != 6 || s.checks < 15 {
		t.Errorf("only %d scenes with %d checks", s.scene, s.checks)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// agentLogs are what the five wrote, for whoever has to find out.
func agentLogs(t *testing.T) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(os.TempDir(), "shoal-demo-*", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("\n== " + filepath.Base(path) + "\n" + string(data[max(0, len(data)-8000):]))
	}
	return b.String()
}
