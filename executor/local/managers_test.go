package local

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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
			t.Skipf("no %s on this machine", tool)
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
	cases := [][]moduletest.Case{
		{{Name: "new", Params: name}}, {{Name: "old", Params: name, Setup: there}}, {{Name: "there", Params: executor.Params{"name": "shoal-lib"}, Setup: there}},
	}
	if candidate, _, err := p.Available(t.Context(), "shoal-leaf", ""); err != nil || candidate == old {
		cases[1] = nil // there is no other version
	}
	for i, cases := range cases {
		moduletest.Run(t, moduletest.Suite{Module: pkg.Modules()[i], Host: fresh, Snapshot: all, NoFaults: "there is one such machine", Cases: cases})
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
	noHold := ""
	if exec.Command("dnf", "versionlock", "list").Run() != nil {
		noHold = "dnf has no plugin versionlock here"
	}
	onManager(t, d, "1-1", noHold)
}

func TestZypper(t *testing.T) {
	needTools(t, "zypper", "rpmbuild", "createrepo_c")
	if !apart(t, "/etc", "/var", "/usr", "/root") {
		return
	}
	rpms(t)
	write(t, "/etc/zypp/repos.d/shoal-test.repo", "[shoal-test]\nname=test\nenabled=1\nbaseurl=file://"+repo+"\ngpgcheck=0\n")
	z := packages.NewZypper(Tools{}, Clock{})
	if err := z.RefreshPackages(t.Context(), "shoal-test", 0); err != nil {
		t.Fatal(err)
	}
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
	onManager(t, p, "1-1", "pacman has no command that holds")
}
