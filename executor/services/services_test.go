package services

import (
	"context"
	"strings"
	"testing"

	"shoal/executor"
)

// initd plays rc-service, rc-update, init scripts and update-rc.d for one service, nginx.
type initd struct {
	active, enabled bool
	asked           []string
}

var _ executor.Services = (*Manager)(nil)

func (i *initd) Run(_ context.Context, cmd executor.Command) (executor.Exit, error) {
	line := strings.Join(cmd.Argv, " ")
	i.asked = append(i.asked, line)
	ok, not := executor.Exit{}, executor.Exit{Status: 3, Stderr: []byte("no")}
	status := func(b bool) (executor.Exit, error) {
		if b {
			return ok, nil
		}
		return not, nil
	}
	switch {
	case !strings.Contains(line, "nginx") && !strings.HasPrefix(line, "rc-update show") && !strings.HasPrefix(line, "ls "):
		return not, nil
	case strings.HasPrefix(line, "rc-update show"):
		out := "                sshd | default\n"
		if i.enabled {
			out += "               nginx | default\n"
		}
		return executor.Exit{Stdout: []byte(out)}, nil
	case strings.HasPrefix(line, "ls "):
		out := "README\nS01sshd\nK01nginx\n"
		if i.enabled {
			out = "S01sshd\nS02nginx\n"
		}
		return executor.Exit{Stdout: []byte(out)}, nil
	case strings.HasPrefix(line, "test "), strings.Contains(line, "--exists"):
		return ok, nil
	case strings.HasSuffix(line, "status"):
		return status(i.active)
	case strings.HasSuffix(line, "reload"):
		return status(i.active)
	case strings.HasSuffix(line, "restart"), strings.HasSuffix(line, "start"):
		i.active = true
	case strings.HasSuffix(line, "stop"):
		i.active = false
	case strings.Contains(line, "add "), strings.Contains(line, "defaults"):
		i.enabled = true
	case strings.Contains(line, "del "), strings.HasSuffix(line, "disable"):
		i.enabled = false
	}
	return ok, nil
}

func TestManagers(t *testing.T) {
	for name, open := range map[string]func(Runner) *Manager{"OpenRC": NewOpenRC, "SysV": NewSysV} {
		t.Run(name, func(t *testing.T) {
			machine := &initd{}
			m, ctx := open(machine), t.Context()
			want := func(u executor.Unit) {
				t.Helper()
				if got, err := m.Unit(ctx, "nginx.service"); err != nil || got != u {
					t.Errorf("%+v, %v, wanted %+v", got, err, u)
				}
			}
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			want(executor.Unit{Exists: true})
			if m.ReloadUnit(ctx, "nginx") == nil {
				t.Error("reloaded what does not run")
			}
			must(m.StartUnit(ctx, "nginx"))
			must(m.EnableUnit(ctx, "nginx", true))
			before := len(machine.asked)
			must(m.EnableUnit(ctx, "nginx", true))
			if asked := machine.asked[before:]; len(asked) != 3 {
				t.Errorf("enabled what is enabled: %q", asked)
			}
			want(executor.Unit{Exists: true, Active: true, Enabled: true})
			must(m.ReloadUnit(ctx, "nginx"))
			must(m.RestartUnit(ctx, "nginx"))
			must(m.StopUnit(ctx, "nginx"))
			must(m.EnableUnit(ctx, "nginx", false))
			want(executor.Unit{Exists: true})
			if u, err := m.Unit(ctx, "none"); err != nil || u.Exists {
				t.Errorf("%+v, %v", u, err)
			}
			if m.StartUnit(ctx, "none") == nil || m.StartUnit(ctx, "-x") == nil || m.MaskUnit(ctx, "nginx", true) == nil {
				t.Error("no error")
			}
			must(m.MaskUnit(ctx, "nginx", false))
		})
	}
}
