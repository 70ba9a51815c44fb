package lab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"shoal/simulation/lab"
)

// real is one of examples/real, and the machines that it is tried on.
type real struct {
	name     string
	fast     bool     // not only in make lab
	packages []string // what it installs, and what has to be installable to put it back
	arrange  string   // a shell on each host before anything else
	hosts    []machine
	effect   func(t *testing.T, hosts []*lab.Host) // is it there, and does it answer?
}

type machine struct {
	name string
	tags []string
}

// TestRealConfigurations applies each example to real machines: it works, a second run changes nothing, and a tree without it
// puts all of /etc back.
func TestRealConfigurations(t *testing.T) {
	for _, ex := range reals {
		t.Run(ex.name, func(t *testing.T) {
			if !ex.fast && os.Getenv("SHOAL_LAB") != "all" {
				t.Skip("SKIPPED: runs in make lab (SHOAL_LAB=all)")
			}
			ex.try(t)
		})
	}
}

func (ex real) try(t *testing.T) {
	var names []string
	for _, m := range ex.hosts {
		names = append(names, m.name)
	}
	unlock := lockPackages(t)
	_, hosts := up(t, names...)
	debs := t.TempDir()
	if len(ex.packages) > 0 {
		if err := lab.Fetch(t.Context(), debs, ex.packages...); err != nil {
			if os.Getenv("SHOAL_LAB") == "all" {
				t.Fatal(err)
			}
			t.Skipf("SKIPPED: no packages here: %v", err)
		}
	}
	unlock()
	install(t, hosts...)
	before := make([]map[string]string, len(hosts))
	for i, h := range hosts {
		if err := h.Stock(debs); err != nil {
			t.Fatal(err)
		}
		// The habits of a container's image are not those of a machine: to start no installed service, and to keep no package.
		// And nobody reads manuals here.
		must(t, h, "rm -f /usr/sbin/policy-rc.d /etc/apt/apt.conf.d/docker-clean /var/lib/man-db/auto-update; "+ex.arrange)
		copyTree(t, h, "../../examples/real/"+ex.name, "/root/tree")
		write(t, h, "/root/empty", map[string]string{"site.yaml": "targets: []\n"})
		before[i] = etc(t, h)
	}
	for i, h := range hosts {
		if n := apply(t, h, "/root/tree", ex.hosts[i]); n == 0 {
			t.Errorf("%s: the first run changed nothing", h.Name)
		}
	}
	ex.effect(t, hosts)
	for i, h := range hosts {
		if n := apply(t, h, "/root/tree", ex.hosts[i]); n != 0 {
			t.Errorf("%s: the second run changed %d", h.Name, n)
		}
	}
	for i, h := range hosts {
		apply(t, h, "/root/empty", ex.hosts[i])
		purge(t, h)
		sameEtc(t, h, before[i], etc(t, h))
	}
}

// lockPackages waits for tests that change the machine's own packages, as those of executor/local do.
func lockPackages(t *testing.T) (unlock func()) {
	t.Helper()
	folder, err := os.Open("/var/lib/dpkg")
	if err != nil {
		t.Skipf("SKIPPED: no dpkg here: %v", err)
	}
	unlock = func() { folder.Close() }
	t.Cleanup(unlock)
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return unlock
}

// apply applies a tree and returns how many states changed something.
func apply(t *testing.T, h *lab.Host, tree string, m machine) int {
	t.Helper()
	argv := []string{"shoal", "apply", tree, "--json", "--name", m.name}
	for _, tag := range m.tags {
		argv = append(argv, "--tag", tag)
	}
	cmd := h.Command(t.Context(), argv...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if strings.Contains(string(out)+said.String(), "correct-horse") {
		t.Errorf("%s: a secret is in the report", h.Name)
	}
	var report struct {
		Result, Error string
		Changed       int
		States        []struct{ ID, Part, Result, Error, Diff string }
	}
	if jsonErr := json.Unmarshal(out, &report); jsonErr != nil {
		t.Fatalf("%s: apply %s: %v, %v\n%s%s", h.Name, tree, err, jsonErr, out, said.String())
	}
	var rows strings.Builder
	for _, s := range report.States {
		if s.Result != "unchanged" && s.Result != "skipped" {
			fmt.Fprintf(&rows, "%s %s %s %s\n%s\n", s.ID, s.Part, s.Result, s.Error, s.Diff)
		}
	}
	if err != nil || report.Result != "converged" {
		t.Fatalf("%s: apply %s: %v: %s %s\n%s%s", h.Name, tree, err, report.Result, report.Error, rows.String(), said.String())
	}
	if testing.Verbose() {
		t.Logf("%s: apply %s: %d changed\n%s", h.Name, tree, report.Changed, said.String())
	}
	if report.Changed > 0 && os.Getenv("SHOAL_LAB_DIFFS") != "" {
		t.Log(rows.String())
	}
	return report.Changed
}

// purge takes away the configuration of packages that were removed: shoal removes as apt does, and keeps that.
func purge(t *testing.T, h *lab.Host) {
	t.Helper()
	must(t, h, `dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' | sed -n 's/^rc *//p' | xargs -r env DEBIAN_FRONTEND=noninteractive dpkg --purge`)
}

// copyTree copies a folder of this machine to a host.
func copyTree(t *testing.T, h *lab.Host, from, to string) {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		files[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, h, to, files)
}

// etc is all of a host's /etc: kind, mode, owner, and contents.
func etc(t *testing.T, h *lab.Host) map[string]string {
	t.Helper()
	top, all := h.Path("/etc"), map[string]string{}
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		row := fmt.Sprintf("%s %d:%d", info.Mode(), st.Uid, st.Gid)
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			row += "\n" + string(data)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			row += " -> " + target
		}
		all[strings.TrimPrefix(path, top)] = row
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// byOthers are files that the machine's own programs write when packages come and go: a cache, and what the accounts were
// before the last account of a package was made or removed. Of these, mode and owner are compared.
var byOthers = map[string]bool{
	"/ld.so.cache": true, "/passwd-": true, "/group-": true, "/shadow-": true, "/gshadow-": true,
}

func sameEtc(t *testing.T, h *lab.Host, before, after map[string]string) {
	t.Helper()
	if len(before) < 100 {
		t.Fatalf("only %d entries in /etc: the comparison is blind", len(before))
	}
	var names []string
	for name := range before {
		names = append(names, name)
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		was, is := before[name], after[name]
		if byOthers[name] {
			was, _, _ = strings.Cut(was, "\n")
			is, _, _ = strings.Cut(is, "\n")
		}
		if was == is {
			continue
		}
		t.Errorf("%s: /etc%s was\n%s\nand is\n%s", h.Name, name, short(was), short(is))
	}
}

func short(s string) string {
	if s == "" {
		return "(nothing)"
	}
	return s[:min(len(s), 1500)]
}
