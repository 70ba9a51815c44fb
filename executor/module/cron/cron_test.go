package cron_test

import (
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/cron"
	"shoal/executor/moduletest"
	"shoal/internal/testhost"
)

// TestMain: every function of the package has a conformance suite.
func TestMain(m *testing.M) { moduletest.Main(m, cron.Modules()) }

func present(t *testing.T, p executor.Params) func(*testing.T, executor.Host) {
	return func(t *testing.T, h executor.Host) {
		if _, err := cron.Modules()[0].Apply(t.Context(), h, nil, p); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJobs(t *testing.T) {
	type p = executor.Params
	job := p{"name": "backup", "user": "root", "schedule": "30 3 * * 1-5", "command": "backup --all", "env": map[string]any{"MAILTO": "", "A": " x"}, "comment": "nightly"}
	other := p{"name": "backup", "user": "root", "schedule": "@daily", "command": "other"}
	for name, host := range testhost.Both() {
		t.Run(name, func(t *testing.T) {
			moduletest.Run(t, moduletest.Suite{Module: cron.Modules()[0], Host: host, Snapshot: moduletest.Files, Cases: []moduletest.Case{
				{Name: "new", Params: job}, {Name: "changed", Params: job, Setup: present(t, other)},
				{Name: "as it is", Params: job, Setup: present(t, job), Matches: true},
			}})
			moduletest.Run(t, moduletest.Suite{Module: cron.Modules()[1], Host: host, Snapshot: moduletest.Files, Cases: []moduletest.Case{
				{Name: "there", Params: p{"name": "backup"}, Setup: present(t, job)}, {Name: "not there", Params: p{"name": "backup"}, Matches: true},
			}})
			h := host(t)
			present(t, job)(t, h)
			data, err := h.ReadFile("/etc/cron.d/backup")
			if want := "# kept by shoal\n# nightly\nA=\" x\"\nMAILTO=\"\"\n30 3 * * 1-5 root backup --all\n"; err != nil || string(data) != want {
				t.Errorf("got %q, %v", data, err)
			}
		})
	}
}

func TestMissingUser(t *testing.T) {
	_, err := cron.Modules()[0].Check(t.Context(), fake.New(), nil, executor.Params{"name": "x", "user": "app", "minute": "1", "command": "x"})
	if err == nil || !strings.Contains(err.Error(), "no user app") {
		t.Errorf("got %v", err)
	}
}

func TestValidate(t *testing.T) {
	valid := cron.Modules()[0].Function().Validate
	for _, schedule := range []string{"* * * * *", "*/5 0-6,22 1,15 jan-MAR sun", "@reboot", "0 0 1 1 7"} {
		if err := valid(map[string]any{"name": "a", "user": "root", "command": "x", "schedule": schedule}); err != nil {
			t.Errorf("%s: %v", schedule, err)
		}
	}
	for want, p := range map[string]executor.Params{
		"passes over a file":       {"name": "a.b", "schedule": "@daily"},
		"needs a schedule":         {},
		"not five fields":          {"schedule": "1 2 3"},
		"\"60\" is not in 0 to 59": {"schedule": "60 * * * *"},
		"is no step":               {"schedule": "*/0 * * * *"},
		"ends before it begins":    {"schedule": "* 5-3 * * *"},
		"\"mon\" is not in 1":      {"schedule": "* * * mon *"},
		"exclude each other":       {"schedule": "@daily", "hour": "3"},
		"one line each":            {"schedule": "@daily", "command": "a\nb"},
		"no name of a variable":    {"schedule": "@daily", "env": map[string]any{"A B": "x"}},
		"is no user":               {"schedule": "@daily", "user": "a b"},
	} {
		full := executor.Params{"name": "a", "user": "root", "command": "x"}
		for k, v := range p {
			full[k] = v
		}
		if err := valid(full); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, wanted %q", p, err, want)
		}
	}
}
