package services

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"shoal/executor"
)

// Systemctl is systemd through its command (systemctl(1)), where there is no way to its bus.
type Systemctl struct{ run Runner }

// NewSystemctl uses the systemctl of the machine on which run runs commands.
func NewSystemctl(run Runner) *Systemctl { return &Systemctl{run} }

func (s *Systemctl) tell(ctx context.Context, argv ...string) (executor.Exit, error) {
	return s.run.Run(ctx, executor.Command{Argv: argv, Env: []string{"LC_ALL=C", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0"}, Limit: outputLimit})
}

// unitOf takes the name of a service, with or without an ending.
func unitOf(name string) (string, error) {
	if !serviceName.MatchString(name) {
		return "", fmt.Errorf("%q is not the name of a unit", name)
	}
	if !strings.Contains(name, ".") {
		name += ".service"
	}
	return name, nil
}

// Unit implements executor.Services.
func (s *Systemctl) Unit(ctx context.Context, name string) (executor.Unit, error) {
	unit, err := unitOf(name)
	if err != nil {
		return executor.Unit{}, err
	}
	exit, err := s.tell(ctx, "systemctl", "show", "--no-pager", "-p", "LoadState,ActiveState,UnitFileState,ActiveEnterTimestampMonotonic", "--", unit)
	if err == nil && exit.Status != 0 {
		err = failure("systemctl show "+unit, exit)
	}
	if err != nil {
		return executor.Unit{}, err
	}
	return parseUnit(string(exit.Stdout))
}

func parseUnit(out string) (executor.Unit, error) {
	values := map[string]string{}
	for line := range strings.Lines(out) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			values[key] = value
		}
	}
	if values["LoadState"] == "" {
		return executor.Unit{}, errors.New("systemctl show says no LoadState")
	}
	u := executor.Unit{
		Masked: values["LoadState"] == "masked",
		Active: values["ActiveState"] == "active" || values["ActiveState"] == "reloading",
	}
	u.Exists = values["LoadState"] != "not-found"
	switch values["UnitFileState"] {
	case "enabled", "enabled-runtime", "alias", "static", "indirect", "generated":
		u.Enabled = values["UnitFileState"] == "enabled" || values["UnitFileState"] == "enabled-runtime"
	}
	u.Since, _ = strconv.ParseUint(values["ActiveEnterTimestampMonotonic"], 10, 64) // of one that never ran there is none
	return u, nil
}

// journalLines is how much of a service's log an error shows.
const journalLines = "8"

func (s *Systemctl) act(ctx context.Context, name string, verbs ...string) error {
	unit, err := unitOf(name)
	if err != nil {
		return err
	}
	exit, err := s.tell(ctx, append(append([]string{"systemctl", "--no-ask-password", "--quiet"}, verbs...), "--", unit)...)
	if err != nil || exit.Status == 0 {
		return err
	}
	err = failure(verbs[0]+" "+unit, exit)
	if log, logErr := s.tell(ctx, "journalctl", "--no-pager", "-q", "-o", "cat", "-n", journalLines, "-u", unit); logErr == nil && log.Status == 0 {
		err = fmt.Errorf("%w\n%s", err, strings.TrimSpace(string(log.Stdout)))
	}
	return err
}

// StartUnit implements executor.Services.
func (s *Systemctl) StartUnit(ctx context.Context, name string) error {
	return s.act(ctx, name, "start")
}

// StopUnit implements executor.Services.
func (s *Systemctl) StopUnit(ctx context.Context, name string) error { return s.act(ctx, name, "stop") }

// RestartUnit implements executor.Services.
func (s *Systemctl) RestartUnit(ctx context.Context, name string) error {
	return s.act(ctx, name, "restart")
}

// ReloadUnit implements executor.Services.
func (s *Systemctl) ReloadUnit(ctx context.Context, name string) error {
	return s.act(ctx, name, "reload")
}

// EnableUnit implements executor.Services.
func (s *Systemctl) EnableUnit(ctx context.Context, name string, enabled bool) error {
	if enabled {
		return s.act(ctx, name, "enable")
	}
	return s.act(ctx, name, "disable")
}

// MaskUnit implements executor.Services.
func (s *Systemctl) MaskUnit(ctx context.Context, name string, masked bool) error {
	if masked {
		return s.act(ctx, name, "mask")
	}
	return s.act(ctx, name, "unmask")
}

// ReloadManager implements executor.Services.
func (s *Systemctl) ReloadManager(ctx context.Context) error {
	exit, err := s.tell(ctx, "systemctl", "--no-ask-password", "daemon-reload")
	if err == nil && exit.Status != 0 {
		err = failure("systemctl daemon-reload", exit)
	}
	return err
}
