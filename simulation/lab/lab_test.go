package lab_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shoal/simulation/lab"
)

// up boots a lab that ends with the test.
func up(t *testing.T, names ...string) (*lab.Lab, []*lab.Host) {
	t.Helper()
	if err := lab.Able(); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	l, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	hosts, err := l.Boot(t.Context(), names...)
	if err != nil {
		t.Fatal(err)
	}
	return l, hosts
}

func TestHostsAreMachines(t *testing.T) {
	_, hosts := up(t, "a", "b")
	for _, h := range hosts {
		for command, want := range map[string]string{
			"cat /proc/1/comm":                         "systemd",
			"hostname":                                 h.Name,
			"systemctl is-system-running":              "running",
			"systemd-detect-virt --container || true":  "container-other",
			"getent hosts " + h.Name:                   h.Addr,
			"sysctl -n kernel.hostname >/dev/null; id": "uid=0(root)",
		} {
			out, err := h.Run(t.Context(), "sh", "-c", command)
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("%s: %s: got %q, %v; want %q", h.Name, command, out, err, want)
			}
		}
	}
}

// TestHostsKeepToThemselves: what a host writes is on no other host and not on the machine.
func TestHostsKeepToThemselves(t *testing.T) {
	_, hosts := up(t, "a", "b")
	mark := filepath.Join("/etc", filepath.Base(t.TempDir())+"-lab-mark")
	before, err := os.ReadFile("/proc/sys/vm/swappiness")
	if err != nil {
		t.Fatal(err)
	}
	other := "7"
	if strings.TrimSpace(string(before)) == other {
		other = "8"
	}
	if _, err := hosts[0].Run(t.Context(), "sh", "-ec", "echo x >"+mark+"; echo "+other+" >/proc/sys/vm/swappiness; cat /proc/sys/vm/swappiness | grep -x "+other); err != nil {
		t.Fatal(err)
	}
	if _, err := hosts[1].Run(t.Context(), "test", "!", "-e", mark); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Errorf("%s is on the machine", mark)
	}
	if after, err := os.ReadFile("/proc/sys/vm/swappiness"); err != nil || string(after) != string(before) {
		t.Errorf("the machine's own setting became %q, %v", after, err)
	}
}

// TestPowerCut: the disk of a host survives, its processes and its memory do not.
func TestPowerCut(t *testing.T) {
	_, hosts := up(t, "a")
	h := hosts[0]
	if _, err := h.Run(t.Context(), "sh", "-ec", "echo kept >/etc/kept; sync; echo lost >/run/lost; systemd-run --unit=left sleep 1000"); err != nil {
		t.Fatal(err)
	}
	h.Cut()
	if err := h.Power(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Run(t.Context(), "sh", "-ec", "grep -x kept /etc/kept; test ! -e /run/lost; ! systemctl is-active left"); err != nil {
		t.Error(err)
	}
}

// reaches tries one packet each way over the bridge, by a connection that is refused at once when it arrives.
func reaches(t *testing.T, from, to *lab.Host) bool {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	// A closed port answers at once; without an answer timeout ends it with 124.
	out, _ := from.Run(ctx, "timeout", "1", "bash", "-c", "exec 3<>/dev/tcp/"+to.Addr+"/9")
	return strings.Contains(out, "refused")
}

func TestBridge(t *testing.T) {
	l, hosts := up(t, "a", "b", "c")
	a, b, c := hosts[0], hosts[1], hosts[2]
	for _, step := range []struct {
		name           string
		link           lab.Link
		ab, ac, bc, ba bool
	}{
		{"whole", lab.Link{}, true, true, true, true},
		{"parted", lab.Link{Parts: [][]*lab.Host{{a, b}, {c}}}, true, false, false, true},
		{"deaf", lab.Link{Deaf: [][2]*lab.Host{{a, b}}}, false, true, true, false},
		{"all lost", lab.Link{Loss: 100}, false, false, false, false},
		{"healed", lab.Link{}, true, true, true, true},
	} {
		if err := l.Set(step.link); err != nil {
			t.Fatal(err)
		}
		for _, way := range []struct {
			from, to *lab.Host
			want     bool
		}{{a, b, step.ab}, {a, c, step.ac}, {b, c, step.bc}, {b, a, step.ba}} {
			if got := reaches(t, way.from, way.to); got != way.want {
				t.Errorf("%s: %s reaches %s: %v", step.name, way.from.Name, way.to.Name, got)
			}
		}
	}
}

// TestSlow looks at the queues: how fast a link is depends on the machine, whether it is limited does not.
func TestSlow(t *testing.T) {
	_, hosts := up(t, "a")
	for rate, want := range map[string]bool{"1mbit": true, "": false} {
		if err := hosts[0].Slow(rate); err != nil {
			t.Fatal(err)
		}
		out, err := hosts[0].Run(t.Context(), "tc", "qdisc", "show", "dev", "eth0")
		if err != nil || strings.Contains(out, "tbf") != want {
			t.Errorf("%q: %s, %v", rate, out, err)
		}
	}
}

// TestLeavesNothing: also when the process that made the lab is killed.
func TestLeavesNothing(t *testing.T) {
	if err := lab.Able(); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestChildHelper$", "-test.v")
	child.Env = append(os.Environ(), "SHOAL_LAB_CHILD=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	dir := ""
	buffer := make([]byte, 4096)
	for dir == "" {
		n, err := out.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range strings.Fields(string(buffer[:n])) {
			if after, ok := strings.CutPrefix(word, "lab="); ok {
				dir = after
			}
		}
	}
	if found := left(t, dir); len(found) == 0 {
		t.Fatal("nothing of a running lab is found: the check is blind")
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	var found []string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) { // a poll: it is no child of ours
		if found = left(t, dir); len(found) == 0 {
			return
		}
	}
	t.Errorf("a killed lab left %v", found)
}

// TestChildHelper runs as a child of TestLeavesNothing, which kills it.
func TestChildHelper(t *testing.T) {
	if os.Getenv("SHOAL_LAB_CHILD") == "" {
		t.Skip("runs as a child of TestLeavesNothing")
	}
	l, _ := up(t, "a", "b")
	os.Stdout.WriteString("lab=" + l.Dir() + "\n")
	select {}
}

// left lists what there is of a lab: its folder, cgroups, and processes that were started for it.
func left(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{dir, "/dev/shm/" + filepath.Base(dir) + "-*", "/sys/fs/cgroup/*/" + filepath.Base(dir) + "-*", "/sys/fs/cgroup/" + filepath.Base(dir) + "-*"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, paths...)
	}
	procs, err := filepath.Glob("/proc/[0-9]*/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range procs {
		if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), dir) {
			found = append(found, path)
		}
	}
	return found
}
