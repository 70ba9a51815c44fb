package group_test

import (
	"reflect"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/group"
	"shoal/executor/moduletest"
)

// TestMain: every function of the package has a conformance suite.
func TestMain(m *testing.M) { moduletest.Main(m, group.Modules()) }

type host struct {
	executor.Fetcher
	executor.Files
	executor.Commands
	executor.Packages
	executor.Services
	*fake.Accounts
}

// Unstage: nothing is staged.
func (host) Unstage([]string) error { return nil }

func newHost(*testing.T) executor.Host { return host{Accounts: fake.NewAccounts()} }

// snapshot of the groups that the tests use.
func snapshot(t *testing.T, h executor.Host) any {
	t.Helper()
	rows := map[string]executor.Group{}
	for _, name := range []string{"root", "app", "other"} {
		g, ok, err := h.LookupGroup(name)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			rows[name] = g
		}
	}
	return rows
}

func put(g executor.Group) func(*testing.T, executor.Host) {
	return func(t *testing.T, h executor.Host) {
		t.Helper()
		if err := h.PutUser(t.Context(), executor.User{Name: "ann", UID: 1001, GID: 100}); err != nil {
			t.Fatal(err)
		}
		if err := h.PutGroup(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPresent(t *testing.T) {
	moduletest.Run(t, moduletest.Suite{
		Module: group.Modules()[0], Host: newHost, Snapshot: snapshot,
		Cases: []moduletest.Case{
			{Name: "new with a chosen number", Params: executor.Params{"name": "app"}},
			{Name: "new of the system", Params: executor.Params{"name": "app", "system": true}},
			{Name: "new with a number", Params: executor.Params{"name": "app", "gid": int64(4242)}},
			{Name: "there", Params: executor.Params{"name": "app"}, Setup: put(executor.Group{Name: "app", GID: 7}), Matches: true},
			{Name: "there with the number", Params: executor.Params{"name": "app", "gid": int64(7)},
				Setup: put(executor.Group{Name: "app", GID: 7}), Matches: true},
			{Name: "another number, members kept", Params: executor.Params{"name": "app", "gid": int64(4242)},
				Setup: put(executor.Group{Name: "app", GID: 7, Members: []string{"ann"}})},
			{Name: "a number that is taken", Params: executor.Params{"name": "app", "gid": int64(7)},
				Setup: put(executor.Group{Name: "other", GID: 7}), Fails: true},
		},
	})
}

func TestAbsent(t *testing.T) {
	moduletest.Run(t, moduletest.Suite{Module: group.Modules()[1], Host: newHost, Snapshot: snapshot, Cases: []moduletest.Case{
		{Name: "there", Params: executor.Params{"name": "app"}, Setup: put(executor.Group{Name: "app", GID: 7, Members: []string{"ann"}, Shadow: "$6$x:ann"})},
		{Name: "not there", Params: executor.Params{"name": "app"}, Matches: true},
		{Name: "the primary group of a user", Params: executor.Params{"name": "other"}, Setup: put(executor.Group{Name: "other", GID: 100}), Fails: true},
	}})
}

func TestNumberOfTheSystem(t *testing.T) {
	h := newHost(t)
	out, err := group.Modules()[0].Apply(t.Context(), h, nil, executor.Params{"name": "app", "system": true})
	if err != nil {
		t.Fatal(err)
	}
	if gid := out["gid"].(int64); gid < 100 || gid > 999 {
		t.Errorf("gid %d is not of the system", gid)
	}
}

// Members that came after the change stay when it is taken back.
func TestRevertKeepsNewMembers(t *testing.T) {
	h := newHost(t)
	put(executor.Group{Name: "app", GID: 7})(t, h)
	m, p := group.Modules()[0], executor.Params{"name": "app", "gid": int64(4242)}
	undo, err := m.Capture(t.Context(), h, p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Apply(t.Context(), h, nil, p); err != nil {
		t.Fatal(err)
	}
	put(executor.Group{Name: "app", GID: 4242, Members: []string{"ann"}})(t, h)
	if err := m.Revert(t.Context(), h, p, undo); err != nil {
		t.Fatal(err)
	}
	g, _, _ := h.LookupGroup("app")
	if g.GID != 7 || len(g.Members) != 1 {
		t.Errorf("got %+v", g)
	}
}

func TestValidate(t *testing.T) {
	validate := group.Modules()[0].Function().Validate
	for _, c := range []struct {
		params map[string]any
		ok     bool
	}{
		{map[string]any{"name": "app"}, true},
		{map[string]any{"name": "root", "gid": int64(0)}, true},
		{map[string]any{"name": "app", "gid": int64(0)}, false},
		{map[string]any{"name": "app", "gid": int64(-1)}, false},
		{map[string]any{"name": "app", "gid": int64(1) << 32}, false},
	} {
		if err := validate(c.params); (err == nil) != c.ok {
			t.Errorf("%v: %v", c.params, err)
		}
	}
}

// A state that left the tree is undone, and that undo is itself undone when its run fails.
func TestUndoOfARemoval(t *testing.T) {
	h := newHost(t)
	m, p := group.Modules()[0], executor.Params{"name": "app"}
	first, err := m.Capture(t.Context(), h, p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Apply(t.Context(), h, nil, p); err != nil {
		t.Fatal(err)
	}
	app, _, _ := h.LookupGroup("app")
	app.Members = []string{"ann"}
	put(app)(t, h)
	made := snapshot(t, h)
	second, err := m.Capture(t.Context(), h, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Revert(t.Context(), h, p, first); err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(snapshot(t, h), made) {
		t.Fatal("not removed")
	}
	if err := m.Revert(t.Context(), h, p, second); err != nil {
		t.Fatal(err)
	}
	if got := snapshot(t, h); !reflect.DeepEqual(got, made) {
		t.Errorf("was %+v, is %+v", made, got)
	}
}
