package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"shoal/internal/fleet"
	"shoal/internal/sshdtest"
)

// steps is a tree that waits after each of its changes until it is told to go on, so that a test can cut the line there.
func steps(box string, count int) map[string]string {
	var b strings.Builder
	b.WriteString("states:\n")
	for i := range count {
		fmt.Fprintf(&b, "  file%d:\n    file.managed: {path: /etc/f%d, content: \"new %d\"}\n", i, i, i)
		fmt.Fprintf(&b, "  wait%d:\n    cmd.run:\n      argv: [sh, -c, 'echo $$ > %s/pid%d.new; mv %s/pid%d.new %s/pid%d; while [ ! -e %s/go%d ]; do sleep 0.05; done']\n    undo: back\n    require: [file%d]\n",
			i, box, i, box, i, box, i, box, i, i)
		if i > 0 {
			fmt.Fprintf(&b, "    after: [wait%d]\n", i-1)
		}
	}
	b.WriteString("  back:\n    lazy: true\n    cmd.run: {argv: [\"true\"]}\n")
	return map[string]string{"site.yaml": "targets:\n  - on: \"*\"\n    components: [c]\npolicy: {order: ansible}\n", "components/c/states.yaml": b.String()}
}

// begun waits until a command of the tree runs, and returns its process.
func begun(t *testing.T, file string) int { t.Helper(); return begunWithin(t, patience, file) }

func begunWithin(t *testing.T, limit time.Duration, file string) int {
	t.Helper()
	if err := fleet.Eventually(t.Context(), limit, func() error { _, err := os.Stat(file); return err }); err != nil {
		t.Fatalf("never: %s: %v", file, err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func gone(t *testing.T, pid int) {
	t.Helper()
	err := fleet.Eventually(t.Context(), patience, func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return nil
		}
		return errors.New("it runs")
	})
	if err != nil {
		t.Errorf("process %d: %v", pid, err)
	}
}

// workers are the processes of this test's own delivered program on the machine of that folder.
func workers(box string) []int {
	var all []int
	dirs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range dirs {
		data, _ := os.ReadFile(file)
		if words := strings.Split(string(data), "\x00"); len(words) > 2 && words[1] == "remote" && strings.Contains(string(data), "--root="+box) {
			pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
			all = append(all, pid)
		}
	}
	return all
}

// TestSSHLost cuts the line in the middle of a run, in several places and ways. Whatever happens, nothing is left at work, and
// before the next run does anything the machine is as it was.
func TestSSHLost(t *testing.T) {
	t.Parallel()
	cuts := map[string]func(t *testing.T, s *sshdtest.Server, box string, operator int){
		"operator killed": func(t *testing.T, _ *sshdtest.Server, _ string, operator int) {
			if err := syscall.Kill(operator, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		},
		"sessions killed": func(t *testing.T, s *sshdtest.Server, _ string, _ int) {
			pids := s.Sessions()
			if len(pids) == 0 {
				t.Error("there is no session")
			}
			for _, pid := range pids {
				_ = syscall.Kill(pid, syscall.SIGKILL) // one may end with the other
			}
		},
		"worker killed": func(_ *testing.T, s *sshdtest.Server, box string, _ int) {
			for _, pid := range workers(box) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			for _, pid := range s.Sessions() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		},
	}
	modes(t, func(t *testing.T, mode string) {
		for name, cut := range cuts {
			for _, at := range []int{0, 2} {
				t.Run(fmt.Sprintf("%s at %d", name, at), func(t *testing.T) { lost(t, mode, at, cut) })
			}
		}
	})
}

func lost(t *testing.T, mode string, at int, cut func(*testing.T, *sshdtest.Server, string, int)) {
	t.Parallel()
	box, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := newSSHWorld(t, steps(box, 3))
	s := w.server(sshdtest.Options{Config: "SetEnv XDG_CACHE_HOME=" + cacheDir(t)})
	if err := errors.Join(os.Mkdir(filepath.Join(box, "etc"), 0o755), os.WriteFile(filepath.Join(box, "etc/f0"), []byte("old"), 0o640)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	args := []string{"apply", w.tree, "--ssh", s.Target(), "--root", box, mode, "--json"}
	cmd, out, diagnostics := w.command(ctx, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	for i := 0; i <= at; i++ {
		pid = begun(t, filepath.Join(box, fmt.Sprintf("pid%d", i)))
		if i < at {
			if err := os.WriteFile(filepath.Join(box, fmt.Sprintf("go%d", i)), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	holds(t, filepath.Join(box, "etc/f0"), "new 0")
	cut(t, s, box, cmd.Process.Pid)
	if code := exitOf(t, cmd.Wait()); code == 0 {
		t.Errorf("exit status 0 of a run that was cut off: %s%s", out, diagnostics)
	}
	gone(t, pid)
	// The next run, even one that fails to begin with, undoes first.
	w.write("components/c/states.yaml", "states:\n  fails:\n    cmd.run: {argv: [sh, -c, \"cat "+box+"/etc/f0; exit 3\"]}\n")
	got := w.reports(1, args[:len(args)-1]...)
	if !strings.Contains(got[0].Error, "fails") {
		t.Errorf("%+v", got)
	}
	holds(t, filepath.Join(box, "etc/f0"), "old")
	if info, err := os.Stat(filepath.Join(box, "etc/f0")); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	names, err := os.ReadDir(filepath.Join(box, "etc"))
	if err != nil || len(names) != 1 {
		t.Errorf("left over: %v, %v", names, err)
	}
}

// cacheDir holds the delivered program for all tests of this process: to copy it is tested once.
func cacheDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(buildDir, "cache")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
