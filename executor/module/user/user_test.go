package user_test

import (
	"errors"
	"io/fs"
	"maps"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/user"
	"shoal/executor/moduletest"
)

// TestMain: every function of the package has a conformance suite.
func TestMain(m *testing.M) { moduletest.Main(m, user.Modules()) }

// folders is as much of a file system as homes need.
type folders struct {
	executor.Files
	made map[string]executor.Meta
}

func (f folders) Lstat(path string) (executor.Stat, error) {
	m, ok := f.made[path]
	if !ok {
		return executor.Stat{}, fs.ErrNotExist
	}
	return executor.Stat{Mode: m.Mode, UID: m.UID, GID: m.GID}, nil
}

func (f folders) Mkdir(path string, m executor.Meta) error {
	f.made[path] = m
	return nil
}

type host struct {
	executor.Fetcher
	folders
	executor.Commands
	executor.Packages
	executor.Services
	*fake.Accounts
}

// Unstage: nothing is staged.
func (host) Unstage([]string) error { return nil }

func newHost(t *testing.T) executor.Host {
	h := host{folders: folders{made: map[string]executor.Meta{}}, Accounts: fake.NewAccounts()}
	for i, name := range []string{"docker", "wheel", "video"} {
		if err := h.PutGroup(t.Context(), executor.Group{Name: name, GID: uint32(500 + i)}); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

type rows struct {
	Users  map[string]executor.User
	Groups map[string]executor.Group
}

// snapshot leaves out homes: one that was made stays.
func snapshot(t *testing.T, h executor.Host) any {
	t.Helper()
	r := rows{map[string]executor.User{}, map[string]executor.Group{}}
	for _, name := range []string{"root", "app", "docker", "wheel", "video"} {
		u, ok, err := h.LookupUser(name)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			r.Users[name] = u
		}
		g, ok, err := h.LookupGroup(name)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			r.Groups[name] = g
		}
	}
	return r
}

var app = executor.User{Name: "app", UID: 1234, GID: 500, Gecos: "App", Home: "/srv/app", Shell: "/bin/sh", Groups: []string{"video", "wheel"}}

