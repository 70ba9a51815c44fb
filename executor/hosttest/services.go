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
	if !first.Active || first.Since == 0 {
		t.Errorf("started: %+v", first)
	}
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
	if second := unit(t, f.Services, f.Unit); !second.Active || second.Since <= first.Since {
		t.Errorf("restarted: %+v, then %+v", first, second)
	}
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
