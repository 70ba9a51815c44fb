// Package services holds the service managers that are used through their commands: OpenRC and the scripts of System V. They
// see the machine through a Runner alone. Neither can mask a service, and neither says since when one runs.
package services

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"shoal/executor"
)

// Runner runs a command of the machine.
type Runner interface {
	Run(ctx context.Context, cmd executor.Command) (executor.Exit, error)
}

var errNoMask = errors.New("this machine's service manager cannot mask a service: stop and disable it")

// commands are what one service manager is told, each with the name of a service.
type commands struct {
	exists, status, start, stop, restart, reload, enable, disable func(name string) []string
	// crashed is the status of one that ended by itself and counts as started; 0: it is like any that is stopped.
	crashed int
	// enabled asks whether it is started with the machine.
	enabled func(ctx context.Context, m *Manager, name string) (bool, error)
}

// Manager is an executor.Services.
type Manager struct {
	run Runner
	do  commands
}

// NewOpenRC is the service manager of Alpine and Gentoo (openrc(8)), whose services of the runlevel default are enabled.
func NewOpenRC(run Runner) *Manager {
	service := func(verb string) func(string) []string {
		return func(name string) []string { return []string{"rc-service", name, verb} }
	}
	return &Manager{run, commands{
		crashed: 32,
		exists:  func(name string) []string { return []string{"rc-service", "--exists", name} },
		status:  service("status"), start: service("start"), stop: service("stop"), restart: service("restart"), reload: service("reload"),
		enable:  func(name string) []string { return []string{"rc-update", "add", name, "default"} },
		disable: func(name string) []string { return []string{"rc-update", "del", name, "default"} },
		enabled: func(ctx context.Context, m *Manager, name string) (bool, error) {
			exit, err := m.tell(ctx, []string{"rc-update", "show", "default"})
			if err == nil && exit.Status != 0 {
				err = failure("rc-update", exit)
			}
			return slices.Contains(parseRunlevel(string(exit.Stdout)), name), err
		},
	}}
}

