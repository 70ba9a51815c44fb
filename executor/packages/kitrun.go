package packages

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	// kitSignals is how many signals may wait to be read; a list of all packages is many.
	kitSignals = 1024
	// kitPackages is the most packages of one answer.
	kitPackages = 1 << 20
	// kitCancel is how long a transaction that is cancelled may take to end in order.
	kitCancel = time.Minute
)

// kitError is a transaction that PackageKit could not do.
type kitError struct {
	code    uint32
	details string
	exit    uint32
}

func (e *kitError) Error() string {
	if e.details == "" {
		return fmt.Sprintf("PackageKit: it failed (exit %d) and said nothing", e.exit)
	}
	return "PackageKit: " + lastLines(strings.ReplaceAll(e.details, "\r", ""))
}

// run does one transaction and returns the packages that it told.
func (k *PackageKit) run(ctx context.Context, method string, args ...any) ([]kitPackage, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	conn, err := k.connect(ctx)
	if err != nil {
		return nil, err
	}
	var path dbus.ObjectPath
	if err := conn.Object(kitName, kitPath).CallWithContext(ctx, kitName+".CreateTransaction", 0).Store(&path); err != nil {
		return nil, fmt.Errorf("PackageKit: %w", err)
	}
	match := dbus.WithMatchObjectPath(path)
	if err := conn.AddMatchSignalContext(ctx, match); err != nil {
		return nil, fmt.Errorf("PackageKit: %w", err)
	}
	signals := make(chan *dbus.Signal, kitSignals)
	conn.Signal(signals)
	defer func() {
		conn.RemoveSignal(signals)
		_ = conn.RemoveMatchSignal(match) // the transaction is over
	}()
	object := conn.Object(kitName, path)
	if err := object.CallWithContext(ctx, kitTransaction+".SetHints", 0, []string{"locale=C", "background=false", "interactive=false"}).Err; err != nil {
		return nil, fmt.Errorf("PackageKit: %w", err)
	}
	if err := object.CallWithContext(ctx, kitTransaction+"."+method, 0, args...).Err; err != nil {
		return nil, fmt.Errorf("PackageKit: %s: %w", method, err)
	}
	return k.await(ctx, path, object, signals)
}

// await reads what a transaction says until it is over.
func (k *PackageKit) await(ctx context.Context, path dbus.ObjectPath, object dbus.BusObject, signals <-chan *dbus.Signal) (all []kitPackage, err error) {
	var failure *kitError
	done, wait := ctx.Done(), k.tool.patience()
	var giveUp, locked <-chan time.Time
	var waited error
	cancel := func() {
		_ = object.Call(kitTransaction+".Cancel", dbus.FlagNoReplyExpected).Err // one that cannot be cancelled ends by itself
		giveUp = time.After(kitCancel)
	}
	for {
		select {
		case <-done:
			done = nil
			cancel()
		case <-locked:
			locked, waited = nil, fmt.Errorf("PackageKit: waited %s for another package manager, which holds the package database", lockWait)
			cancel()
		case <-giveUp:
			return nil, errors.Join(waited, fmt.Errorf("PackageKit: it does not end what was cancelled: %w", context.Cause(ctx)))
		case s, open := <-signals:
			if !open {
				return nil, errors.New("PackageKit: the bus hung up")
			}
			if s.Path != path {
				continue
			}
			switch s.Name {
			case kitTransaction + ".Package":
				all = appendKit(all, s.Body)
			case kitTransaction + ".Details":
				all = appendDetails(all, s.Body)
			case kitTransaction + ".ErrorCode":
				failure = &kitError{}
				_ = dbus.Store(s.Body, &failure.code, &failure.details) // what it cannot say stays empty
			case "org.freedesktop.DBus.Properties.PropertiesChanged":
				if k.tellLocked(wait, s.Body) {
					locked = time.After(lockWait)
				} else {
					locked = nil
				}
			case kitTransaction + ".Finished":
				if waited != nil {
					return nil, waited
				}
				return all, finishedKit(ctx, s.Body, failure)
			case kitTransaction + ".Destroy":
				return nil, errors.New("PackageKit: the transaction went away")
			}
		}
	}
}

func finishedKit(ctx context.Context, body []any, failure *kitError) error {
	var exit, took uint32
	if err := dbus.Store(body, &exit, &took); err != nil {
		return fmt.Errorf("PackageKit: how it ended cannot be read: %w", err)
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("PackageKit: %w", context.Cause(ctx))
	case exit == kitSuccess:
		return nil
	case failure == nil:
		failure = &kitError{}
	}
	failure.exit = exit
	return failure
}

// appendKit adds what a signal tells of a package. Some back ends tell the same twice.
func appendKit(all []kitPackage, body []any) []kitPackage {
	var info uint32
	var id, summary string
	if err := dbus.Store(body, &info, &id, &summary); err != nil || len(all) >= kitPackages {
		return all
	}
	if p, ok := parseKitID(info, id); ok {
		all = append(all, p)
	}
	return all
}

// appendDetails adds the package of which a signal tells details.
func appendDetails(all []kitPackage, body []any) []kitPackage {
	var details map[string]dbus.Variant
	if err := dbus.Store(body, &details); err != nil || len(all) >= kitPackages {
		return all
	}
	id, _ := details["package-id"].Value().(string)
	if p, ok := parseKitID(0, id); ok {
		all = append(all, p)
	}
	return all
}

// tellLocked says whether a transaction now waits for the lock of the machine's own package manager, and tells it. PackageKit does
// not say who has it.
func (k *PackageKit) tellLocked(wait *patience, body []any) bool {
	var name string
	var changed map[string]dbus.Variant
	var invalid []string
	if dbus.Store(body, &name, &changed, &invalid) != nil {
		return false
	}
	status, ok := changed["Status"].Value().(uint32)
	if !ok || status != kitWaitsForLock {
		return false
	}
	if k.tool.waiting != nil {
		k.tool.waiting(Wait{Lock: "the package database (through PackageKit)", Since: k.clock.Now().Sub(wait.began), Limit: lockWait})
	}
	return true
}
