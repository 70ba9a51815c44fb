package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"shoal/executor"
	"shoal/executor/hosttest"
	"shoal/executor/module/pkg"
	"shoal/executor/moduletest"
	"shoal/executor/packages"
)

// The package managers of others run here for real where Debian's packages of them are installed: with a database of their
// own, in layers, and a repository in a folder.

const repo = "/var/shoal-test-repo"

func needTools(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NOT TESTED: no %s on this machine (make prepare installs it)", tool)
		}
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	run(t, "mkdir", "-p", filepath.Dir(name))
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// rpms makes a repository of empty packages: leaf 1-1 and 2-1, which needs lib, and base 1-1.
func rpms(t *testing.T) {
	t.Helper()
	// Debian's rpm keeps its database in the home, and zypper in the place of all others.
	write(t, "/root/.rpmmacros", "%_dbpath /var/lib/rpm\n")
	run(t, "rpm", "--initdb")
	for _, p := range []struct{ name, version, requires string }{
		{"shoal-leaf", "1", "Requires: shoal-lib"}, {"shoal-leaf", "2", "Requires: shoal-lib"}, {"shoal-lib", "1", ""}, {"shoal-base", "1", ""},
	} {
		spec := "/var/spec/" + p.name + ".spec"
		write(t, spec, strings.Join([]string{
			"Name: " + p.name, "Version: " + p.version, "Release: 1", "Summary: a test", "License: none", "BuildArch: noarch", p.requires,
			"%description", "A test.", "%files", "",
		}, "\n"))
		run(t, "rpmbuild", "-bb", "--quiet", "--define", "_topdir /var/rpmbuild", "--define", "_rpmdir "+repo, spec)
	}
	run(t, "createrepo_c", "--quiet", repo)
}

