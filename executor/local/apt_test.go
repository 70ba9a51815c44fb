package local

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"shoal/executor"
	"shoal/executor/hosttest"
	"shoal/executor/packages"
)

// leaf is a small package of Debian that nothing depends on and that starts nothing.
const leaf = "hello"

// TestApt installs and removes a real package, where this machine lets it.
func TestApt(t *testing.T) {
	needApt(t)
	hosttest.PackagesSuite(t, func(t *testing.T) hosttest.PackagesFixture {
		return hosttest.PackagesFixture{Packages: thisApt(t), Leaf: leaf, Installed: "dpkg"}
	})
}

// thisApt is the apt of this machine.
func thisApt(t *testing.T) *packages.Apt {
	t.Helper()
	h, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return packages.NewApt(h.Files, Tools{}, Clock{}, nil)
}

// lockMachine keeps two runs of these tests from each other: they compare all packages before and after. A lock on the
// folder leaves no file behind, and is not the one that dpkg takes.
func lockMachine(t *testing.T) {
	t.Helper()
	folder, err := os.Open("/var/lib/dpkg")
	if err != nil {
		t.Skipf("no dpkg here: %v", err)
	}
	t.Cleanup(func() { folder.Close() })
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
}

// needApt skips unless this is root on a machine with apt, the leaf is not installed, and it can be fetched. What the test
// does is undone at its end.
func needApt(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("changes the packages of this machine: not with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("not root: packages cannot be changed here")
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("no apt-get on this machine")
	}
	lockMachine(t)
	a := thisApt(t)
	list, err := a.Installed(t.Context(), []string{leaf})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) > 0 {
		t.Skipf("%s is installed on this machine, and is left alone", leaf)
	}
	if _, ok, err := a.Available(t.Context(), leaf, ""); err != nil || !ok {
		t.Skipf("%s is not available here (%v)", leaf, err)
	}
	if out, err := exec.Command("apt-get", "install", "-y", "-q", "--download-only", "-o", "DPkg::Lock::Timeout=120", leaf).CombinedOutput(); err != nil {
		t.Skipf("%s cannot be fetched here: %v\n%s", leaf, err, out)
	}
	t.Cleanup(func() {
		if err := a.ChangePackages(context.Background(), nil, []string{leaf}); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
}

func TestCancelledToolEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Tools{}).Run(ctx, executor.Command{Argv: []string{"sleep", "60"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := (Tools{}).Run(t.Context(), executor.Command{Argv: []string{"shoal-no-such-tool"}}); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("got %v", err)
	}
}
