package packages

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"shoal/executor"
)

// folder is Files below a folder.
type folder string

func (f folder) Lstat(name string) (executor.Stat, error) {
	info, err := os.Lstat(filepath.Join(string(f), name))
	if err != nil {
		return executor.Stat{}, err
	}
	st := info.Sys().(*syscall.Stat_t)
	return executor.Stat{Inode: st.Ino, Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano()}, nil
}

func (f folder) ReadFile(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(f), name))
}

func (f folder) ReadDir(name string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(string(f), name))
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

const statusText = `Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21.22

Package: held
Status: hold ok installed
Architecture: all
Version: 1:2.0-1
Description: something
 Status: deinstall ok config-files
 .
 more

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 3

Package: lib
Status: install ok installed
Architecture: i386
Version: 4

Package: lib
Status: install ok triggers-pending
Architecture: amd64
Version: 5

Package: foreign
Status: install ok installed
Architecture: i386
Version: 6
`

// dpkgRoot is a folder with a package database.
func dpkgRoot(t *testing.T, status string, updates ...string) folder {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "var/lib/dpkg/updates")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), []byte(status), 0o644); err != nil {
		t.Fatal(err)
	}
	for i, u := range updates {
		name := "000" + string(rune('0'+i))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(u), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder(root)
}

func TestInstalledBelowRoot(t *testing.T) {
	a := NewAptBelow(dpkgRoot(t, statusText))
	list, err := a.Installed(t.Context(), []string{"held", "gone", "lib", "lib:i386", "foreign", "foreign:i386", "none"})
	if err != nil {
		t.Fatal(err)
	}
	want := []executor.Package{
		{Name: "held", Version: "1:2.0-1", Hold: true}, {Name: "lib", Version: "5"}, {Name: "lib:i386", Version: "4"},
		{Name: "foreign:i386", Version: "6"},
	}
	if !reflect.DeepEqual(list, want) {
		t.Errorf("got %+v", list)
	}
	all, err := a.Installed(t.Context(), nil)
	if err != nil || len(all) != 5 {
		t.Errorf("all: %+v, %v", all, err)
	}
}

func TestUpdatesOfDpkgCount(t *testing.T) {
	root := dpkgRoot(t, statusText,
		"Package: gone\nStatus: install ok half-configured\nArchitecture: amd64\nVersion: 4\n",
		"Package: gone\nStatus: install ok installed\nArchitecture: amd64\nVersion: 4\n")
	db, err := readDpkg(root)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := db.find("gone"); !ok || p.Version != "4" || !db.interrupted {
		t.Errorf("got %+v, %v, interrupted %v", p, ok, db.interrupted)
	}
}

func TestHalfInstalledIsNotInstalled(t *testing.T) {
	for _, status := range []string{"half-installed", "half-configured", "unpacked", "not-installed", "config-files"} {
		db, err := readDpkg(dpkgRoot(t, "Package: x\nStatus: install ok "+status+"\nArchitecture: all\nVersion: 1\n"))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := db.find("x"); ok {
			t.Errorf("%s counts as installed", status)
		}
		if left := !slices.Contains([]string{"not-installed", "config-files"}, status); db.interrupted != left {
			t.Errorf("%s: interrupted %v", status, db.interrupted)
		}
	}
}

func TestDatabaseIsReadAgainWhenItChanged(t *testing.T) {
	root := dpkgRoot(t, statusText)
	a := NewAptBelow(root)
	if list, err := a.Installed(t.Context(), nil); err != nil || len(list) != 5 {
		t.Fatal(list, err)
	}
	if err := os.WriteFile(filepath.Join(string(root), "var/lib/dpkg/status"), []byte(statusText[:strings.Index(statusText, "Package: foreign")]), 0o644); err != nil {
		t.Fatal(err)
	}
	if list, err := a.Installed(t.Context(), nil); err != nil || len(list) != 4 {
		t.Errorf("stale: %+v, %v", list, err)
	}
}

