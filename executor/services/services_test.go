package services

import (
	"context"
	"slices"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/hosttest"
)

var _ executor.Services = (*Manager)(nil)

// initd plays a machine with the services nginx and bad, which does not start. It knows both ways to ask, and is strict: it fails where
// real scripts differ.
type initd struct {
	t       *testing.T
	status  int // of nginx: 0 runs, 3 stopped, 32 crashed
	enabled bool
	asked   []string
}

func says(status int, out string) (executor.Exit, error) {
	return executor.Exit{Status: status, Stdout: []byte(out)}, nil
}

func (i *initd) Run(_ context.Context, cmd executor.Command) (executor.Exit, error) {
	line := strings.Join(cmd.Argv, " ")
	i.asked = append(i.asked, line)
	switch line {
	case "rc-update show default": // openrc 0.54
		out := "                sshd | default                                \n"
		if i.enabled {
			out += "               nginx | default                                \n"
		}
		return says(0, out)
	case "ls /etc/rc2.d":
		if i.enabled {
			return says(0, "K01apache2\nREADME\nS01sshd\nS02nginx\nS02nginx-proxy\n")
		}
		return says(0, "K01nginx\nREADME\nS01sshd\nS02nginx-proxy\n")
	case "rc-update add nginx default", `sh -c update-rc.d "$1" defaults && update-rc.d "$1" enable sh nginx`:
		i.enabled = true
		return says(0, "")
	case "rc-update del nginx default", "update-rc.d nginx disable":
		i.enabled = false
		return says(0, "")
	}
	words := strings.Fields(strings.TrimPrefix(strings.TrimPrefix(line, "rc-service "), "/etc/init.d/"))
	switch {
	case slices.Contains(words, "shoal-none"), slices.Contains(cmd.Argv, "/etc/init.d/shoal-none"):
		return says(1, "service `shoal-none' does not exist\n")
	case words[0] == "--exists", cmd.Argv[0] == "test":
		return says(0, "")
	case len(words) != 2 || words[0] != "nginx" && words[0] != "bad":
		i.t.Errorf("asked %q", line)
		return says(127, "")
	case words[0] == "bad" && words[1] == "status":
		return says(3, " * status: stopped\n")
	case words[0] == "bad":
		return says(1, " * ERROR: bad failed to start\n")
	}
	return i.nginx(words[1])
}

func (i *initd) nginx(verb string) (executor.Exit, error) {
	runs := i.status == 0
	switch {
	case verb == "status":
		return says(i.status, map[int]string{0: " * status: started\n", 3: " * status: stopped\n", 32: " * status: crashed\n"}[i.status])
	case verb == "start" && i.status != 3, verb == "stop" && i.status == 3, verb == "reload" && !runs:
		i.t.Errorf("%s with status %d: scripts differ in what they do then", verb, i.status)
		return says(1, "")
	case verb == "start", verb == "restart":
		i.status = 0
	case verb == "stop":
		i.status = 3
	}
	return says(0, "")
}

// managers are both, for the same machine.
var managers = map[string]func(Runner) *Manager{"OpenRC": NewOpenRC, "SysV": NewSysV}

func TestManagers(t *testing.T) {
	for name, open := range managers {
		t.Run(name, func(t *testing.T) {
			hosttest.ServicesSuite(t, func(t *testing.T) hosttest.ServicesFixture {
				return hosttest.ServicesFixture{
					Services: open(&initd{t: t, status: 3}), Unit: "nginx", Fails: "bad", NoMask: "scripts cannot be masked", NoSince: "scripts do not say since when",
				}
			})
		})
	}
}

// A status that is not 0 is of a service that does not run. One that crashed counts as started for OpenRC alone.
func TestStatus(t *testing.T) {
	for name, open := range managers {
		for status, active := range map[int]bool{0: true, 1: false, 2: false, 3: false, 4: false, 16: false, 32: false} {
			if u, err := open(&initd{t: t, status: status}).Unit(t.Context(), "nginx"); err != nil || u != (executor.Unit{Exists: true, Active: active}) {
				t.Errorf("%s, status %d: %+v, %v", name, status, u, err)
			}
		}
	}
	machine := &initd{t: t, status: 32}
	m := NewOpenRC(machine)
	if err := m.StartUnit(t.Context(), "nginx"); err != nil || machine.status != 0 || !slices.Contains(machine.asked, "rc-service nginx restart") {
		t.Errorf("%v, asked %q", err, machine.asked)
	}
	machine.status = 32
	if err := m.StopUnit(t.Context(), "nginx"); err != nil || machine.status != 3 {
		t.Errorf("%v, asked %q", err, machine.asked)
	}
}

func TestNothingIsEnabledTwice(t *testing.T) {
	for name, open := range managers {
		machine := &initd{t: t, status: 3, enabled: true}
		if err := open(machine).EnableUnit(t.Context(), "nginx", true); err != nil || len(machine.asked) != 3 {
			t.Errorf("%s: %v, asked %q", name, err, machine.asked)
		}
	}
}

func TestNamesOfServices(t *testing.T) {
	for name, open := range managers {
		m := open(&initd{t: t, status: 3})
		for _, service := range []string{"", "-x", "../x", "a b", "a;b"} {
			if m.StartUnit(t.Context(), service) == nil || m.StopUnit(t.Context(), service) == nil || m.ReloadUnit(t.Context(), service) == nil {
				t.Errorf("%s takes the name %q", name, service)
			}
		}
	}
}
