package local

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"shoal/executor"
	"shoal/executor/module/group"
	"shoal/executor/module/pkg"
	"shoal/executor/module/user"
	"shoal/executor/moduletest"
	"shoal/executor/packages"
)

// sandbox is the host that a node below --root has.
func sandbox(t *testing.T) executor.Host {
	t.Helper()
	root := machine(t)
	h, err := New(Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	h.Accounts, h.Packages, h.Services = NewAccounts(root), packages.NewAptBelow(h.Files), NewSystemd(root)
	return h
}

// accountBytes are the account files, byte by byte. Homes are left out: one that was made stays.
func accountBytes(t *testing.T, h executor.Host) any {
	t.Helper()
	all := map[string]string{}
	for name := range machineFiles {
		data, err := os.ReadFile(filepath.Join(h.(*Host).Root(), "etc", name))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(data)
	}
	return all
}

func TestUserModuleOnFiles(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: a home cannot be given to its user")
	}
	moduletest.Run(t, moduletest.Suite{Module: user.Modules()[0], Host: sandbox, Snapshot: accountBytes, Cases: []moduletest.Case{
		{Name: "new", Params: executor.Params{"name": "bob", "groups": []any{"sudo"}}},
		{Name: "new of the system", Params: executor.Params{"name": "app", "system": true, "home": "/var/lib/app"}},
		{Name: "changed", Params: executor.Params{"name": "ann", "uid": int64(1234), "group": "daemon", "groups": []any{}, "shell": "/bin/sh"}},
		{Name: "as it is", Params: executor.Params{"name": "ann", "uid": int64(1000), "groups": []any{"sudo"}, "create_home": false}, Matches: true},
		{Name: "a colon", Params: executor.Params{"name": "bob", "gecos": "x:0:0"}, Fails: true},
	}})
}

// What is taken out of the files comes back byte by byte: the place of each row, passwords, the order of members and who
// administers a group.
func TestAbsentOnFiles(t *testing.T) {
	host := func(t *testing.T) executor.Host {
		h := sandbox(t)
		etc := filepath.Join(h.(*Host).Root(), "etc")
		for name, text := range map[string]string{
			"group":   "root:x:0:\ndaemon:x:1:\nsudo:x:27:ann,daemon,root\nann:x:1000:\nnogroup:x:65534:\n+:::\n",
			"gshadow": "root:*::\ndaemon:*::\nsudo:$6$x:ann,root:ann,daemon,root\nann:!::\nnogroup:*::\n",
		} {
			if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		return h
	}
	for _, s := range []moduletest.Suite{
		{Module: user.Modules()[1], Cases: []moduletest.Case{{Name: "user", Params: executor.Params{"name": "ann"}}}},
		{Module: group.Modules()[1], Cases: []moduletest.Case{{Name: "group", Params: executor.Params{"name": "sudo"}}}},
		{Module: user.Modules()[0], Cases: []moduletest.Case{
			{Name: "password", Params: executor.Params{"name": "ann", "password": "$6$y$z", "locked": true, "expires": "2031-01-01", "create_home": false}},
			{Name: "new with one", Params: executor.Params{"name": "bob", "password": "$6$y$z", "groups": []any{"sudo"}, "create_home": false}},
		}},
	} {
		s.Host, s.Snapshot = host, accountBytes
		moduletest.Run(t, s)
	}
}

func TestGroupModuleOnFiles(t *testing.T) {
	moduletest.Run(t, moduletest.Suite{Module: group.Modules()[0], Host: sandbox, Snapshot: accountBytes, Cases: []moduletest.Case{
		{Name: "new", Params: executor.Params{"name": "app"}},
		{Name: "changed", Params: executor.Params{"name": "sudo", "gid": int64(2727)}},
		{Name: "as it is", Params: executor.Params{"name": "sudo", "gid": int64(27)}, Matches: true},
	}})
}

func TestUserModuleMakesTheHome(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: a home cannot be given to its user")
	}
	h := sandbox(t)
	if _, err := user.Modules()[0].Apply(t.Context(), h, nil, executor.Params{"name": "bob"}); err != nil {
		t.Fatal(err)
	}
	st, err := h.Lstat("/home/bob")
	if err != nil || !st.Mode.IsDir() || st.Mode.Perm() != 0o700 || st.UID != 1001 || st.GID != 1001 {
		t.Errorf("got %+v, %v", st, err)
	}
}

// What is installed can be asked below a root folder, and only that.
func TestPkgModuleBelowRoot(t *testing.T) {
	h := sandbox(t)
	const held = "Package: held\nStatus: hold ok installed\nArchitecture: all\nVersion: 2.0-1\n"
	if err := errors.Join(os.MkdirAll(h.Path("/var/lib/dpkg"), 0o755), os.WriteFile(h.Path("/var/lib/dpkg/status"), []byte(held), 0o644)); err != nil {
		t.Fatal(err)
	}
	m := pkg.Modules()[0]
	if change, err := m.Check(t.Context(), h, nil, executor.Params{"name": "held"}); err != nil || change.Needed {
		t.Errorf("got %+v, %v", change, err)
	}
	if _, err := m.Check(t.Context(), h, nil, executor.Params{"name": "gone"}); err == nil {
		t.Error("planned a change that cannot be made")
	}
}

func TestPkgModuleOnApt(t *testing.T) {
	needApt(t)
	h := sandbox(t)
	h.(*Host).Packages = thisApt(t)
	moduletest.Run(t, moduletest.Suite{
		Module: pkg.Modules()[0], Host: func(*testing.T) executor.Host { return h }, NoFaults: "there is one such machine",
		Snapshot: func(t *testing.T, h executor.Host) any {
			all, err := h.Installed(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			return all
		},
		Cases: []moduletest.Case{
			{Name: "held", Params: executor.Params{"name": leaf, "hold": true}},
			{Name: "there", Params: executor.Params{"names": []any{"dpkg", "apt"}}, Matches: true},
		},
	})
}

// TestSweepTakesAccountFiles: what a crash left of a new shadow file goes with the rollback, though no account is changed by it.
func TestSweepTakesAccountFiles(t *testing.T) {
	h := sandbox(t)
	stale := h.Path("/etc/.shoal-new-shadow")
	if err := os.WriteFile(stale, []byte("root:secret::::::\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	undo, err := user.Modules()[0].Capture(t.Context(), h, executor.Params{"name": "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Unstage(undo.Stages); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the stale file: %v", err)
	}
}
