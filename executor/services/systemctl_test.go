package services

import (
	"context"
	"slices"
	"strings"
	"testing"

	"shoal/executor"
)

var _ executor.Services = (*Systemctl)(nil)

// systemctl plays systemctl(1) and journalctl(1).
type systemctl struct {
	show  string
	file  string // the state of the unit's file on disk
	fails string // the verb that fails
	asked []string
}

func (s *systemctl) Run(_ context.Context, cmd executor.Command) (executor.Exit, error) {
	line := strings.Join(cmd.Argv, " ")
	switch {
	case strings.Contains(line, " show "):
		return executor.Exit{Stdout: []byte(s.show)}, nil
	case strings.Contains(line, " is-enabled "):
		if s.file == "" {
			return executor.Exit{Status: 1, Stderr: []byte("Failed to get unit file state.")}, nil
		}
		return executor.Exit{Status: 1, Stdout: []byte(s.file + "\n")}, nil
	case strings.HasPrefix(line, "journalctl "):
		return executor.Exit{Stdout: []byte("the reason\n")}, nil
	}
	s.asked = append(s.asked, line)
	if s.fails != "" && strings.Contains(line, s.fails) {
		return executor.Exit{Status: 1, Stderr: []byte("Job failed.")}, nil
	}
	return executor.Exit{}, nil
}

func TestSystemctlUnit(t *testing.T) {
	for _, c := range []struct {
		show, file string
		want       executor.Unit
	}{
		{"LoadState=not-found\nActiveState=inactive\nUnitFileState=\nActiveEnterTimestampMonotonic=0\n", "", executor.Unit{}},
		{"LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nActiveEnterTimestampMonotonic=12\n", "enabled", executor.Unit{Exists: true, Active: true, Enabled: true, Since: 12}},
		{"LoadState=loaded\nActiveState=failed\nUnitFileState=disabled\nActiveEnterTimestampMonotonic=12\n", "disabled", executor.Unit{Exists: true}},
		{"LoadState=masked\nActiveState=inactive\nUnitFileState=masked\nActiveEnterTimestampMonotonic=\n", "masked", executor.Unit{Exists: true, Masked: true}},
		{"LoadState=loaded\nActiveState=reloading\nUnitFileState=static\nActiveEnterTimestampMonotonic=13\n", "static", executor.Unit{Exists: true, Active: true, Since: 13}},
		{"LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n", "enabled", executor.Unit{Exists: true, Enabled: true, Unread: true}},
		{"LoadState=masked\nActiveState=inactive\nUnitFileState=masked\n", "disabled", executor.Unit{Exists: true, Unread: true}},
		{"LoadState=not-found\nActiveState=inactive\nUnitFileState=\n", "not-found", executor.Unit{}},
	} {
		got, err := NewSystemctl(&systemctl{show: c.show, file: c.file}).Unit(t.Context(), "nginx")
		if err != nil || got != c.want {
			t.Errorf("%q: %+v, %v", c.show, got, err)
		}
	}
	if _, err := NewSystemctl(&systemctl{show: "nothing"}).Unit(t.Context(), "nginx"); err == nil {
		t.Error("nothing is a unit")
	}
	for _, name := range []string{"-x", "a b", "a;b", ""} {
		if err := NewSystemctl(&systemctl{show: "LoadState=loaded\n"}).StartUnit(t.Context(), name); err == nil {
			t.Errorf("%q is a unit", name)
		}
	}
}

func TestSystemctlActs(t *testing.T) {
	m := &systemctl{show: "LoadState=loaded\nNeedDaemonReload=yes\n"}
	s := NewSystemctl(m)
	for _, err := range []error{
		s.RestartUnit(t.Context(), "nginx"), s.EnableUnit(t.Context(), "a.timer", true), s.EnableUnit(t.Context(), "nginx", false),
		s.MaskUnit(t.Context(), "nginx", true), s.MaskUnit(t.Context(), "nginx", false),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{"systemctl --no-ask-password daemon-reload"}
	for _, rest := range []string{"restart -- nginx.service", "enable -- a.timer", "disable -- nginx.service", "mask -- nginx.service", "unmask -- nginx.service"} {
		want = append(want, "systemctl --no-ask-password --quiet "+rest)
	}
	if !slices.Equal(m.asked, want) {
		t.Errorf("%q", m.asked)
	}
	m.fails = "start"
	if err := s.StartUnit(t.Context(), "nginx"); err == nil || !strings.Contains(err.Error(), "Job failed.") || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("%v", err)
	}
}