func withApp(t *testing.T, h executor.Host) {
	t.Helper()
	if err := h.PutUser(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	if err := h.Mkdir("/srv/app", executor.Meta{}); err != nil {
		t.Fatal(err)
	}
}

func TestPresent(t *testing.T) {
	moduletest.Run(t, moduletest.Suite{
		Module: user.Modules()[0], Host: newHost, Snapshot: snapshot,
		Cases: []moduletest.Case{
			{Name: "new", Params: executor.Params{"name": "app"}},
			{Name: "new of the system", Params: executor.Params{"name": "app", "system": true}},
			{Name: "new with all", Params: executor.Params{"name": "app", "uid": int64(77), "group": "docker", "home": "/x/y",
				"shell": "/bin/zsh", "gecos": "A", "groups": []any{"wheel", "video", "wheel"}}},
			{Name: "new with primary group 0", Params: executor.Params{"name": "app", "gid": int64(0)}, Setup: func(t *testing.T, h executor.Host) {
				// The group of its own name is there, so that nothing but the row is made.
				if err := h.PutGroup(t.Context(), executor.Group{Name: "app", GID: 9}); err != nil {
					t.Fatal(err)
				}
			}},
			{Name: "new with its group there", Params: executor.Params{"name": "app"}, Setup: func(t *testing.T, h executor.Host) {
				if err := h.PutGroup(t.Context(), executor.Group{Name: "app", GID: 9}); err != nil {
					t.Fatal(err)
				}
			}},
			{Name: "there", Params: executor.Params{"name": "app"}, Setup: withApp, Matches: true},
			{Name: "there as asked", Setup: withApp, Matches: true, Params: executor.Params{"name": "app", "uid": int64(1234), "gid": int64(500),
				"gecos": "App", "home": "/srv/app", "shell": "/bin/sh", "groups": []any{"wheel", "video"}}},
			{Name: "other row", Setup: withApp, Params: executor.Params{"name": "app", "uid": int64(88), "group": "wheel", "gecos": "",
				"home": "/home/b", "shell": "/bin/dash", "groups": []any{}}},
			{Name: "groups added", Setup: withApp, Params: executor.Params{"name": "app", "groups": []any{"docker"}, "remove_groups": false}},
			{Name: "groups that it has", Setup: withApp, Matches: true,
				Params: executor.Params{"name": "app", "groups": []any{"wheel"}, "remove_groups": false}},
			{Name: "a uid that is taken", Setup: withApp, Fails: true, Params: executor.Params{"name": "wheel", "uid": int64(1234)}},
		},
	})
}

const hash, other = "$6$salt$abcdef", "$y$j9T$salt$ghijkl"

func withPassword(hash string) func(*testing.T, executor.Host) {
	return func(t *testing.T, h executor.Host) {
		t.Helper()
		withApp(t, h)
		u := app
		u.Shadow = hash + ":19000:0:99999:7:::"
		if err := h.PutUser(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
}

var passwordCases = []moduletest.Case{
	{Name: "new with a password", Params: executor.Params{"name": "app", "password": hash, "expires": "2030-12-31"}},
	{Name: "new without one, unlocked", Params: executor.Params{"name": "app", "locked": false}},
	{Name: "another password", Setup: withPassword(other), Params: executor.Params{"name": "app", "password": hash}},
	{Name: "that password", Setup: withPassword(hash), Params: executor.Params{"name": "app", "password": hash, "locked": false}, Matches: true},
	{Name: "that password, locked by someone", Setup: withPassword("!" + hash), Params: executor.Params{"name": "app", "password": hash}, Matches: true},
	{Name: "to be locked", Setup: withPassword(hash), Params: executor.Params{"name": "app", "locked": true}},
	{Name: "to be unlocked", Setup: withPassword("!" + hash), Params: executor.Params{"name": "app", "locked": false}},
	{Name: "nothing to unlock", Setup: withPassword("!"), Params: executor.Params{"name": "app", "locked": false}, Matches: true},
	{Name: "an empty password is taken away", Setup: withPassword(""), Params: executor.Params{"name": "app", "locked": false}},
	{Name: "expires", Setup: withPassword(hash), Params: executor.Params{"name": "app", "expires": "2030-12-31"}},
	{Name: "never expires", Setup: withPassword(hash), Params: executor.Params{"name": "app", "expires": "never"}, Matches: true},
}

var absentCases = []moduletest.Case{
	{Name: "there", Setup: withPassword(hash), Params: executor.Params{"name": "app"}},
	{Name: "not there", Params: executor.Params{"name": "app"}, Matches: true},
}

func TestPasswordsAndAbsent(t *testing.T) {
	for i, cases := range [][]moduletest.Case{passwordCases, absentCases} {
		moduletest.Run(t, moduletest.Suite{Module: user.Modules()[i], Host: newHost, Snapshot: snapshot, Cases: cases})
	}
}

func TestHashesAreNotShown(t *testing.T) {
	h := newHost(t)
	withPassword(other)(t, h)
	change, err := user.Modules()[0].Check(t.Context(), h, nil, executor.Params{"name": "app", "password": hash})
	if err != nil || change.Diff != "password: set -> set\n" {
		t.Errorf("%q, %v", change.Diff, err)
	}
}

func TestHomeIsMadeAndKept(t *testing.T) {
	h := newHost(t).(host)
	m, p := user.Modules()[0], executor.Params{"name": "app", "home": "/srv/deep/app"}
	undo, err := m.Capture(t.Context(), h, p)
	if err != nil {
		t.Fatal(err)
	}
	out, err := m.Apply(t.Context(), h, nil, p)
	if err != nil {
		t.Fatal(err)
	}
	home, err := h.Lstat("/srv/deep/app")
	if err != nil || home.Mode.Perm() != 0o700 || int64(home.UID) != out["uid"] || int64(home.GID) != out["gid"] {
		t.Errorf("home %+v, %v; outputs %v", home, err, out)
	}
	if above, err := h.Lstat("/srv/deep"); err != nil || above.UID != 0 || above.Mode.Perm() != 0o755 {
		t.Errorf("folder above the home %+v, %v", above, err)
	}
	if err := m.Revert(t.Context(), h, p, undo); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Lstat("/srv/deep/app"); err != nil {
		t.Error("the home was deleted")
	}
}

func TestHomeNotWanted(t *testing.T) {
	for name, p := range map[string]executor.Params{
		"create_home": {"name": "app", "create_home": false},
		"system":      {"name": "app", "system": true},
	} {
		h := newHost(t).(host)
		if _, err := user.Modules()[0].Apply(t.Context(), h, nil, p); err != nil {
			t.Fatal(err)
		}
		if len(h.made) != 0 {
			t.Errorf("%s: made %v", name, maps.Clone(h.made))
		}
	}
}

func TestMissingGroup(t *testing.T) {
	for _, p := range []executor.Params{
		{"name": "app", "group": "nope"},
		{"name": "app", "gid": int64(9999)},
		{"name": "app", "groups": []any{"docker", "nope"}},
	} {
		h := newHost(t)
		change, err := user.Modules()[0].Check(t.Context(), h, nil, p)
		var missing *executor.Missing
		if !errors.As(err, &missing) || !change.Needed || change.Diff == "" {
			t.Errorf("%v: check gave %+v, %v", p, change, err)
		}
		if _, err := user.Modules()[0].Apply(t.Context(), h, nil, p); err == nil {
			t.Errorf("%v: applied", p)
		}
	}
}

func TestValidate(t *testing.T) {
	validate := user.Modules()[0].Function().Validate
	for _, c := range []struct {
		params map[string]any
		ok     bool
	}{
		{map[string]any{"name": "app", "uid": int64(5), "gid": int64(0)}, true},
		{map[string]any{"name": "root", "uid": int64(0)}, true},
		{map[string]any{"name": "app", "uid": int64(0)}, false},
		{map[string]any{"name": "app", "uid": int64(-1)}, false},
		{map[string]any{"name": "app", "gid": int64(1) << 40}, false},
		{map[string]any{"name": "app", "gid": int64(5), "group": "x"}, false},
		{map[string]any{"name": "app", "password": hash, "expires": "never"}, true},
		{map[string]any{"name": "app", "password": "!"}, true},
		{map[string]any{"name": "app", "password": "hunter2"}, false},
		{map[string]any{"name": "app", "password": ""}, false},
		{map[string]any{"name": "app", "password": hash + ":0"}, false},
		{map[string]any{"name": "app", "expires": "tomorrow"}, false},
	} {
		if err := validate(c.params); (err == nil) != c.ok {
			t.Errorf("%v: %v", c.params, err)
		}
	}
}
