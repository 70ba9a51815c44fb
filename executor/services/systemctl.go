package services

import (
	"context"
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

// unitOf takes the name of a unit, with or without an ending.
func unitOf(name string) (string, error) {
	if !serviceName.MatchString(name) {
		return "", fmt.Errorf("%q is not the name of a unit", name)
	}
	return executor.UnitName(name), nil
}

// properties of a unit, which systemd loads if need be.
func (s *Systemctl) properties(ctx context.Context, unit string) (map[string]string, error) {
	exit, err := s.tell(ctx, "systemctl", "show", "--no-pager",
		"-p", "LoadState,ActiveState,UnitFileState,ActiveEnterTimestampMonotonic,NeedDaemonReload", "--", unit)
	if err == nil && exit.Status != 0 {
		err = failure("systemctl show "+unit, exit)
	}
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for line := range strings.Lines(string(exit.Stdout)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			all[key] = value
		}
	}
	if all["LoadState"] == "" {
		return nil, fmt.Errorf("systemctl show %s says no LoadState", unit)
	}
	return all, nil
}

// Unit implements executor.Services.
func (s *Systemctl) Unit(ctx context.Context, name string) (executor.Unit, error) {
	unit, err := unitOf(name)
	if err != nil {
		return executor.Unit{}, err
	}
	all, err := s.properties(ctx, unit)
	if err != nil {
		return executor.Unit{}, err
	}
	file, err := s.fileState(ctx, unit)
	if err != nil {
		return executor.Unit{}, err
	}
	masked := strings.HasPrefix(file, "masked")
	u := executor.Unit{
		Exists:  all["LoadState"] != "not-found",
		Active:  all["ActiveState"] == "active" || all["ActiveState"] == "reloading",
		Enabled: file == "enabled",
		Masked:  masked,
		Unread:  all["UnitFileState"] != file || (all["LoadState"] == "masked") != masked,
	}
	if u.Active {
		u.Since, _ = strconv.ParseUint(all["ActiveEnterTimestampMonotonic"], 10, 64) // one that is active has it
	}
	return u, nil
}

// fileState reads the disk, where the property of this name is what the manager saw when it last looked.
func (s *Systemctl) fileState(ctx context.Context, unit string) (string, error) {
	// Its status says more than the word, which is all that counts here: none, or not-found, when there is no file.
	exit, err := s.tell(ctx, "systemctl", "is-enabled", "--", unit)
	state := strings.TrimSpace(string(exit.Stdout))
	if state == "not-found" {
		state = ""
	}
	return state, err
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

// job reads unit files that changed on disk first, as no one wants the old ones.
func (s *Systemctl) job(ctx context.Context, name, verb string) error {
	unit, err := unitOf(name)
	if err != nil {
		return err
	}
	all, err := s.properties(ctx, unit)
	if err == nil && all["NeedDaemonReload"] == "yes" {
		err = s.ReloadManager(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	return s.act(ctx, name, verb)
}

// StartUnit implements executor.Services.
func (s *Systemctl) StartUnit(ctx context.Context, name string) error {
	return s.job(ctx, name, "start")
}

// StopUnit implements executor.Services.
func (s *Systemctl) StopUnit(ctx context.Context, name string) error { return s.job(ctx, name, "stop") }

// RestartUnit implements executor.Services.
func (s *Systemctl) RestartUnit(ctx context.Context, name string) error {
	return s.job(ctx, name, "restart")
}

// ReloadUnit implements executor.Services.
func (s *Systemctl) ReloadUnit(ctx context.Context, name string) error {
	return s.job(ctx, name, "reload")
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
