package executor_test

import (
	"strings"
	"testing"

	"shoal/executor"
)

func TestFilesConvergeAndStay(t *testing.T) {
	w := newWorld(t)
	w.write(t, "/etc/old.conf", "old\n", 0o600)
	before := picture(t, w.root)
	p := newPlan()
	p.file("new", "/etc/app/new.conf", "new\n")
	p.file("old", "/etc/old.conf", "changed\n")
	p.add("dir", "file.directory", map[string]any{"path": "/srv/app", "mode": "0750"})
	p.add("link", "file.symlink", map[string]any{"path": "/srv/link", "target": "app"})

	plan := w.engine.Check(t.Context(), &p.Plan, nil, executor.RunMeta{})
	if plan.Changed != 4 || plan.Result != executor.Converged {
		t.Fatalf("plan: %d changes, %s\n%s", plan.Changed, plan.Result, results(plan))
	}
	if picture(t, w.root) != before {
		t.Fatal("a plan changed the machine")
	}
	r := w.converge(t, p)
	if r.Changed != 4 {
		t.Fatalf("%d changes\n%s", r.Changed, results(r))
	}
	if got := w.read(t, "/etc/app/new.conf"); got != "new\n" {
		t.Fatal(got)
	}
	if r := w.converge(t, p); r.Changed != 0 {
		t.Fatalf("second run changed %d\n%s", r.Changed, results(r))
	}
	// The tree without its states: everything as before.
	r = w.converge(t, newPlan())
	if r.Changed != 4 {
		t.Fatalf("removal changed %d\n%s", r.Changed, results(r))
	}
	if after := picture(t, w.root); after != strings.ReplaceAll(before, "", "") {
		t.Fatalf("before\n%s\nafter\n%s", before, after)
	}
}

func TestFailureRollsEverythingBack(t *testing.T) {
	w := newWorld(t)
	w.write(t, "/etc/old.conf", "old\n", 0o600)
	before := picture(t, w.root)
	p := newPlan()
	p.file("new", "/etc/app/new.conf", "new\n")
	p.file("old", "/etc/old.conf", "changed\n")
	p.add("fails", "cmd.run", map[string]any{"shell": "echo broken >&2; exit 3"})
	p.file("later", "/etc/later", "later\n")
	r := w.apply(t, p)
	if r.Result != executor.RolledBackRun {
		t.Fatalf("%s\n%s", r.Result, results(r))
	}
	want := "new file.managed rolled_back\nold file.managed rolled_back\nfails cmd.run failed (cannot be undone: echo broken >&2; exit 3) error: status 3: broken\n" +
		"later file.managed skipped (not run: c/fails failed before it)\n"
	if got := results(r); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if after := picture(t, w.root); after != before {
		t.Fatalf("before\n%s\nafter\n%s", before, after)
	}
}
