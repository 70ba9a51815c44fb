package local

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"shoal/executor"
)

// brokenName is a package that exists on this machine alone, and for the length of a test.
const brokenName = "shoal-test-package"

// buildPackage makes a package with a script that runs when it is configured.
func buildPackage(t *testing.T, postinst string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "p")
	if err := os.MkdirAll(filepath.Join(dir, "DEBIAN"), 0o755); err != nil {
		t.Fatal(err)
	}
	control := "Package: " + brokenName + "\nVersion: 1.0\nArchitecture: all\nMaintainer: none\nDescription: for a test\n"
	for name, text := range map[string]string{"control": control, "postinst": "#!/bin/sh\n" + postinst + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, "DEBIAN", name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	deb := filepath.Join(t.TempDir(), "p.deb")
	tool(t, "dpkg-deb", "--build", "--root-owner-group", dir, deb)
	return deb
}

func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// needDpkg skips like needApt, and purges what the test leaves.
func needDpkg(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("changes the packages of this machine: not with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("not root: packages cannot be changed here")
	}
	for _, name := range []string{"apt-get", "dpkg-deb", "dpkg"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("no %s on this machine", name)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("dpkg", "--purge", "--force-remove-reinstreq", brokenName).CombinedOutput(); err != nil {
			t.Errorf("clean up: %v\n%s", err, out)
		}
	})
}

// An interrupted dpkg left a package unpacked: the next change finishes it first.
func TestInterruptedDpkgIsFinished(t *testing.T) {
	needDpkg(t)
	tool(t, "dpkg", "--unpack", buildPackage(t, "exit 0"))
	a := thisApt(t)
	if list, err := a.Installed(t.Context(), []string{brokenName}); err != nil || len(list) != 0 {
		t.Fatalf("unpacked counts as installed: %+v, %v", list, err)
	}
	if err := a.ChangePackages(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	if list, err := a.Installed(t.Context(), []string{brokenName}); err != nil || len(list) != 1 {
		t.Errorf("got %+v, %v", list, err)
	}
}

// A dpkg that was killed when it had only written down that the package is to go: it stays, and says so in dpkg's database.
func TestInterruptedRemovalIsTakenBack(t *testing.T) {
	needDpkg(t)
	tool(t, "dpkg", "--install", buildPackage(t, "exit 0"))
	tool(t, "sh", "-c", "echo "+brokenName+" deinstall | dpkg --set-selections")
	a := thisApt(t)
	if list, err := a.Installed(t.Context(), []string{brokenName}); err != nil || len(list) != 1 || !list[0].Leaving {
		t.Fatalf("got %+v, %v", list, err)
	}
	if err := a.ChangePackages(t.Context(), []executor.Package{{Name: brokenName, Version: "1.0"}}, nil); err != nil {
		t.Fatal(err)
	}
	if list, err := a.Installed(t.Context(), []string{brokenName}); err != nil || len(list) != 1 || list[0].Leaving {
		t.Errorf("got %+v, %v", list, err)
	}
}

// A package whose script fails is left half configured, fails again when it is finished, and goes all the same: that is how a
// rollback finds it.
func TestHalfConfiguredPackageGoes(t *testing.T) {
	needDpkg(t)
	if exec.Command("dpkg", "--install", buildPackage(t, "echo the port is taken; exit 3")).Run() == nil {
		t.Fatal("a package with a failing script was installed")
	}
	a := thisApt(t)
	changes, err := a.SimulatePackages(t.Context(), nil, []string{brokenName})
	if err != nil || len(changes) != 1 || changes[0] != (executor.PackageChange{Name: brokenName, Before: "1.0"}) {
		t.Errorf("simulated %+v, %v", changes, err)
	}
	if err := a.ChangePackages(t.Context(), nil, []string{brokenName}); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("dpkg", "--audit").CombinedOutput(); err != nil || strings.Contains(string(out), brokenName) {
		t.Errorf("%v\n%s", err, out)
	}
	if status, err := exec.Command("dpkg-query", "-W", "-f", "${Status}", brokenName).Output(); err == nil && !strings.Contains(string(status), "config-files") {
		t.Errorf("it is still there: %s", status)
	}
}
