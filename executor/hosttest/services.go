package hosttest

import (
	"testing"

	"shoal/executor"
)

// ServicesFixture is a service manager with units to play with.
type ServicesFixture struct {
	Services executor.Services
	// Unit is a service that exists, is stopped, disabled and not masked, and can be reloaded.
	Unit string
	// Fails is a service that exists and does not start; empty: the suite does not try.
	Fails string
	// NoMask, unless empty, says why nothing can be masked here: to ask for it is an error. NoSince: since when a service runs
	// cannot be told.
	NoMask, NoSince string
}

// since checks a time that this service manager may not tell.
func (f ServicesFixture) since(t *testing.T, ok bool, u executor.Unit, what string) {
	t.Helper()
	if f.NoSince != "" && u.Since != 0 {
		t.Errorf("%s, and it tells %d", f.NoSince, u.Since)
	}
	if f.NoSince == "" && !ok {
		t.Errorf("%s: %+v", what, u)
	}
}

// ServicesSuite is the conformance suite of executor.Services.
func ServicesSuite(t *testing.T, open func(t *testing.T) ServicesFixture) {
	for name, test := range map[string]func(*testing.T, ServicesFixture){
		"no such unit":       noSuchUnit,
		"start and stop":     startAndStop,
		"restart":            restart,
		"reload":             reload,
		"enable":             enable,
		"mask":               mask,
		"reload the manager": reloadManager,
		"does not start":     doesNotStart,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func unit(t *testing.T, s executor.Services, name string) executor.Unit {
	t.Helper()
	u, err := s.Unit(t.Context(), name)
	if err != nil {
		t.Fatalf("unit %s: %v", name, err)
	}
	return u
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func noSuchUnit(t *testing.T, f ServicesFixture) {
	if u := unit(t, f.Services, "shoal-none"); u.Exists || u.Active || u.Enabled || u.Masked {
		t.Errorf("got %+v", u)
	}
	if f.Services.StartUnit(t.Context(), "shoal-none") == nil {
		t.Error("started what does not exist")
	}
	if f.Services.EnableUnit(t.Context(), "shoal-none", true) == nil {
		t.Error("enabled what does not exist")
	}
}

func startAndStop(t *testing.T, f ServicesFixture) {
	ctx := t.Context()
	if u := unit(t, f.Services, f.Unit); !u.Exists || u.Active {
		t.Fatalf("at first %+v", u)
	}
	must(t, f.Services.StartUnit(ctx, f.Unit))
	first := unit(t, f.Services, f.Unit)
	if !first.Active {
		t.Errorf("started: %+v", first)
	}
	f.since(t, first.Since != 0, first, "started")
	must(t, f.Services.StartUnit(ctx, f.Unit))
	if again := unit(t, f.Services, f.Unit); again.Since != first.Since {
		t.Error("a start of what runs restarted it")
	}
	if long := unit(t, f.Services, f.Unit+".service"); !long.Active {
		t.Error("the long name is another unit")
	}
	must(t, f.Services.StopUnit(ctx, f.Unit))
	must(t, f.Services.StopUnit(ctx, f.Unit))
	if u := unit(t, f.Services, f.Unit); u.Active || u.Enabled {
		t.Errorf("stopped: %+v", u)
	}
}

func restart(t *testing.T, f ServicesFixture) {
	ctx := t.Context()
	must(t, f.Services.RestartUnit(ctx, f.Unit))
	first := unit(t, f.Services, f.Unit)
	if !first.Active {
		t.Errorf("a restart of what is stopped: %+v", first)
	}
	must(t, f.Services.RestartUnit(ctx, f.Unit))
	second := unit(t, f.Services, f.Unit)
	if !second.Active {
		t.Errorf("restarted: %+v, then %+v", first, second)
	}
	f.since(t, second.Since > first.Since, second, "restarted")
}

func reload(t *testing.T, f ServicesFixture) {
	ctx := t.Context()
	if f.Services.ReloadUnit(ctx, f.Unit) == nil {
		t.Error("reloaded what is stopped")
	}
	must(t, f.Services.StartUnit(ctx, f.Unit))
	before := unit(t, f.Services, f.Unit)
	must(t, f.Services.ReloadUnit(ctx, f.Unit))
	if after := unit(t, f.Services, f.Unit); after.Since != before.Since {
		t.Error("a reload restarted it")
	}
}

func enable(t *testing.T, f ServicesFixture) {
	ctx := t.Context()
	for _, on := range []bool{true, true, false, false} {
		must(t, f.Services.EnableUnit(ctx, f.Unit, on))
		if u := unit(t, f.Services, f.Unit); u.Enabled != on || u.Active {
			t.Errorf("enabled %v: %+v", on, u)
		}
	}
}

func mask(t *testing.T, f ServicesFixture) {
	ctx := t.Context()
	if f.NoMask != "" {
		if f.Services.MaskUnit(ctx, f.Unit, true) == nil {
			t.Errorf("masked, although %s", f.NoMask)
		}
		must(t, f.Services.MaskUnit(ctx, f.Unit, false))
		return
	}
	must(t, f.Services.EnableUnit(ctx, f.Unit, true))
	for range 2 {
		must(t, f.Services.MaskUnit(ctx, f.Unit, true))
	}
	if u := unit(t, f.Services, f.Unit); !u.Masked || u.Enabled {
		t.Errorf("masked: %+v", u)
	}
	if f.Services.StartUnit(ctx, f.Unit) == nil {
		t.Error("started what is masked")
	}
	for range 2 {
		must(t, f.Services.MaskUnit(ctx, f.Unit, false))
	}
	if u := unit(t, f.Services, f.Unit); u.Masked || !u.Enabled || !u.Exists {
		t.Errorf("unmasked: %+v", u)
	}
	must(t, f.Services.StartUnit(ctx, f.Unit))
}

func reloadManager(t *testing.T, f ServicesFixture) {
	must(t, f.Services.ReloadManager(t.Context()))
}

func doesNotStart(t *testing.T, f ServicesFixture) {
	if f.Fails == "" {
		return
	}
	if f.Services.StartUnit(t.Context(), f.Fails) == nil {
		t.Error("a start that failed is no error")
	}
	if u := unit(t, f.Services, f.Fails); u.Active {
		t.Errorf("got %+v", u)
	}
}
