package local

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	systemddbus "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"shoal/executor"
)

const (
	unitPaths          = string(systemdPath) + "/unit/"
	propertiesChanged  = "org.freedesktop.DBus.Properties.PropertiesChanged"
	unitRemoved        = managerMethods + "UnitRemoved"
	unitFilesChanged   = managerMethods + "UnitFilesChanged"
	reconnectUnitsTime = 5 * time.Second
)

// UnitWatcher tells which managed services somebody started, stopped, enabled, disabled or masked, by the signals of
// systemd. Where there is no systemd, or none to be reached, it says so once and tries again from time to time: the full check
// finds such drift meanwhile. What shoal changes itself is told too, as of Watcher.
type UnitWatcher struct {
	dial  func(context.Context) (*dbus.Conn, error)
	warn  func(error)
	again time.Duration // between two tries to connect
	// watching is told when the signals come.
	watching func()

	mu    sync.Mutex
	units map[dbus.ObjectPath]string // by their paths on the bus
	// states are those that the signals told last; of a unit that none was about, none.
	states map[dbus.ObjectPath]string

	drift chan []string
	quit  context.CancelFunc
	done  sync.WaitGroup
}

// NewUnitWatcher starts a watcher of the units of s; warn is called, from its goroutine, when their signals cannot be had. Close
// it.
func NewUnitWatcher(s *Systemd, warn func(error)) *UnitWatcher {
	return startUnitWatcher(&UnitWatcher{dial: s.dial, warn: warn, again: reconnectUnitsTime})
}

func startUnitWatcher(w *UnitWatcher) *UnitWatcher {
	ctx, quit := context.WithCancel(context.Background())
	w.units, w.states, w.drift, w.quit = map[dbus.ObjectPath]string{}, map[dbus.ObjectPath]string{}, make(chan []string), quit
	w.done.Add(1)
	go w.run(ctx)
	return w
}

// Watch replaces the list of watched services. A change from before it returned may not be told: check after it.
func (w *UnitWatcher) Watch(names []string) {
	units := make(map[dbus.ObjectPath]string, len(names))
	for _, name := range names {
		units[dbus.ObjectPath(unitPaths+systemddbus.PathBusEscape(executor.UnitName(name)))] = name
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.units = units
	maps.DeleteFunc(w.states, func(path dbus.ObjectPath, _ string) bool { return units[path] == "" })
}

// Drift gives all services that were touched since it was read last, each once, sorted.
func (w *UnitWatcher) Drift() <-chan []string { return w.drift }

// Close stops the watcher; Drift gives nothing more.
func (w *UnitWatcher) Close() error {
	w.quit()
	w.done.Wait()
	return nil
}

// run keeps a connection of its own, so that a burst of signals is in nobody's way.
func (w *UnitWatcher) run(ctx context.Context) {
	defer w.done.Done()
	warned, lost := false, false
	for ctx.Err() == nil {
		conn, err := w.subscribe(ctx)
		if err == nil {
			warned = false
			w.follow(ctx, conn, lost)
			lost = true
			continue
		}
		if !warned && ctx.Err() == nil {
			warned = true
			w.warn(fmt.Errorf("services are looked at with the full check alone: %w", err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(w.again):
		}
	}
}

// subscribe asks for the signals of units. Over the private socket there is no bus to match them, and all come.
func (w *UnitWatcher) subscribe(ctx context.Context) (*dbus.Conn, error) {
	conn, err := w.dial(ctx)
	if err != nil {
		return nil, err
	}
	for _, match := range [][]dbus.MatchOption{
		{dbus.WithMatchInterface("org.freedesktop.DBus.Properties"), dbus.WithMatchPathNamespace(systemdPath + "/unit"), dbus.WithMatchArg(0, unitInterface)},
		{dbus.WithMatchInterface(systemdName + ".Manager"), dbus.WithMatchMember("UnitRemoved")},
		{dbus.WithMatchInterface(systemdName + ".Manager"), dbus.WithMatchMember("UnitFilesChanged")},
	} {
		_ = conn.AddMatchSignalContext(ctx, match...)
	}
	if err := conn.Object(systemdName, systemdPath).CallWithContext(ctx, managerMethods+"Subscribe", 0).Err; err != nil {
		conn.Close()
		return nil, fmt.Errorf("subscribe to the service manager: %w", err)
	}
	return conn, nil
}

// follow takes signals until the connection ends. It never waits for who reads Drift: a unit that is told already is told
// once. lost: there was a connection before, and what happened in between is not known.
func (w *UnitWatcher) follow(ctx context.Context, conn *dbus.Conn, lost bool) {
	defer conn.Close()
	signals := make(chan *dbus.Signal, 1024)
	conn.Signal(signals)
	if w.watching != nil {
		w.watching()
	}
	pending := map[string]bool{}
	if lost {
		w.all(pending)
	}
	for {
		var out chan []string
		var touched []string
		if len(pending) > 0 {
			out, touched = w.drift, slices.Sorted(maps.Keys(pending))
		}
		select {
		case <-ctx.Done():
			return
		case signal, open := <-signals:
			if !open {
				return
			}
			w.take(signal, pending)
		case out <- touched:
			clear(pending)
		}
	}
}

func (w *UnitWatcher) all(pending map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range w.units {
		pending[name] = true
	}
}

// take notes what a signal is about, if it is managed.
func (w *UnitWatcher) take(signal *dbus.Signal, pending map[string]bool) {
	switch signal.Name {
	case unitFilesChanged: // it does not say which: enabled, disabled, masked
		w.all(pending)
	case propertiesChanged:
		if state, ok := moved(signal.Body); ok {
			w.note(signal.Path, state, true, pending)
		}
	case unitRemoved:
		var unit string
		var path dbus.ObjectPath
		if dbus.Store(signal.Body, &unit, &path) == nil {
			w.note(path, "inactive", false, pending)
		}
	}
}

// note tells a unit unless it stands where it stood: systemd forgets one that does not run each time that somebody, such as a
// check, has looked at it. told: the state is what a signal said, and not what its being forgotten means.
func (w *UnitWatcher) note(path dbus.ObjectPath, state string, told bool, pending map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name, ok := w.units[path]
	before := w.states[path]
	if !ok || before == state || before == "" && !told {
		return
	}
	w.states[path] = state
	if !onItsWay(state) {
		pending[name] = true
	}
}

// onItsWay: a unit in this state tells once more, when it has arrived.
func onItsWay(state string) bool {
	return slices.Contains([]string{"activating", "deactivating", "reloading"}, state)
}

// moved is the state that a signal says a unit has come to.
func moved(body []any) (state string, ok bool) {
	var of string
	var changed map[string]dbus.Variant
	var invalid []string
	if dbus.Store(body, &of, &changed, &invalid) != nil || of != unitInterface {
		return "", false
	}
	state, ok = changed["ActiveState"].Value().(string)
	return state, ok
}
