package pkg_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/pkg"
	"shoal/executor/moduletest"
)

// TestMain: every function of the package has a conformance suite.
func TestMain(m *testing.M) { moduletest.Main(m, pkg.Modules()) }

type host struct {
	executor.Fetcher
	executor.Files
	executor.Commands
	executor.Services
	executor.Accounts
	*fake.Packages
}

func newHost(*testing.T) executor.Host {
	h := host{Packages: fake.NewPackages()}
	h.Offer("nginx", []string{"1.0", "2.0"}, "libssl")
	h.Offer("libssl", []string{"3.0", "3.1"})
	h.Offer("curl", []string{"8.0"}, "libssl")
	return h
}

func snapshot(t *testing.T, h executor.Host) any {
	t.Helper()
	all, err := h.Installed(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// withLeftovers is a snapshot that also tells what packages left that are gone.
func withLeftovers(t *testing.T, h executor.Host) any {
	t.Helper()
	left, err := h.Leftovers(t.Context(), []string{"nginx", "libssl", "curl"})
	if err != nil {
		t.Fatal(err)
	}
	return append(snapshot(t, h).([]executor.Package), executor.Package{Name: "left: " + strings.Join(left, " ")})
}

// have installs packages, name=version each, and holds those that end in "!".
func have(packages ...string) func(*testing.T, executor.Host) {
	return func(t *testing.T, h executor.Host) {
		t.Helper()
		for _, s := range packages {
			name, version, _ := strings.Cut(strings.TrimSuffix(s, "!"), "=")
			if err := h.ChangePackages(t.Context(), []executor.Package{{Name: name, Version: version}}, nil); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(s, "!") {
				if err := h.SetHold(t.Context(), name, true); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func withdraw(name string, before func(*testing.T, executor.Host)) func(*testing.T, executor.Host) {
	return func(t *testing.T, h executor.Host) {
		before(t, h)
		h.(host).Offer(name, []string{"2.0"}, "libssl")
	}
}

func TestInstalled(t *testing.T) {
	moduletest.Run(t, moduletest.Suite{
		Module: pkg.Modules()[0], Host: newHost, Snapshot: withLeftovers,
		Cases: []moduletest.Case{
			{Name: "absent", Params: executor.Params{"name": "nginx"}},
			{Name: "absent, its dependency there", Params: executor.Params{"name": "nginx"}, Setup: have("libssl=3.0")},
			{Name: "several", Params: executor.Params{"names": []any{"nginx", "curl", "nginx"}}},
			{Name: "any version there", Params: executor.Params{"name": "nginx"}, Setup: have("nginx=1.0"), Matches: true},
			{Name: "upgrade", Params: executor.Params{"name": "nginx", "version": "2.0"}, Setup: have("nginx=1.0")},
			{Name: "downgrade", Params: executor.Params{"name": "nginx", "version": "1.0"}, Setup: have("nginx")},
			{Name: "to be held", Params: executor.Params{"name": "nginx", "hold": true}},
			{Name: "held, not to be", Params: executor.Params{"name": "nginx", "hold": false}, Setup: have("nginx!")},
			{Name: "held at another version", Params: executor.Params{"name": "nginx", "version": "2.0"}, Setup: have("nginx=1.0!")},
			{Name: "held as asked", Params: executor.Params{"name": "nginx", "hold": true}, Setup: have("nginx!"), Matches: true},
			{Name: "old version gone", Params: executor.Params{"name": "nginx", "version": "2.0"},
				Setup: withdraw("nginx", have("nginx=1.0")), Irreversible: true},
		},
	})
}

var latestCases = []moduletest.Case{
	{Name: "absent", Params: executor.Params{"name": "nginx"}},
	{Name: "old", Params: executor.Params{"name": "nginx"}, Setup: have("nginx=1.0")},
	{Name: "several", Params: executor.Params{"names": []any{"nginx", "libssl"}}, Setup: have("nginx", "libssl=3.0")},
	{Name: "newest", Params: executor.Params{"name": "nginx", "max_age": "1h"}, Setup: have("nginx"), Matches: true},
	{Name: "held", Params: executor.Params{"name": "nginx"}, Setup: have("nginx=1.0!"), Matches: true},
	{Name: "its repository is gone", Params: executor.Params{"name": "nginx"}, Matches: true, Setup: func(t *testing.T, h executor.Host) {
		have("nginx=1.0")(t, h)
		h.(host).Withdraw("nginx")
	}},
	{Name: "old version gone", Params: executor.Params{"name": "nginx"}, Setup: withdraw("nginx", have("nginx=1.0")), Irreversible: true},
}

var removedCases = []moduletest.Case{
	{Name: "there", Params: executor.Params{"name": "nginx"}, Setup: have("nginx=1.0")},
	{Name: "held", Params: executor.Params{"name": "nginx"}, Setup: have("nginx!")},
	{Name: "what depends on it goes too", Params: executor.Params{"name": "libssl"}, Setup: have("nginx=1.0", "curl")},
	{Name: "one of several", Params: executor.Params{"names": []any{"curl", "nginx"}}, Setup: have("curl")},
	{Name: "absent", Params: executor.Params{"name": "nginx"}, Matches: true},
	{Name: "cannot be had again", Params: executor.Params{"name": "nginx"}, Setup: withdraw("nginx", have("nginx=1.0")), Irreversible: true},
}

func TestSeveralLatestAndRemoved(t *testing.T) {
	installed := []moduletest.Case{
		{Name: "held and upgraded", Params: executor.Params{"name": "nginx", "version": "2.0", "hold": true}, Setup: have("nginx=1.0!")},
		{Name: "several", Params: executor.Params{"names": []any{"nginx", "curl"}, "hold": true}, Setup: have("libssl=3.0")},
	}
	for i, cases := range [][]moduletest.Case{installed, latestCases, removedCases} {
		moduletest.Run(t, moduletest.Suite{Module: pkg.Modules()[i], Host: newHost, Snapshot: withLeftovers, Cases: cases})
	}
}

func TestRemovalNamesWhatGoesWithIt(t *testing.T) {
	h := newHost(t)
	have("nginx=1.0", "curl")(t, h)
	p := executor.Params{"name": "libssl"}
	change, err := pkg.Modules()[2].Check(t.Context(), h, nil, p)
	if want := "curl: 8.0 -> absent\nlibssl: 3.1 -> absent\nnginx: 1.0 -> absent\n"; err != nil || change.Diff != want {
		t.Errorf("got %q, %v", change.Diff, err)
	}
	out, err := pkg.Modules()[2].Apply(t.Context(), h, nil, p)
	if err != nil || !reflect.DeepEqual(out, change.Outputs) || len(out["removed"].([]any)) != 3 {
		t.Errorf("promised %v, gave %v, %v", change.Outputs, out, err)
	}
}

func TestLatestFetchesListsThatAreOld(t *testing.T) {
	h := newHost(t).(host)
	if _, err := pkg.Modules()[1].Check(t.Context(), h, nil, executor.Params{"name": "nginx", "max_age": "1h"}); err != nil {
		t.Fatal(err)
	}
	if got := h.Refreshes(); len(got) != 1 || got[0] != "" {
		t.Errorf("fetched %q", got)
	}
	// Without a network, the lists are those that there are.
	h.Fail = func(string) error { return errors.New("no network") }
	if change, err := pkg.Modules()[1].Check(t.Context(), h, nil, executor.Params{"name": "nginx"}); err != nil || !change.Needed {
		t.Errorf("%+v, %v", change, err)
	}
}

func TestHoldOutlastsAChangeOfVersion(t *testing.T) {
	h := newHost(t)
	have("nginx=1.0!")(t, h)
	out, err := pkg.Modules()[0].Apply(t.Context(), h, nil, executor.Params{"name": "nginx", "version": "2.0"})
	if err != nil {
		t.Fatal(err)
	}
	list, _ := h.Installed(t.Context(), []string{"nginx"})
	if len(list) != 1 || !list[0].Hold || list[0].Version != "2.0" || out["version"] != "2.0" {
		t.Errorf("got %+v, outputs %v", list, out)
	}
}

func TestDiffNamesEveryPackage(t *testing.T) {
	change, err := pkg.Modules()[0].Check(t.Context(), newHost(t), nil, executor.Params{"name": "nginx"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "libssl: absent -> 3.1\nnginx: absent -> 2.0\n"; change.Diff != want {
		t.Errorf("got %q", change.Diff)
	}
	if change.Outputs["version"] != "2.0" {
		t.Errorf("outputs %v", change.Outputs)
	}
}

func TestNoSuchPackage(t *testing.T) {
	for _, p := range []executor.Params{{"name": "nope"}, {"name": "nginx", "version": "9"}, {"names": []any{"curl", "nope"}}} {
		h := newHost(t)
		change, err := pkg.Modules()[0].Check(t.Context(), h, nil, p)
		var missing *executor.Missing
		if !errors.As(err, &missing) || !change.Needed || change.Diff == "" {
			t.Errorf("%v: %+v, %v", p, change, err)
		}
		if _, err := pkg.Modules()[0].Apply(t.Context(), h, nil, p); err == nil {
			t.Errorf("%v: applied", p)
		}
	}
}

// takenBack applies, lets something happen, and reverts.
func takenBack(t *testing.T, h executor.Host, p executor.Params, between func(*testing.T, executor.Host)) error {
	t.Helper()
	m := pkg.Modules()[0]
	undo, err := m.Capture(t.Context(), h, p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Apply(t.Context(), h, nil, p); err != nil {
		t.Fatal(err)
	}
	between(t, h)
	return m.Revert(t.Context(), h, p, undo)
}

func TestRevertSparesWhatOthersNeedByNow(t *testing.T) {
	h := newHost(t)
	if err := takenBack(t, h, executor.Params{"name": "nginx"}, have("curl")); err != nil {
		t.Fatal(err)
	}
	list, _ := h.Installed(t.Context(), nil)
	if len(list) != 2 || list[0].Name != "curl" || list[1].Name != "libssl" {
		t.Errorf("left %+v", list)
	}
}

func TestRevertRefusesToDragOthersAlong(t *testing.T) {
	h := newHost(t)
	err := takenBack(t, h, executor.Params{"name": "libssl"}, have("curl"))
	if err == nil || !strings.Contains(err.Error(), "curl") {
		t.Errorf("got %v", err)
	}
	if list, _ := h.Installed(t.Context(), nil); len(list) != 2 {
		t.Errorf("left %+v", list)
	}
}

func TestRevertLiftsAHoldThatCameLater(t *testing.T) {
	h := newHost(t)
	if err := takenBack(t, h, executor.Params{"name": "nginx"}, have("nginx!")); err != nil {
		t.Fatal(err)
	}
	if list, _ := h.Installed(t.Context(), nil); len(list) != 0 {
		t.Errorf("left %+v", list)
	}
}

// A removal that is killed at once has changed nothing but what is to become of the package.
func TestRevertKeepsWhatWasChosenToGo(t *testing.T) {
	for name, chosen := range map[string]bool{"by the run": false, "by somebody, before": true} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t).(host)
			have("nginx")(t, h)
			if chosen {
				h.Choose("nginx")
			}
			removed, p := pkg.Modules()[2], executor.Params{"name": "nginx"}
			undo, err := removed.Capture(t.Context(), h, p)
			if err != nil {
				t.Fatal(err)
			}
			h.Choose("nginx")
			if err := removed.Revert(t.Context(), h, p, undo); err != nil {
				t.Fatal(err)
			}
			if list, _ := h.Installed(t.Context(), []string{"nginx"}); len(list) != 1 || list[0].Leaving != chosen {
				t.Errorf("left %+v", list)
			}
		})
	}
}

func TestFailedTransactionIsAnError(t *testing.T) {
	h := newHost(t).(host)
	broken := errors.New("disk full")
	h.Fail = func(string) error { return broken }
	if _, err := pkg.Modules()[0].Apply(t.Context(), h, nil, executor.Params{"name": "nginx"}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestValidate(t *testing.T) {
	validate := pkg.Modules()[0].Function().Validate
	for _, c := range []struct {
		params map[string]any
		ok     bool
	}{
		{map[string]any{"name": "a"}, true},
		{map[string]any{"names": []any{"a"}}, true},
		{map[string]any{}, false},
		{map[string]any{"names": []any{}}, false},
		{map[string]any{"name": "a", "names": []any{"b"}}, false},
		{map[string]any{"names": []any{"b"}, "version": "1"}, false},
	} {
		if err := validate(c.params); (err == nil) != c.ok {
			t.Errorf("%v: %v", c.params, err)
		}
	}
}

// A state that left the tree is undone, and that undo is itself undone when its run fails.
func TestUndoOfARemoval(t *testing.T) {
	h := newHost(t)
	m, p := pkg.Modules()[0], executor.Params{"name": "nginx"}
	first, err := m.Capture(t.Context(), h, p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Apply(t.Context(), h, nil, p); err != nil {
		t.Fatal(err)
	}
	made := snapshot(t, h)
	second, err := m.Capture(t.Context(), h, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Revert(t.Context(), h, p, first); err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(snapshot(t, h), made) {
		t.Fatal("not removed")
	}
	if err := m.Revert(t.Context(), h, p, second); err != nil {
		t.Fatal(err)
	}
	if got := snapshot(t, h); !reflect.DeepEqual(got, made) {
		t.Errorf("was %+v, is %+v", made, got)
	}
}

func TestBatchIsOneTransaction(t *testing.T) {
	h := newHost(t).(host)
	have("curl")(t, h)
	transactions := 0
	h.Fail = func(operation string) error {
		if operation == "change packages" {
			transactions++
		}
		return nil
	}
	outputs, err := pkg.Modules()[0].(executor.Batcher).Batch(t.Context(), h, []executor.BatchPart{
		{Function: "installed", Params: executor.Params{"name": "nginx", "version": "1.0", "hold": true}},
		{Function: "latest", Params: executor.Params{"name": "libssl"}},
		{Function: "removed", Params: executor.Params{"name": "curl"}},
	})
	if err != nil || transactions != 1 {
		t.Fatalf("%d transactions, %v", transactions, err)
	}
	if outputs[0]["version"] != "1.0" || outputs[1]["version"] != "3.1" {
		t.Errorf("outputs %v", outputs)
	}
	want := []executor.Package{{Name: "libssl", Version: "3.1"}, {Name: "nginx", Version: "1.0", Hold: true}}
	if got := snapshot(t, h); !reflect.DeepEqual(got, want) {
		t.Errorf("installed %+v", got)
	}
}

func TestBatchThatCannotBeMadeChangesNothing(t *testing.T) {
	h := newHost(t)
	_, err := pkg.Modules()[0].(executor.Batcher).Batch(t.Context(), h, []executor.BatchPart{
		{Function: "installed", Params: executor.Params{"name": "nginx"}}, {Function: "installed", Params: executor.Params{"name": "nope"}},
	})
	if list := snapshot(t, h).([]executor.Package); err == nil || len(list) != 0 {
		t.Errorf("%v, left %+v", err, list)
	}
}