// parseRunlevel reads rows such as "  nginx | default".
func parseRunlevel(out string) (names []string) {
	for line := range strings.Lines(out) {
		if name, _, ok := strings.Cut(line, "|"); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}

// NewSysV is a machine whose services are the scripts of /etc/init.d (LSB core, "Init Script Actions"), enabled with
// update-rc.d. Those that start in runlevel 2 are enabled.
func NewSysV(run Runner) *Manager {
	script := func(verb string) func(string) []string {
		return func(name string) []string { return []string{"/etc/init.d/" + name, verb} }
	}
	return &Manager{run, commands{
		exists: func(name string) []string { return []string{"test", "-x", "/etc/init.d/" + name} },
		status: script("status"), start: script("start"), stop: script("stop"), restart: script("restart"), reload: script("reload"),
		enable: func(name string) []string {
			return []string{"sh", "-c", `update-rc.d "$1" defaults && update-rc.d "$1" enable`, "sh", name}
		},
		disable: func(name string) []string { return []string{"update-rc.d", name, "disable"} },
		enabled: func(ctx context.Context, m *Manager, name string) (bool, error) {
			exit, err := m.tell(ctx, []string{"ls", "/etc/rc2.d"})
			if err == nil && exit.Status != 0 {
				err = failure("ls", exit)
			}
			return parseLinks(string(exit.Stdout), name), err
		},
	}}
}

var startLink = regexp.MustCompile(`^S\d\d(.+)$`)

// parseLinks: the folder of a runlevel has a link that starts the service.
func parseLinks(out, name string) bool {
	for _, link := range strings.Fields(out) {
		if m := startLink.FindStringSubmatch(link); m != nil && m[1] == name {
			return true
		}
	}
	return false
}

const outputLimit = 16 << 10 // bytes

func (m *Manager) tell(ctx context.Context, argv []string) (executor.Exit, error) {
	return m.run.Run(ctx, executor.Command{Argv: argv, Env: []string{"LC_ALL=C"}, Limit: outputLimit})
}

func failure(what string, exit executor.Exit) error {
	return fmt.Errorf("%s: status %d: %s", what, exit.Status, strings.TrimSpace(string(exit.Stderr)+string(exit.Stdout)))
}

var serviceName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@+-]*$`)

// named takes the name of a service, with or without the ending that systemd's have.
func named(name string) (string, error) {
	name = strings.TrimSuffix(name, ".service")
	if !serviceName.MatchString(name) {
		return "", fmt.Errorf("%q is not the name of a service", name)
	}
	return name, nil
}

// Unit implements executor.Services.
func (m *Manager) Unit(ctx context.Context, name string) (u executor.Unit, err error) {
	if name, err = named(name); err != nil {
		return u, err
	}
	status, there, err := m.status(ctx, name)
	if err != nil || !there {
		return u, err
	}
	u.Exists, u.Active = true, status == 0
	u.Enabled, err = m.do.enabled(ctx, m, name)
	return u, err
}

// status is 0 for a service that runs; by the LSB 1 to 3 is dead or stopped, and whatever else there is does not run either.
func (m *Manager) status(ctx context.Context, name string) (status int, there bool, err error) {
	exit, err := m.tell(ctx, m.do.exists(name))
	if err != nil || exit.Status != 0 {
		return 0, false, err
	}
	exit, err = m.tell(ctx, m.do.status(name))
	return exit.Status, true, err
}

// act runs one command about a service that is to succeed.
func (m *Manager) act(ctx context.Context, verb, name string, argv func(string) []string) error {
	name, err := named(name)
	if err != nil {
		return err
	}
	exit, err := m.tell(ctx, argv(name))
	if err == nil && exit.Status != 0 {
		err = failure(verb+" "+name, exit)
	}
	return err
}

// StartUnit implements executor.Services. What runs is left alone: what a script makes of a second start is its own.
func (m *Manager) StartUnit(ctx context.Context, name string) error {
	start := m.do.start
	status, there, err := m.statusOf(ctx, name)
	switch {
	case err != nil:
		return err
	case there && status == 0:
		return nil
	case there && m.do.crashed != 0 && status == m.do.crashed:
		start = m.do.restart // it counts as started
	}
	return m.act(ctx, "start", name, start)
}

// StopUnit implements executor.Services.
func (m *Manager) StopUnit(ctx context.Context, name string) error {
	status, there, err := m.statusOf(ctx, name)
	if err != nil || there && status != 0 && status != m.do.crashed {
		return err
	}
	return m.act(ctx, "stop", name, m.do.stop)
}

// RestartUnit implements executor.Services.
func (m *Manager) RestartUnit(ctx context.Context, name string) error {
	return m.act(ctx, "restart", name, m.do.restart)
}

// ReloadUnit implements executor.Services. Some scripts start what they are to reload, and some say that all went well.
func (m *Manager) ReloadUnit(ctx context.Context, name string) error {
	status, there, err := m.statusOf(ctx, name)
	if err == nil && there && status != 0 {
		err = fmt.Errorf("reload %s: it does not run", name)
	}
	if err != nil {
		return err
	}
	return m.act(ctx, "reload", name, m.do.reload)
}

// statusOf takes a name as it is given.
func (m *Manager) statusOf(ctx context.Context, name string) (status int, there bool, err error) {
	if name, err = named(name); err != nil {
		return 0, false, err
	}
	return m.status(ctx, name)
}

// EnableUnit implements executor.Services.
func (m *Manager) EnableUnit(ctx context.Context, name string, enabled bool) error {
	if u, err := m.Unit(ctx, name); err != nil || u.Exists && u.Enabled == enabled {
		return err
	}
	if enabled {
		return m.act(ctx, "enable", name, m.do.enable)
	}
	return m.act(ctx, "disable", name, m.do.disable)
}

// MaskUnit implements executor.Services. What is not masked need not be unmasked.
func (m *Manager) MaskUnit(_ context.Context, name string, masked bool) error {
	if masked {
		return fmt.Errorf("mask %s: %w", name, errNoMask)
	}
	return nil
}

// ReloadManager implements executor.Services: a script is read whenever it runs.
func (m *Manager) ReloadManager(context.Context) error { return nil }
