package timer_test

import (
	"errors"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/timer"
	"shoal/executor/moduletest"
	"shoal/internal/testhost"
)

// TestMain: every function of the package has a conformance suite.
func TestMain(m *testing.M) { moduletest.Main(m, timer.Modules()) }

func hosts() map[string]func(t *testing.T) executor.Host {
	return map[string]func(t *testing.T) executor.Host{
		"fake": func(*testing.T) executor.Host { return fake.New() },
		"local": func(t *testing.T) executor.Host {
			h := testhost.Local(t)
			services := fake.NewServices()
			services.UnitFiles = func() []string { return fake.UnitFiles(h) }
			h.Accounts, h.Services = fake.NewAccounts(), services
			return h
		},
	}
}

type machine struct {
	files any
	unit  executor.Unit
}

func snapshot(t *testing.T, h executor.Host) any {
	u, err := h.Unit(t.Context(), "job.timer")
	if err != nil {
		t.Fatal(err)
	}
	u.Since = 0
	return machine{moduletest.Files(t, h), u}
}

func present(p executor.Params) func(*testing.T, executor.Host) {
	return func(t *testing.T, h executor.Host) {
		if _, err := timer.Modules()[0].Apply(t.Context(), h, nil, p); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTimers(t *testing.T) {
	type p = executor.Params
	job := p{"name": "job", "on_calendar": "daily", "argv": []any{"/bin/x", "a b"}, "enabled": true, "persistent": true}
	other := p{"name": "job", "on_boot": "5min", "shell": "echo $HOME", "enabled": true, "env": map[string]any{"A": "1 %"}}
	off := p{"name": "job", "on_calendar": []any{"daily", "Mon 12:00"}, "unit": "web", "enabled": false}
	for name, host := range hosts() {
		t.Run(name, func(t *testing.T) {
			moduletest.Run(t, moduletest.Suite{Module: timer.Modules()[0], Host: host, Snapshot: snapshot, Cases: []moduletest.Case{
				{Name: "new", Params: job}, {Name: "new, off", Params: off},
				{Name: "changed", Params: job, Setup: present(other)}, {Name: "on", Params: job, Setup: present(off)},
				{Name: "off", Params: off, Setup: present(job)},
				{Name: "stopped by hand", Params: job, Setup: func(t *testing.T, h executor.Host) {
					present(job)(t, h)
					if err := errors.Join(h.StopUnit(t.Context(), "job.timer"), h.EnableUnit(t.Context(), "job.timer", false)); err != nil {
						t.Fatal(err)
					}
				}},
				{Name: "masked by hand", Params: job, Setup: func(t *testing.T, h executor.Host) {
					present(job)(t, h)
					if err := h.MaskUnit(t.Context(), "job.timer", true); err != nil {
						t.Fatal(err)
					}
				}},
				{Name: "as it is", Params: job, Setup: present(job), Matches: true},
			}})
			moduletest.Run(t, moduletest.Suite{Module: timer.Modules()[1], Host: host, Snapshot: snapshot, Cases: []moduletest.Case{
				{Name: "there", Params: p{"name": "job"}, Setup: present(job)}, {Name: "not there", Params: p{"name": "job"}, Matches: true},
			}})
		})
	}
}

func TestFiles(t *testing.T) {
	h := fake.New()
	present(executor.Params{"name": "job", "on_calendar": "daily", "argv": []any{"/bin/x", `a "b" $c 5%`}, "user": "root", "env": map[string]any{"A": "$x"}, "enabled": true})(t, h)
	for name, want := range map[string]string{
		"job.timer":   "# kept by shoal: timer.present\n[Unit]\nDescription=job\n\n[Timer]\nOnCalendar=daily\n\n[Install]\nWantedBy=timers.target\n",
		"job.service": "# kept by shoal: timer.present\n[Unit]\nDescription=job\n\n[Service]\nType=oneshot\nUser=root\nEnvironment=\"A=$x\"\nExecStart=\"/bin/x\" \"a \\\"b\\\" $$c 5%%\"\n",
	} {
		if data, err := h.ReadFile("/etc/systemd/system/" + name); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	first, _ := h.Unit(t.Context(), "job.timer")
	present(executor.Params{"name": "job", "on_calendar": "weekly", "unit": "web", "enabled": true})(t, h)
	if now, _ := h.Unit(t.Context(), "job.timer"); !now.Active || now.Since == first.Since {
		t.Errorf("a timer that changed was not restarted: %+v", now)
	}
}

func TestValidate(t *testing.T) {
	for want, p := range map[string]executor.Params{
		"without its ending":      {"name": "a.timer", "on_boot": "1s", "unit": "x"},
		"needs one of on_calenda": {"name": "a", "unit": "x"},
		"needs one of command":    {"name": "a", "on_boot": "1s"},
		"unit excludes":           {"name": "a", "on_boot": "1s", "unit": "x", "shell": "y"},
		"exclude each other":      {"name": "a", "on_boot": "1s", "command": "x", "shell": "y"},
		"not of one line":         {"name": "a", "on_boot": "1s\nUser=root", "shell": "y"},
		"string or a list":        {"name": "a", "on_calendar": int64(1), "shell": "y"},
		"no name of a variable":   {"name": "a", "on_boot": "1s", "shell": "y", "env": map[string]any{"A B": ""}},
	} {
		if err := timer.Modules()[0].Function().Validate(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, wanted %q", p, err, want)
		}
	}
}
