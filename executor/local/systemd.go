package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"shoal/executor"
)

// The names of systemd on the bus (org.freedesktop.systemd1(5)).
const (
	systemdName    = "org.freedesktop.systemd1"
	systemdPath    = dbus.ObjectPath("/org/freedesktop/systemd1")
	managerMethods = systemdName + ".Manager."
	unitInterface  = systemdName + ".Unit"
	jobRemoved     = managerMethods + "JobRemoved"
)

// systemdPrivate is where systemd itself listens, for root alone and also where no bus runs.
const systemdPrivate = "unix:path=/run/systemd/private"

// logLines is how much of a failed service's log goes into the error.
const logLines = 10

var (
	errNoSystemd         = errors.New("systemd is not running on this machine")
	errServicesBelowRoot = errors.New("services are those of the machine itself, and there are none below --root: skip the state there with a condition (when)")
)

// Systemd is the service manager, reached over D-Bus. It is safe for use by several goroutines.
type Systemd struct {
	dial func(context.Context) (*dbus.Conn, error)
	// log returns the last lines that a unit wrote; empty when they cannot be had.
	log func(ctx context.Context, unit string) string

	mu   sync.Mutex
	conn *dbus.Conn
}

// NewSystemd returns the services of the machine whose root folder that is; "" is "/". Below any other there are none, and
// everything is an error. Close it.
func NewSystemd(root string) *Systemd {
	s := &Systemd{dial: dialSystemd, log: journal}
	if root != "" && root != "/" {
		s.dial = func(context.Context) (*dbus.Conn, error) { return nil, errServicesBelowRoot }
	}
	return s
}

// Close ends the connection, if there is one.
func (s *Systemd) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}

func dialSystemd(ctx context.Context) (*dbus.Conn, error) {
	// The test of sd_booted(3).
	if _, err := os.Lstat("/run/systemd/system"); err != nil {
		return nil, errNoSystemd
	}
	// The connection outlives the call for which it is made, so that it must not end with that call's context.
	conn, err := SystemBus(ctx)
	if err == nil || os.Geteuid() != 0 {
		return conn, err
	}
	private, privateErr := dbus.Dial(systemdPrivate)
	if privateErr != nil {
		return nil, errors.Join(err, privateErr)
	}
	// No Hello: there is no bus at the other end.
	if err := private.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))}); err != nil {
		private.Close()
		return nil, err
	}
	return private, nil
}

// SystemBus opens a connection of its own to the bus of the machine. It outlives ctx.
func SystemBus(context.Context) (*dbus.Conn, error) { return dbus.ConnectSystemBus() }

// connected returns the one connection, made anew when systemd or the bus was started again.
func (s *Systemd) connected(ctx context.Context) (*dbus.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil && s.conn.Connected() {
		return s.conn, nil
	}
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("reach the service manager: %w", err)
	}
	// systemd sends the ends of jobs to subscribers. Over the private socket there is no bus to match signals, and they come
	// anyway.
	_ = conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface(systemdName+".Manager"), dbus.WithMatchMember("JobRemoved"))
	if err := conn.Object(systemdName, systemdPath).CallWithContext(ctx, managerMethods+"Subscribe", 0).Err; err != nil {
		conn.Close()
		return nil, fmt.Errorf("subscribe to the service manager: %w", err)
	}
	s.conn = conn
	return conn, nil
}

// call runs one method of the manager. results are pointers.
func (s *Systemd) call(ctx context.Context, method string, args []any, results ...any) error {
	conn, err := s.connected(ctx)
	if err != nil {
		return err
	}
	return conn.Object(systemdName, systemdPath).CallWithContext(ctx, managerMethods+method, 0, args...).Store(results...)
}

