package hosttest

import (
	"testing"

	"shoal/executor"
)

// PackagesFixture is a package manager with a package to play with.
type PackagesFixture struct {
	Packages executor.Packages
	// Leaf is a package that is available, not installed, and that nothing depends on.
	Leaf string
	// Installed is a package that is there and stays.
	Installed string
	// NoHold, unless empty, says why nothing can be held here.
	NoHold string
}

// PackagesSuite is the conformance suite of executor.Packages. It leaves Leaf removed.
func PackagesSuite(t *testing.T, open func(t *testing.T) PackagesFixture) {
	for name, test := range map[string]func(*testing.T, PackagesFixture){
		"reading":             readPackages,
		"no such package":     noSuchPackage,
		"simulate":            simulate,
		"install and remove":  installAndRemove,
		"hold":                hold,
		"changes that failed": refused,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func installed(t *testing.T, p executor.Packages, name string) (executor.Package, bool) {
	t.Helper()
	list, err := p.Installed(t.Context(), []string{name})
	must(t, err)
	if len(list) == 0 {
		return executor.Package{}, false
	}
	if len(list) != 1 || list[0].Name != name || list[0].Version == "" {
		t.Fatalf("installed %s: %+v", name, list)
	}
	return list[0], true
}

func readPackages(t *testing.T, f PackagesFixture) {
	there, ok := installed(t, f.Packages, f.Installed)
	if !ok {
		t.Fatalf("%s is not there", f.Installed)
	}
	if _, ok := installed(t, f.Packages, f.Leaf); ok {
		t.Fatalf("%s is there already", f.Leaf)
	}
	all, err := f.Packages.Installed(t.Context(), nil)
	must(t, err)
	found := false
	for i, p := range all {
		found = found || p == there
		if i > 0 && all[i-1].Name >= p.Name {
			t.Errorf("not sorted: %s, %s", all[i-1].Name, p.Name)
		}
	}
	if !found {
		t.Errorf("%+v is not among all", there)
	}
}

func noSuchPackage(t *testing.T, f PackagesFixture) {
	if _, ok, err := f.Packages.Available(t.Context(), "shoal-no-such-package", ""); ok || err != nil {
		t.Errorf("available: %v, %v", ok, err)
	}
	if _, ok, err := f.Packages.Available(t.Context(), f.Leaf, "0.0-shoal"); ok || err != nil {
		t.Errorf("a version that never was: %v, %v", ok, err)
	}
	if _, err := f.Packages.SimulatePackages(t.Context(), []executor.Package{{Name: "shoal-no-such-package"}}, nil); err == nil {
		t.Error("simulated an install of what does not exist")
	}
}

func candidate(t *testing.T, f PackagesFixture) string {
	t.Helper()
	version, ok, err := f.Packages.Available(t.Context(), f.Leaf, "")
	must(t, err)
	if !ok || version == "" {
		t.Fatalf("%s: no candidate", f.Leaf)
	}
	if _, ok, err := f.Packages.Available(t.Context(), f.Leaf, version); !ok || err != nil {
		t.Fatalf("%s=%s: %v, %v", f.Leaf, version, ok, err)
	}
	return version
}

func simulate(t *testing.T, f PackagesFixture) {
	version := candidate(t, f)
	changes, err := f.Packages.SimulatePackages(t.Context(), []executor.Package{{Name: f.Leaf, Version: version}, {Name: f.Installed}}, nil)
	must(t, err)
	found := false
	for _, c := range changes {
		found = found || c == executor.PackageChange{Name: f.Leaf, After: version}
		if c.Name == f.Installed {
			t.Errorf("would change what is there: %+v", c)
		}
	}
	if !found {
		t.Errorf("got %+v", changes)
	}
	if _, ok := installed(t, f.Packages, f.Leaf); ok {
		t.Error("a simulation installed it")
	}
	changes, err = f.Packages.SimulatePackages(t.Context(), nil, []string{f.Leaf})
	if err != nil || len(changes) != 0 {
		t.Errorf("removing what is not there: %+v, %v", changes, err)
	}
}

func installAndRemove(t *testing.T, f PackagesFixture) {
	version := candidate(t, f)
	must(t, f.Packages.ChangePackages(t.Context(), []executor.Package{{Name: f.Leaf}}, nil))
	if p, ok := installed(t, f.Packages, f.Leaf); !ok || p.Version != version || p.Hold {
		t.Errorf("installed %+v, %v, want %s", p, ok, version)
	}
	changes, err := f.Packages.SimulatePackages(t.Context(), nil, []string{f.Leaf})
	must(t, err)
	if len(changes) != 1 || changes[0] != (executor.PackageChange{Name: f.Leaf, Before: version}) {
		t.Errorf("removing it: %+v", changes)
	}
	for range 2 {
		must(t, f.Packages.ChangePackages(t.Context(), nil, []string{f.Leaf}))
	}
	if p, ok := installed(t, f.Packages, f.Leaf); ok {
		t.Errorf("still there: %+v", p)
	}
}

func hold(t *testing.T, f PackagesFixture) {
	if f.NoHold != "" {
		t.Skip(f.NoHold)
	}
	if f.Packages.SetHold(t.Context(), "shoal-no-such-package", true) == nil {
		t.Error("held what does not exist")
	}
	must(t, f.Packages.ChangePackages(t.Context(), []executor.Package{{Name: f.Leaf}}, nil))
	for _, held := range []bool{true, true, false, true} {
		must(t, f.Packages.SetHold(t.Context(), f.Leaf, held))
		if p, ok := installed(t, f.Packages, f.Leaf); !ok || p.Hold != held {
			t.Errorf("hold %v: %+v, %v", held, p, ok)
		}
	}
	// Named, it goes in spite of its hold.
	must(t, f.Packages.ChangePackages(t.Context(), nil, []string{f.Leaf}))
	if _, ok := installed(t, f.Packages, f.Leaf); ok {
		t.Error("held, and not removed")
	}
}

func refused(t *testing.T, f PackagesFixture) {
	err := f.Packages.ChangePackages(t.Context(), []executor.Package{{Name: f.Leaf}, {Name: "shoal-no-such-package"}}, nil)
	if err == nil {
		t.Error("installed what does not exist")
	}
	if _, ok := installed(t, f.Packages, f.Leaf); ok {
		t.Error("half of a transaction that was refused is there")
	}
}
