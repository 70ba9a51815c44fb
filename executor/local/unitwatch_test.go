package local

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// watchUnits watches units of a systemd, and returns when their signals come.
func watchUnits(t *testing.T, s *Systemd) *UnitWatcher {
	t.Helper()
	on := make(chan struct{}, 10)
	w := startUnitWatcher(&UnitWatcher{
		dial: s.dial, again: time.Millisecond, warn: func(err error) { t.Error(err) },
		watching: func() { on <- struct{}{} },
	})
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-on:
	case <-time.After(patience):
		t.Fatal("no signals")
	}
	return w
}

// patience is for what takes milliseconds on an idle machine.
const patience = 30 * time.Second

func told(t *testing.T, w *UnitWatcher, want string) {
	t.Helper()
	select {
	case got := <-w.Drift():
		if !slices.Equal(got, []string{want}) {
			t.Errorf("told %s, want %s", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("%s: nothing was told", want)
	}
}

// drain takes what is told until a unit that is watched last was told: signals come in their order.
func drain(t *testing.T, w *UnitWatcher, last string) (before []string) {
	t.Helper()
	for {
		select {
		case got := <-w.Drift():
			before = append(before, slices.DeleteFunc(slices.Clone(got), func(name string) bool { return name == last })...)
			if slices.Contains(got, last) {
				return before
			}
		case <-time.After(patience):
			t.Fatalf("%s: nothing was told", last)
		}
	}
}

// Who starts, stops, enables, masks or kills a managed unit is noticed; who does so to another is not.
func TestUnitsAreWatched(t *testing.T) {
	o := startSystemd(t)
	for name, s := range map[string]*Systemd{
		"bus": o.over(o.proc("/run/dbus/system_bus_socket"), true), "private": o.over(o.relay(t), false),
	} {
		t.Run(name, func(t *testing.T) {
			defer s.Close()
			w := watchUnits(t, s)
			mine, other, last, fresh := o.unit(t, goodService), o.unit(t, goodService), o.unit(t, goodService), o.unit(t, goodService)
			w.Watch([]string{mine, last + ".service", fresh})
			for _, step := range []struct {
				name string
				do   func(context.Context, string) error
			}{
				{"start", s.StartUnit}, {"stop", s.StopUnit},
			} {
				if err := step.do(t.Context(), mine); err != nil {
					t.Fatal(err)
				}
				told(t, w, mine)
			}
			if err := errors.Join(s.StartUnit(t.Context(), other), s.StopUnit(t.Context(), other), s.StartUnit(t.Context(), last)); err != nil {
				t.Fatal(err)
			}
			for _, got := range drain(t, w, last+".service") {
				if got != mine { // its end may be told once more when it is unloaded
					t.Errorf("told %s", got)
				}
			}
			// A look at one that does not run makes systemd load and forget it: that is no drift, or checks would follow
			// checks for ever.
			for range 20 {
				for _, name := range []string{mine, fresh} {
					if _, err := s.Unit(t.Context(), name); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := s.StopUnit(t.Context(), last); err != nil {
				t.Fatal(err)
			}
			if before := drain(t, w, last+".service"); len(before) > 0 {
				t.Errorf("told %v", before)
			}
			if err := s.EnableUnit(t.Context(), mine, true); err != nil {
				t.Fatal(err)
			}
			drain(t, w, mine)
		})
	}
}

// What happened while the connection was lost is not known: all that is watched is told.
func TestUnitsAfterALostConnection(t *testing.T) {
	o := startSystemd(t)
	s := o.over(o.proc("/run/dbus/system_bus_socket"), true)
	conns := make(chan *dbus.Conn, 10)
	dial := s.dial
	s.dial = func(ctx context.Context) (*dbus.Conn, error) {
		conn, err := dial(ctx)
		if err == nil {
			conns <- conn
		}
		return conn, err
	}
	w := watchUnits(t, s)
	w.Watch([]string{"a", "b"})
	(<-conns).Close()
	got := map[string]bool{}
	for len(got) < 2 {
		select {
		case names := <-w.Drift():
			for _, name := range names {
				got[name] = true
			}
		case <-time.After(patience):
			t.Fatalf("told %v alone", got)
		}
	}
	if !got["a"] || !got["b"] {
		t.Errorf("told %v", got)
	}
}

// Without a systemd it says so once, and goes on trying.
func TestUnitsWithoutSystemd(t *testing.T) {
	tries, warned := make(chan struct{}, 100), make(chan error, 100)
	w := startUnitWatcher(&UnitWatcher{
		again: time.Millisecond, warn: func(err error) { warned <- err },
		dial: func(context.Context) (*dbus.Conn, error) {
			select {
			case tries <- struct{}{}:
			default:
			}
			return nil, errNoSystemd
		},
	})
	for range 5 {
		<-tries
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-warned; !errors.Is(err, errNoSystemd) || len(warned) > 0 {
		t.Errorf("%v, and %d more", err, len(warned))
	}
}

func TestMoved(t *testing.T) {
	body := func(of string, changed map[string]dbus.Variant) []any { return []any{of, changed, []string{}} }
	state := func(s string) map[string]dbus.Variant {
		return map[string]dbus.Variant{"ActiveState": dbus.MakeVariant(s)}
	}
	for _, c := range []struct {
		body []any
		want string
	}{
		{body(unitInterface, state("inactive")), "inactive"},
		{body(unitInterface, state("deactivating")), "deactivating"},
		{body(systemdName+".Service", state("active")), ""},
		{body(unitInterface, map[string]dbus.Variant{"Job": dbus.MakeVariant(uint32(1))}), ""},
		{[]any{"garbage"}, ""},
	} {
		if got, ok := moved(c.body); got != c.want || ok != (c.want != "") {
			t.Errorf("%v: %q", c.body, got)
		}
	}
}

// TestForgottenUnitIsNoDrift: systemd loads a unit that does not run when a check looks at it, and tells that it forgets it soon
// after. Were that drift, each check would lead to the next.
func TestForgottenUnitIsNoDrift(t *testing.T) {
	w := &UnitWatcher{units: map[dbus.ObjectPath]string{}, states: map[dbus.ObjectPath]string{}}
	w.Watch([]string{"web", "db"})
	path := func(name string) dbus.ObjectPath { return dbus.ObjectPath(unitPaths + name + "_2eservice") }
	moves := func(name, state string) *dbus.Signal {
		return &dbus.Signal{Path: path(name), Name: propertiesChanged, Body: []any{
			unitInterface, map[string]dbus.Variant{"ActiveState": dbus.MakeVariant(state)}, []string{},
		}}
	}
	forgets := func(name string) *dbus.Signal {
		return &dbus.Signal{Path: systemdPath, Name: unitRemoved, Body: []any{name + ".service", path(name)}}
	}
	for n, step := range []struct {
		signal *dbus.Signal
		told   string
	}{
		{forgets("web"), ""}, {forgets("web"), ""}, // looked at before anything was told of it
		{moves("web", "activating"), ""}, {moves("web", "active"), "web"}, {moves("web", "active"), ""},
		{moves("web", "inactive"), "web"}, {forgets("web"), ""}, {forgets("web"), ""}, {forgets("other"), ""},
		{moves("web", "active"), "web"}, {forgets("web"), "web"}, // it ended, and its end was not told
		{forgets("web"), ""}, {moves("db", "inactive"), "db"}, {forgets("db"), ""},
	} {
		pending := map[string]bool{}
		w.take(step.signal, pending)
		if got := pending[step.told]; len(pending) > 1 || step.told != "" && !got || step.told == "" && len(pending) > 0 {
			t.Errorf("step %d: told %v, want %q", n, pending, step.told)
		}
	}
}