// properties of a unit, which systemd loads if need be.
func (s *Systemd) properties(ctx context.Context, name string) (map[string]dbus.Variant, error) {
	var path dbus.ObjectPath
	if err := s.call(ctx, "LoadUnit", []any{executor.UnitName(name)}, &path); err != nil {
		return nil, err
	}
	conn, err := s.connected(ctx)
	if err != nil {
		return nil, err
	}
	var all map[string]dbus.Variant
	err = conn.Object(systemdName, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.GetAll", 0, unitInterface).Store(&all)
	return all, err
}

// Unit implements executor.Services.
func (s *Systemd) Unit(ctx context.Context, name string) (executor.Unit, error) {
	all, err := s.properties(ctx, name)
	if err != nil {
		return executor.Unit{}, fmt.Errorf("look up unit %s: %w", executor.UnitName(name), err)
	}
	state, err := s.fileState(ctx, name)
	if err != nil {
		return executor.Unit{}, fmt.Errorf("look up the file of unit %s: %w", executor.UnitName(name), err)
	}
	return unitOf(all, state), nil
}

// fileState reads the disk. The property of the same name is what the manager saw when it last looked: it misses the
// symlinks of one who died before the reload that follows them.
func (s *Systemd) fileState(ctx context.Context, name string) (string, error) {
	var state string
	err := s.call(ctx, "GetUnitFileState", []any{executor.UnitName(name)}, &state)
	if answer := (dbus.Error{}); errors.As(err, &answer) {
		return "", nil // there is no file, or none that can be read
	}
	return state, err
}

func unitOf(all map[string]dbus.Variant, file string) executor.Unit {
	text := func(property string) string { s, _ := all[property].Value().(string); return s }
	load, active := text("LoadState"), text("ActiveState")
	u := executor.Unit{
		Exists:  load != "" && load != "not-found",
		Active:  active == "active" || active == "reloading",
		Enabled: file == "enabled",
		Masked:  strings.HasPrefix(file, "masked"),
		Unread:  text("UnitFileState") != file || (load == "masked") != strings.HasPrefix(file, "masked"),
	}
	if u.Active {
		u.Since, _ = all["ActiveEnterTimestampMonotonic"].Value().(uint64)
	}
	return u
}

// StartUnit implements executor.Services.
func (s *Systemd) StartUnit(ctx context.Context, name string) error {
	return s.job(ctx, "StartUnit", "start", name)
}

// StopUnit implements executor.Services.
func (s *Systemd) StopUnit(ctx context.Context, name string) error {
	return s.job(ctx, "StopUnit", "stop", name)
}

// RestartUnit implements executor.Services.
func (s *Systemd) RestartUnit(ctx context.Context, name string) error {
	return s.job(ctx, "RestartUnit", "restart", name)
}

// ReloadUnit implements executor.Services.
func (s *Systemd) ReloadUnit(ctx context.Context, name string) error {
	return s.job(ctx, "ReloadUnit", "reload", name)
}

// job queues a job and waits for its end. Unit files that changed on disk are read first, as no one wants the old ones.
func (s *Systemd) job(ctx context.Context, method, verb, name string) error {
	name = executor.UnitName(name)
	if err := s.readChanged(ctx, name); err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	conn, err := s.connected(ctx)
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	// Before the job is queued, as its end may come before the answer.
	signals := make(chan *dbus.Signal, 64)
	conn.Signal(signals)
	defer conn.RemoveSignal(signals)
	var queued dbus.ObjectPath
	err = conn.Object(systemdName, systemdPath).CallWithContext(ctx, managerMethods+method, 0, name, "replace").Store(&queued)
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	result, err := waitForJob(ctx, signals, queued)
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	if result == "done" {
		return nil
	}
	if lines := s.lastWords(ctx, name); lines != "" {
		return fmt.Errorf("%s %s: job %s; the last that it logged:\n%s", verb, name, result, lines)
	}
	return fmt.Errorf("%s %s: job %s", verb, name, result)
}

// waitForJob returns done, or why not: canceled, timeout, failed, dependency, skipped.
func waitForJob(ctx context.Context, signals <-chan *dbus.Signal, job dbus.ObjectPath) (string, error) {
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case signal, open := <-signals:
			if !open {
				return "", errors.New("the service manager closed the connection before the job was done")
			}
			var id uint32
			var path dbus.ObjectPath
			var unit, result string
			if signal.Name != jobRemoved || dbus.Store(signal.Body, &id, &path, &unit, &result) != nil || path != job {
				continue
			}
			return result, nil
		}
	}
}

func (s *Systemd) readChanged(ctx context.Context, name string) error {
	all, err := s.properties(ctx, name)
	if err != nil {
		return err
	}
	if changed, _ := all["NeedDaemonReload"].Value().(bool); changed {
		return s.ReloadManager(ctx)
	}
	return nil
}

// EnableUnit implements executor.Services.
func (s *Systemd) EnableUnit(ctx context.Context, name string, enabled bool) error {
	name = executor.UnitName(name)
	var changes []unitFileChange
	if !enabled {
		err := s.call(ctx, "DisableUnitFiles", []any{[]string{name}, false}, &changes)
		return s.reloadAfter(ctx, "disable", name, err)
	}
	var installable bool
	err := s.call(ctx, "EnableUnitFiles", []any{[]string{name}, false, false}, &installable, &changes)
	if err == nil && !installable {
		err = errors.New("its unit file has no [Install] section: it is started by something else or not at all")
	}
	return s.reloadAfter(ctx, "enable", name, err)
}

// unitFileChange is one symlink that was made or removed.
type unitFileChange struct{ Type, File, Destination string }

// MaskUnit implements executor.Services. An unmask also lifts a mask that would end with the next boot.
func (s *Systemd) MaskUnit(ctx context.Context, name string, masked bool) error {
	name = executor.UnitName(name)
	var changes []unitFileChange
	if masked {
		err := s.call(ctx, "MaskUnitFiles", []any{[]string{name}, false, false}, &changes)
		return s.reloadAfter(ctx, "mask", name, err)
	}
	err := s.call(ctx, "UnmaskUnitFiles", []any{[]string{name}, false}, &changes)
	if err == nil {
		err = s.call(ctx, "UnmaskUnitFiles", []any{[]string{name}, true}, &changes)
	}
	return s.reloadAfter(ctx, "unmask", name, err)
}

// reloadAfter makes systemd see the symlinks that it has just changed: it keeps what it read before.
func (s *Systemd) reloadAfter(ctx context.Context, verb, name string, err error) error {
	if err == nil {
		err = s.ReloadManager(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	return nil
}

// ReloadManager implements executor.Services.
func (s *Systemd) ReloadManager(ctx context.Context) error {
	if err := s.call(ctx, "Reload", nil); err != nil {
		return fmt.Errorf("reload the service manager: %w", err)
	}
	return nil
}

// lastWords is the end of a failed service's log. The journal may get it after the failure: it is given a moment.
func (s *Systemd) lastWords(ctx context.Context, unit string) (lines string) {
	for wait := 20 * time.Millisecond; ; wait *= 2 {
		if lines = s.log(ctx, unit); lines != "" || wait > 400*time.Millisecond {
			return lines
		}
		select {
		case <-ctx.Done():
			return ""
		case <-time.After(wait):
		}
	}
}

func journal(ctx context.Context, unit string) string {
	return lastLines(exec.CommandContext(ctx, "journalctl", journalArgs(unit)...))
}

func journalArgs(unit string) []string {
	return []string{"--quiet", "--no-pager", "--output=cat", "--lines=" + strconv.Itoa(logLines), "--unit=" + unit}
}

func lastLines(cmd *exec.Cmd) string {
	out, err := cmd.Output()
	if err != nil {
		return "" // the failure of the job is what matters
	}
	return strings.TrimSpace(string(out))
}
