package executor_test

import (
	"slices"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/local"
	"shoal/executor/module/cmd"
	"shoal/executor/module/file"
	"shoal/executor/module/group"
	"shoal/executor/module/pkg"
	"shoal/executor/module/service"
	"shoal/executor/module/user"
	"shoal/states"
)

// newHouse is a machine in memory with every module.
func newHouse(t *testing.T) (*fake.Host, *executor.Engine) {
	t.Helper()
	h := fake.New()
	h.Offer("nginx", []string{"1.22"})
	h.Add("nginx")
	data := local.OpenData(t.TempDir())
	t.Cleanup(func() { data.Close() })
	return h, &executor.Engine{
		Host: h, Modules: allModules(), Journal: data, Ledger: data, Vault: data, Lock: data, Clock: local.Clock{},
	}
}

// allModules are those that a machine in memory can serve.
func allModules() map[string]executor.Module {
	return executor.Catalogue(slices.Concat(file.Modules(), cmd.Modules(), pkg.Modules(), service.Modules(), user.Modules(), group.Modules())...)
}

func webserver(text string) *planned {
	p := newPlan()
	p.add("group", "group.present", map[string]any{"name": "web"})
	p.add("user", "user.present", map[string]any{"name": "app", "group": "web"})
	p.add("nginx", "pkg.installed", map[string]any{"name": "nginx"})
	p.file("conf", "/etc/nginx/nginx.conf", text).Parts[0].Params["owner"] = "app"
	p.add("service", "service.running", map[string]any{"name": "nginx", "enabled": true})
	p.add("reload", "service.reloaded", map[string]any{"name": "nginx"}).Lazy = true
	p.edge("nginx", "conf", states.EdgeRequire)
	p.edge("conf", "service", states.EdgeRequire)
	p.edge("nginx", "service", states.EdgeNotify)
	p.edge("conf", "reload", states.EdgeNotify)
	p.edge("service", "reload", states.EdgeAfter)
	return p
}

func TestWebserver(t *testing.T) {
	h, e := newHouse(t)
	run := func(p *planned, want executor.Result) executor.Report {
		t.Helper()
		r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{})
		if r.Result != want {
			t.Fatalf("%s: %s\n%s", r.Result, r.Error, results(r))
		}
		return r
	}
	plan := e.Check(t.Context(), &webserver("one").Plan, nil, executor.RunMeta{})
	if plan.Result != executor.Converged || plan.Changed < 6 {
		t.Fatalf("plan: %s\n%s", plan.Result, results(plan))
	}
	run(webserver("one"), executor.Converged)
	unit, err := h.Unit(t.Context(), "nginx")
	if unit.Since != 1 {
		t.Errorf("started %d times: the change that started it is no reason to restart it", unit.Since)
	}
	if err != nil || !unit.Active || !unit.Enabled {
		t.Fatalf("%+v, %v", unit, err)
	}
	app, ok, _ := h.LookupUser("app")
	if st, err := h.Lstat("/etc/nginx/nginx.conf"); err != nil || !ok || st.UID != app.UID {
		t.Fatalf("%+v, %v", st, err)
	}
	if r := run(webserver("one"), executor.Converged); r.Changed != 0 {
		t.Fatalf("second run\n%s", results(r))
	}
	before := h.Reloads("nginx")
	run(webserver("two"), executor.Converged)
	if n := h.Reloads("nginx"); n != before+1 {
		t.Fatalf("%d reloads for one change", n-before)
	}
	// A failure puts the old file back, and the service takes it up.
	p := webserver("three")
	p.add("fails", "cmd.run", map[string]any{"shell": "false"})
	r := run(p, executor.RolledBackRun)
	data, err := h.ReadFile("/etc/nginx/nginx.conf")
	if err != nil || string(data) != "two" || h.Reloads("nginx") != before+3 {
		t.Fatalf("%q, %v, %d reloads\n%s", data, err, h.Reloads("nginx"), results(r))
	}
	// An empty tree: nothing of it is left.
	run(newPlan(), executor.Converged)
	if names, err := h.ReadDir("/"); err != nil || strings.Join(names, " ") != "home" { // a home is never deleted
		t.Errorf("left: %v, %v", names, err)
	}
	if unit, _ := h.Unit(t.Context(), "nginx"); unit.Active || unit.Enabled {
		t.Errorf("left: %+v", unit)
	}
	if installed, _ := h.Installed(t.Context(), nil); len(installed) != 0 {
		t.Errorf("left: %v", installed)
	}
	if _, ok, _ := h.LookupUser("app"); ok {
		t.Error("left: user app")
	}
	if managed := strings.Join(e.Managed(), " "); managed != "" {
		t.Errorf("managed: %s", managed)
	}
}
