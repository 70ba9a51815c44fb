package hostname_test

import (
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/hostname"
	"shoal/executor/moduletest"
)

// TestMain: every function of the package has a conformance suite.
func TestMain(m *testing.M) { moduletest.Main(m, hostname.Modules()) }

var module = hostname.Modules()[0]

func named(live, file string) func(*testing.T, executor.Host) {
	return func(t *testing.T, h executor.Host) {
		moduletest.Put(t, h, "/proc/sys/kernel/hostname", live+"\n")
		moduletest.Put(t, h, "/etc/hostname", file+"\n")
	}
}

func TestSet(t *testing.T) {
	p := executor.Params{"name": "web-1.example"}
	moduletest.Run(t, moduletest.Suite{
		Module: module, Host: func(*testing.T) executor.Host { return fake.New() },
		Snapshot: func(t *testing.T, h executor.Host) any { return moduletest.Tree(t, h, "/") },
		Cases: []moduletest.Case{
			{Name: "another name", Params: p, Setup: named("old", "old")},
			{Name: "not live", Params: p, Setup: named("old", "web-1.example")},
			{Name: "not kept", Params: p, Setup: named("web-1.example", "old")},
			{Name: "that name", Params: p, Setup: named("web-1.example", "web-1.example"), Matches: true},
		},
	})
}

func TestValidate(t *testing.T) {
	for name, ok := range map[string]bool{
		"web-1": true, "a.b.c": true, "": false, "-a": false, "a..b": false, "a b": false, "a\n": false, strings.Repeat("a", 65): false,
	} {
		if err := module.Function().Validate(map[string]any{"name": name}); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