// onManager tries the seam and the modules on a package manager that has leaf, which needs lib, and base installed.
func onManager(t *testing.T, p executor.Packages, old, noHold string) {
	if err := p.ChangePackages(t.Context(), []executor.Package{{Name: "shoal-base"}}, nil); err != nil {
		t.Fatal(err)
	}
	hosttest.PackagesSuite(t, func(*testing.T) hosttest.PackagesFixture {
		// What one test brought along, another is not to find.
		if err := p.ChangePackages(t.Context(), nil, []string{"shoal-leaf", "shoal-lib"}); err != nil {
			t.Fatal(err)
		}
		return hosttest.PackagesFixture{Packages: p, Leaf: "shoal-leaf", Installed: "shoal-base", NoHold: noHold}
	})
	h := itself(t).(*Host)
	h.Packages = p
	name := executor.Params{"name": "shoal-leaf"}
	there := func(t *testing.T, h executor.Host) {
		if err := h.ChangePackages(t.Context(), []executor.Package{{Name: "shoal-leaf", Version: old}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	fresh := func(t *testing.T) executor.Host {
		if err := p.ChangePackages(t.Context(), nil, []string{"shoal-leaf", "shoal-lib"}); err != nil {
			t.Fatal(err)
		}
		return h
	}
	all := func(t *testing.T, h executor.Host) any {
		list, err := h.Installed(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	newest := func(t *testing.T, h executor.Host) {
		if err := h.ChangePackages(t.Context(), []executor.Package{{Name: "shoal-leaf"}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	candidate, _, err := p.Available(t.Context(), "shoal-leaf", "")
	if err != nil {
		t.Fatal(err)
	}
	pinned := func(version string) executor.Params { return executor.Params{"name": "shoal-leaf", "version": version} }
	cases := [][]moduletest.Case{
		{
			{Name: "new", Params: name}, {Name: "there already", Params: name, Setup: newest, Matches: true}, {Name: "new at a version", Params: pinned(old)},
		},
		{{Name: "old", Params: name, Setup: there}},
		{{Name: "there", Params: executor.Params{"name": "shoal-lib"}, Setup: there}, {Name: "not there", Params: name, Matches: true}},
	}
	if candidate != old {
		cases[0] = append(cases[0], moduletest.Case{Name: "down", Params: pinned(old), Setup: newest}, moduletest.Case{Name: "up", Params: pinned(candidate), Setup: there})
	} else {
		cases[1] = nil // there is no other version
	}
	for i, cases := range cases {
		moduletest.Run(t, moduletest.Suite{Module: pkg.Modules()[i], Host: fresh, Snapshot: all, NoFaults: "there is one such machine", Cases: cases})
	}
}

// atOnce is a clock that does not wait.
type atOnce struct{ Clock }

func (atOnce) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// holder is a process that does nothing but have a file open.
func holder(t *testing.T, file string) (pid int, end func()) {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if file != "" {
		f, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.ExtraFiles = []*os.File{f}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	t.Cleanup(end)
	return cmd.Process.Pid, end
}

// waitsFor tries that what p does is put off while the lock is held, that the holder is named, and that it goes on then.
func waitsFor(t *testing.T, lock string, pid int, command string, release func(), open func(packages.Waiting) executor.Packages, act func(executor.Packages) error) {
	t.Helper()
	told := 0
	p := open(func(w packages.Wait) {
		if want := fmt.Sprintf("pid %d (%s)", pid, command); w.Holder != want || w.Lock != lock {
			t.Errorf("waits for %q of %q, wanted %q of %q", w.Lock, w.Holder, lock, want)
		}
		told++
		release()
	})
	if err := act(p); err != nil || told != 1 {
		t.Errorf("%v, told %d times", err, told)
	}
}

func TestDnf(t *testing.T) {
	needTools(t, "dnf", "rpmbuild", "createrepo_c")
	if !apart(t, "/etc", "/var", "/usr", "/root") {
		return
	}
	rpms(t)
	write(t, "/etc/yum.repos.d/shoal-test.repo", "[shoal-test]\nname=test\nbaseurl=file://"+repo+"\ngpgcheck=0\n")
	d := packages.NewDnf(Tools{}, Clock{}, nil)
	if err := d.RefreshPackages(t.Context(), "shoal-test", 0); err != nil {
		t.Fatal(err)
	}
	if err := d.RefreshPackages(t.Context(), "shoal-none", 0); err == nil {
		t.Error("fetched the lists of a repository that is not there")
	}
	pid, end := holder(t, "")
	const lock = "/var/cache/dnf/metadata_lock.pid"
	write(t, lock, strconv.Itoa(pid))
	waitsFor(t, "metadata", pid, "sleep", func() { end(); os.Remove(lock) }, func(w packages.Waiting) executor.Packages {
		return packages.NewDnf(Tools{}, atOnce{}, w)
	}, func(p executor.Packages) error { return p.RefreshPackages(t.Context(), "shoal-test", 0) })
	noHold := ""
	if exec.Command("dnf", "versionlock", "list").Run() != nil {
		noHold = "dnf has no plugin versionlock here"
	}
	onManager(t, d, "1-1", noHold)
}

func TestZypper(t *testing.T) {
	needTools(t, "zypper", "rpmbuild", "createrepo_c")
	if !apart(t, "/etc", "/var", "/usr", "/root", "/run") {
		return
	}
	rpms(t)
	write(t, "/etc/zypp/repos.d/shoal-test.repo", "[shoal-test]\nname=test\nenabled=1\nbaseurl=file://"+repo+"\ngpgcheck=0\n")
	z := packages.NewZypper(Tools{}, Clock{}, nil)
	if err := z.RefreshPackages(t.Context(), "shoal-test", 0); err != nil {
		t.Fatal(err)
	}
	pid, end := holder(t, "")
	const lock = "/run/zypp.pid"
	write(t, lock, strconv.Itoa(pid))
	waitsFor(t, lock, pid, "sleep", func() { end(); os.Remove(lock) }, func(w packages.Waiting) executor.Packages {
		return packages.NewZypper(Tools{}, atOnce{}, w)
	}, func(p executor.Packages) error { return p.RefreshPackages(t.Context(), "shoal-test", 0) })
	onManager(t, z, "1-1", "")
}

// TestPacman: a repository of pacman has one version of each package, so that none can go up or down.
func TestPacman(t *testing.T) {
	needTools(t, "pacman", "bsdtar")
	if !apart(t, "/etc", "/var", "/usr") {
		return
	}
	for _, p := range []string{"shoal-leaf", "shoal-lib", "shoal-base"} {
		file, depends := p+"-1-1-any.pkg.tar.gz", ""
		info := "pkgname = " + p + "\npkgver = 1-1\npkgdesc = a test\narch = any\nsize = 0\n"
		if p == "shoal-leaf" {
			info += "depend = shoal-lib\n"
			depends = "%DEPENDS%\nshoal-lib\n\n"
		}
		write(t, "/var/tree/"+p+"/.PKGINFO", info)
		run(t, "mkdir", "-p", repo)
		run(t, "bsdtar", "-czf", filepath.Join(repo, file), "-C", "/var/tree/"+p, ".PKGINFO")
		write(t, "/var/db/"+p+"-1-1/desc", "%FILENAME%\n"+file+"\n\n%NAME%\n"+p+"\n\n%VERSION%\n1-1\n\n%ARCH%\nany\n\n"+depends)
	}
	run(t, "bsdtar", "-czf", repo+"/shoal-test.db", "-C", "/var/db", "shoal-leaf-1-1", "shoal-lib-1-1", "shoal-base-1-1")
	write(t, "/etc/pacman.conf", "[options]\nArchitecture = auto\nSigLevel = Never\n[shoal-test]\nServer = file://"+repo+"\n")
	p := packages.NewPacman(Tools{}, Clock{}, nil)
	if err := p.RefreshPackages(t.Context(), "", 0); err != nil {
		t.Fatal(err)
	}
	const lock = "/var/lib/pacman/db.lck"
	pid, end := holder(t, lock)
	waitsFor(t, lock, pid, "sleep", func() { end(); os.Remove(lock) }, func(w packages.Waiting) executor.Packages {
		return packages.NewPacman(Tools{}, atOnce{}, w)
	}, func(p executor.Packages) error {
		return p.ChangePackages(t.Context(), []executor.Package{{Name: "shoal-base"}}, nil)
	})
	onManager(t, p, "1-1", "pacman has no command that holds")
}
