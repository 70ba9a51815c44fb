package ssh_test

import (
	"testing"

	"shoal/executor"
	"shoal/executor/hosttest"
	"shoal/executor/local"
	"shoal/executor/module/pkg"
	"shoal/executor/moduletest"
	"shoal/executor/packages"
	"shoal/internal/sshdtest"
)

// TestApt: the suites that the machine itself passes, with the same code over the line.
func TestApt(t *testing.T) {
	if testing.Short() {
		t.Skip("installs packages: not with -short")
	}
	s := sshdtest.Start(t, sshdtest.Layered(t, sshdtest.Repository(t), "/etc", "/var", "/usr"))
	h := host(t, machine(t, s), "", "/nowhere")
	apt := packages.NewApt(h.Files, h.Tools(), local.Clock{}, nil)
	h.Packages = apt
	clean := func(t *testing.T) {
		t.Helper()
		if err := apt.ChangePackages(t.Context(), nil, []string{"shoal-leaf"}); err != nil {
			t.Fatal(err)
		}
		if err := apt.PurgePackages(t.Context(), []string{"shoal-leaf"}); err != nil {
			t.Fatal(err)
		}
	}
	hosttest.PackagesSuite(t, func(t *testing.T) hosttest.PackagesFixture {
		clean(t)
		return hosttest.PackagesFixture{Packages: apt, Leaf: "shoal-leaf", Installed: "dpkg"}
	})
	have := func(version string) func(*testing.T, executor.Host) {
		return func(t *testing.T, h executor.Host) {
			if err := h.ChangePackages(t.Context(), []executor.Package{{Name: "shoal-leaf", Version: version}}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	moduletest.Run(t, moduletest.Suite{
		Module: pkg.Modules()[0], NoFaults: "there is one such machine",
		Host: func(t *testing.T) executor.Host { clean(t); return h },
		Snapshot: func(t *testing.T, h executor.Host) any {
			all, err := h.Installed(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			return all
		},
		Cases: []moduletest.Case{
			{Name: "new", Params: executor.Params{"name": "shoal-leaf", "hold": true}},
			{Name: "down", Params: executor.Params{"name": "shoal-leaf", "version": "1.0"}, Setup: have("2.0")},
			{Name: "there", Params: executor.Params{"name": "shoal-leaf"}, Setup: have("1.0"), Matches: true},
		},
	})
	have("1.0")(t, h)
	if err := apt.ChangePackages(t.Context(), nil, []string{"shoal-leaf"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} {
		if left, err := apt.Leftovers(t.Context(), []string{"shoal-leaf"}); err != nil || len(left) != want {
			t.Errorf("left %v, %v", left, err)
		}
		if err := apt.PurgePackages(t.Context(), []string{"shoal-leaf"}); err != nil {
			t.Error(err)
		}
	}
}
