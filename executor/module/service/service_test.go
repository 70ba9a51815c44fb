package service_test

import (
	"errors"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/service"
	"shoal/executor/moduletest"
)

// TestMain: every function of the package has a conformance suite.
func TestMain(m *testing.M) { moduletest.Main(m, service.Modules()) }

type host struct {
	executor.Fetcher
	executor.Files
	executor.Commands
	executor.Packages
	executor.Accounts
	*fake.Services
}

func newHost(*testing.T) executor.Host {
	h := host{Services: fake.NewServices()}
	h.Add("web")
	h.Add("db")
	return h
}

// snapshot leaves out when a unit was started: a start cannot be taken back, whether it runs can.
func snapshot(t *testing.T, h executor.Host) any {
	t.Helper()
	units := map[string]executor.Unit{}
	for _, name := range []string{"web", "db", "none"} {
		u, err := h.Unit(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		u.Since = 0
		units[name] = u
	}
	return units
}

func module(t *testing.T, name string) executor.Module {
	t.Helper()
	for _, m := range service.Modules() {
		if m.Function().Name == name {
			return m
		}
	}
	t.Fatalf("no service.%s", name)
	return nil
}

// do brings web to a state by a list of operations.
func do(operations ...string) func(*testing.T, executor.Host) {
	return func(t *testing.T, h executor.Host) {
		t.Helper()
		for _, o := range operations {
			var err error
			switch o {
			case "start":
				err = h.StartUnit(t.Context(), "web")
			case "enable":
				err = h.EnableUnit(t.Context(), "web", true)
			case "mask":
				err = h.MaskUnit(t.Context(), "web", true)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestStates(t *testing.T) {
	web := executor.Params{"name": "web"}
	on, off := executor.Params{"name": "web", "enabled": true}, executor.Params{"name": "web", "enabled": false}
	for function, cases := range map[string][]moduletest.Case{
		"running": {
			{Name: "stopped", Params: web},
			{Name: "stopped, to be enabled", Params: on},
			{Name: "runs, to be enabled", Params: on, Setup: do("start")},
			{Name: "runs, to be disabled", Params: off, Setup: do("start", "enable")},
			{Name: "runs", Params: web, Setup: do("start"), Matches: true},
			{Name: "runs and enabled", Params: on, Setup: do("start", "enable"), Matches: true},
			{Name: "masked", Params: on, Setup: do("enable", "mask")},
		},
		"stopped": {
			{Name: "runs", Params: web, Setup: do("start", "enable")},
			{Name: "runs, to be disabled", Params: off, Setup: do("start", "enable")},
			{Name: "stopped", Params: web, Matches: true},
			{Name: "masked", Params: web, Setup: do("mask"), Matches: true},
		},
		"enabled": {
			{Name: "disabled", Params: web},
			{Name: "disabled and runs", Params: web, Setup: do("start")},
			{Name: "enabled", Params: web, Setup: do("enable"), Matches: true},
			{Name: "masked", Params: web, Setup: do("mask")},
		},
		"disabled": {
			{Name: "enabled", Params: web, Setup: do("start", "enable")},
			{Name: "disabled", Params: web, Matches: true},
			{Name: "masked", Params: web, Setup: do("enable", "mask"), Matches: true},
		},
		"masked": {
			{Name: "runs", Params: web, Setup: do("start", "enable")},
			{Name: "no such unit", Params: executor.Params{"name": "none"}},
			{Name: "masked", Params: web, Setup: do("mask"), Matches: true},
		},
		"restarted": {
			{Name: "runs", Params: web, Setup: do("start")},
			{Name: "stopped", Params: on},
			{Name: "masked", Params: web, Setup: do("mask")},
		},
		"reloaded": {
			{Name: "runs", Params: web, Setup: do("start")},
			{Name: "stopped", Params: web},
		},
	} {
		t.Run(function, func(t *testing.T) {
			moduletest.Run(t, moduletest.Suite{Module: module(t, function), Host: newHost, Snapshot: snapshot, Cases: cases})
		})
	}
}

func TestRestartAndReloadReachTheService(t *testing.T) {
	h := newHost(t).(host)
	do("start")(t, h)
	before, _ := h.Unit(t.Context(), "web")
	if _, err := module(t, "restarted").Apply(t.Context(), h, nil, executor.Params{"name": "web"}); err != nil {
		t.Fatal(err)
	}
	after, _ := h.Unit(t.Context(), "web")
	if after.Since <= before.Since {
		t.Error("not restarted")
	}
	if _, err := module(t, "reloaded").Apply(t.Context(), h, nil, executor.Params{"name": "web"}); err != nil {
		t.Fatal(err)
	}
	again, _ := h.Unit(t.Context(), "web")
	if h.Reloads("web") != 1 || again.Since != after.Since {
		t.Errorf("%d reloads, since %d then %d", h.Reloads("web"), after.Since, again.Since)
	}
}

func TestSettleActsOnWhatRuns(t *testing.T) {
	h := newHost(t).(host)
	settler := module(t, "restarted").(executor.Settler)
	if err := settler.Settle(t.Context(), h, executor.Params{"name": "web"}); err != nil {
		t.Fatal(err)
	}
	if u, _ := h.Unit(t.Context(), "web"); u.Active {
		t.Error("started what was stopped")
	}
	do("start")(t, h)
	before, _ := h.Unit(t.Context(), "web")
	if err := settler.Settle(t.Context(), h, executor.Params{"name": "web"}); err != nil {
		t.Fatal(err)
	}
	if u, _ := h.Unit(t.Context(), "web"); u.Since == before.Since {
		t.Error("not restarted")
	}
}

func TestNoSuchUnit(t *testing.T) {
	for _, name := range []string{"running", "enabled", "restarted", "reloaded"} {
		change, err := module(t, name).Check(t.Context(), newHost(t), nil, executor.Params{"name": "none"})
		var missing *executor.Missing
		if !errors.As(err, &missing) || !change.Needed {
			t.Errorf("%s: %+v, %v", name, change, err)
		}
	}
	for _, name := range []string{"stopped", "disabled"} {
		change, err := module(t, name).Check(t.Context(), newHost(t), nil, executor.Params{"name": "none"})
		if err != nil || change.Needed {
			t.Errorf("%s: %+v, %v", name, change, err)
		}
	}
}

// A service that cannot be started again in a rollback is still enabled as it was.
func TestRevertGoesOnAfterAFailure(t *testing.T) {
	h := newHost(t).(host)
	do("start", "enable")(t, h)
	m, p := module(t, "stopped"), executor.Params{"name": "web", "enabled": false}
	undo, err := m.Capture(t.Context(), h, p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Apply(t.Context(), h, nil, p); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("will not start")
	h.Fail = func(operation, _ string) error {
		if operation == "start" {
			return broken
		}
		return nil
	}
	if err := m.Revert(t.Context(), h, p, undo); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if u, _ := h.Unit(t.Context(), "web"); !u.Enabled {
		t.Error("not enabled again")
	}
}

func TestFunctions(t *testing.T) {
	for _, m := range service.Modules() {
		f := m.Function()
		if f.Reaction != "" {
			module(t, f.Reaction)
		}
		for _, bad := range []string{"", "a b", "-x", "a/b", "a*"} {
			if f.Validate(map[string]any{"name": bad}) == nil {
				t.Errorf("%s takes the name %q", f.FullName(), bad)
			}
		}
	}
}