func TestNoChangesBelowRoot(t *testing.T) {
	a, install := NewAptBelow(folder(t.TempDir())), []executor.Package{{Name: "hello"}}
	_, _, available := a.Available(t.Context(), "hello", "")
	_, simulated := a.SimulatePackages(t.Context(), install, nil)
	for what, err := range map[string]error{
		"available": available, "simulate": simulated,
		"change": a.ChangePackages(t.Context(), install, nil), "hold": a.SetHold(t.Context(), "hello", true),
	} {
		if !errors.Is(err, errPackagesBelowRoot) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if list, err := a.Installed(t.Context(), []string{"hello"}); err != nil || len(list) != 0 {
		t.Errorf("installed: %+v, %v", list, err)
	}
}

func TestNamesThatAptWouldMistake(t *testing.T) {
	a := NewApt(nil, nil, &clock{}, nil)
	for _, name := range []string{"", "-o", "vim-", "vim*", "vim^", "vim/stable", "vim=1", "Vim", "a b", ".", "vim\n"} {
		if a.check([]executor.Package{{Name: name}}, nil) == nil || a.check(nil, []string{name}) == nil {
			t.Errorf("takes the name %q", name)
		}
	}
	for _, version := range []string{"-1", "1 2", "1/stable", "1*", "1\n"} {
		if a.check([]executor.Package{{Name: "vim", Version: version}}, nil) == nil {
			t.Errorf("takes the version %q", version)
		}
	}
	for _, p := range []executor.Package{{Name: "g++"}, {Name: "libc6:i386", Version: "2.36-9+deb12u10"}, {Name: "r-base", Version: "1:2~rc1"}} {
		if err := a.check([]executor.Package{p}, nil); err != nil {
			t.Error(err)
		}
	}
}

const policyText = `bash:
  Installed: 5.2.15-2+b8
  Candidate: 5.2.15-2+b13
  Version table:
     5.2.15-2+b13 500
        500 http://deb.example/debian bookworm/main amd64 Packages
        500 http://mirror.example/debian bookworm/main amd64 Packages
 *** 5.2.15-2+b8 100
        100 /var/lib/dpkg/status
     5.1-1 990
        990 http://deb.example/debian bullseye/main amd64 Packages
bash-doc:
  Candidate: 7
`

func TestParsePolicy(t *testing.T) {
	p, known := parsePolicy(policyText, "bash")
	if want := (policy{candidate: "5.2.15-2+b13", versions: []string{"5.2.15-2+b13", "5.1-1"}}); !known || !reflect.DeepEqual(p, want) {
		t.Errorf("got %+v, %v", p, known)
	}
	if p, known := parsePolicy(policyText, "bash-doc"); !known || p.candidate != "7" {
		t.Errorf("the second: %+v, %v", p, known)
	}
	if _, known := parsePolicy(policyText, "ba.h"); known {
		t.Error("took a package that matches a pattern for the package")
	}
	if p, known := parsePolicy("x:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n", "x"); !known || p.candidate != "" {
		t.Errorf("virtual: %+v, %v", p, known)
	}
}

func TestParseSimulation(t *testing.T) {
	got := parseSimulation(`Reading package lists...
The following packages will be REMOVED:
  old
Remv old [1.0]
Inst bash [5.2] (5.3 Debian:12.14/oldstable [amd64])
Inst hello (2.10-3 Debian:12.14/oldstable [amd64]) []
Inst same [1] (1 Debian:12.14/oldstable [amd64])
Purg worn [3]
Conf hello (2.10-3 Debian:12.14/oldstable [amd64])
`)
	want := []executor.PackageChange{
		{Name: "bash", Before: "5.2", After: "5.3"}, {Name: "hello", After: "2.10-3"}, {Name: "old", Before: "1.0"}, {Name: "worn", Before: "3"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestAptErrors(t *testing.T) {
	got := aptErrors("Setting up x\npostinst: cannot bind\ndpkg: error processing package x\nErrors were encountered\nE: Sub-process returned 1\n")
	want := "Setting up x\npostinst: cannot bind\ndpkg: error processing package x\nE: Sub-process returned 1"
	if got != want {
		t.Errorf("got %q", got)
	}
	if got := aptErrors("something\nelse\n"); got != "something\nelse" {
		t.Errorf("got %q", got)
	}
}

func FuzzDpkgStatus(f *testing.F) {
	f.Add([]byte(statusText))
	f.Add([]byte("Package: x\nStatus: a b\n\n\n:\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		db := &dpkgDatabase{byKey: map[string]dpkgPackage{}}
		if err := db.add(data); err != nil {
			return
		}
		for _, p := range db.all() {
			if found, ok := db.find(p.Name); !ok && strings.Count(p.Name, ":") == 0 {
				t.Fatalf("listed %+v, and found %+v", p, found)
			}
		}
	})
}

func FuzzAptOutput(f *testing.F) {
	f.Add(policyText, "bash")
	f.Add("Inst hello (2.10-3 x)\nRemv y [1]\n", "hello")
	f.Fuzz(func(t *testing.T, output, name string) {
		parsePolicy(output, name)
		for _, c := range parseSimulation(output) {
			if c.Name == "" || c.Before == c.After {
				t.Fatalf("made %+v of %q", c, output)
			}
		}
		aptErrors(output)
	})
}
