package sshkey_test

import (
	"io/fs"
	"path"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/sshkey"
	"shoal/executor/moduletest"
	"shoal/internal/testhost"
)

// TestMain: every function of the package has a conformance suite.
func TestMain(m *testing.M) { moduletest.Main(m, sshkey.Modules()) }

const (
	one   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
	two   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
	three = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh"
	list  = "/home/app/.ssh/authorized_keys"
)

func module(t *testing.T, name string) executor.Module {
	t.Helper()
	for _, m := range sshkey.Modules() {
		if m.Function().Name == name {
			return m
		}
	}
	t.Fatal("no function " + name)
	return nil
}

// machine has the user app with a home; below a folder of the disk, or in memory.
func machine(t *testing.T, h executor.Host) executor.Host {
	t.Helper()
	folder(t, h, "/home/app", 0o750, 1234)
	return h
}

func hosts() map[string]func(t *testing.T) executor.Host {
	user := executor.User{Name: "app", UID: 1234, GID: 1234, Home: "/home/app"}
	return map[string]func(t *testing.T) executor.Host{
		"fake": func(t *testing.T) executor.Host {
			h := fake.New()
			if err := h.PutUser(t.Context(), user); err != nil {
				t.Fatal(err)
			}
			return machine(t, h)
		},
		"local": func(t *testing.T) executor.Host {
			h := testhost.Local(t)
			accounts := fake.NewAccounts()
			if err := accounts.PutUser(t.Context(), user); err != nil {
				t.Fatal(err)
			}
			h.Accounts = accounts
			return machine(t, h)
		},
	}
}

func folder(t *testing.T, h executor.Host, name string, mode fs.FileMode, uid uint32) {
	t.Helper()
	if _, err := h.Lstat(name); name == "/" || err == nil {
		return
	}
	folder(t, h, path.Dir(name), 0o755, 0)
	if err := h.Mkdir(name, executor.Meta{Mode: mode, UID: uid, GID: uid}); err != nil {
		t.Fatal(err)
	}
}

func have(lines ...string) func(*testing.T, executor.Host) {
	return func(t *testing.T, h executor.Host) {
		t.Helper()
		folder(t, h, path.Dir(list), 0o700, 1234)
		staged, err := h.Stage(list, []byte(strings.Join(lines, "\n")+"\n"), executor.Meta{Mode: 0o600, UID: 1234, GID: 1234})
		if err == nil {
			err = h.Rename(staged, list)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func text(t *testing.T, h executor.Host) string {
	t.Helper()
	data, err := h.ReadFile(list)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func TestAuthorizedKeys(t *testing.T) {
	type p = executor.Params
	for name, host := range hosts() {
		t.Run(name, func(t *testing.T) {
			run := func(function string, cases ...moduletest.Case) {
				moduletest.Run(t, moduletest.Suite{Module: module(t, function), Host: host, Snapshot: moduletest.Files, Cases: cases})
			}
			run("present",
				moduletest.Case{Name: "new", Params: p{"user": "app", "key": one + " ann"}},
				moduletest.Case{Name: "one more", Params: p{"user": "app", "keys": []any{one, two}}, Setup: have("# mine", one+" old", "", "what is this")},
				moduletest.Case{Name: "options", Params: p{"user": "app", "key": one, "options": []any{"no-pty", `from="10.0.0.0/8,::1"`}}, Setup: have(one + " old")},
				moduletest.Case{Name: "options gone", Params: p{"user": "app", "key": one}, Setup: have("no-pty " + one)},
				moduletest.Case{Name: "twice in the file", Params: p{"user": "app", "key": one}, Setup: have(one, two, one)},
				moduletest.Case{Name: "exclusive", Params: p{"user": "app", "key": one, "exclusive": true}, Setup: have("# c", two, one, three)},
				moduletest.Case{Name: "no keys at all", Params: p{"user": "app", "keys": []any{}, "exclusive": true}, Setup: have("# c", two, one)},
				moduletest.Case{Name: "there, with another comment", Params: p{"user": "app", "key": one}, Setup: have(one + " ann"), Matches: true},
				moduletest.Case{Name: "elsewhere", Params: p{"user": "app", "key": one, "path": "/etc/ssh/keys/app"}},
				moduletest.Case{Name: "open to all", Params: p{"user": "app", "key": one}, Setup: func(t *testing.T, h executor.Host) {
					have(one)(t, h)
					for _, name := range []string{list, path.Dir(list)} {
						if err := h.SetMeta(name, executor.Meta{Mode: 0o777, UID: 5}); err != nil {
							t.Fatal(err)
						}
					}
				}})
			run("absent",
				moduletest.Case{Name: "there", Params: p{"user": "app", "key": one}, Setup: have(two, "no-pty "+one+" x", one)},
				moduletest.Case{Name: "not there", Params: p{"user": "app", "key": one}, Setup: have(two), Matches: true},
				moduletest.Case{Name: "no file", Params: p{"user": "app", "key": one}, Matches: true})
		})
	}
}

func TestLines(t *testing.T) {
	h := hosts()["fake"](t)
	have("# mine", "command=\"/bin/x a,b\" "+one+" old", three)(t, h)
	p := executor.Params{"user": "app", "keys": []any{one, "no-pty " + two + " bob"}}
	out, err := module(t, "present").Apply(t.Context(), h, nil, p)
	if err != nil {
		t.Fatal(err)
	}
	if want := "# mine\n" + one + " old\n" + three + "\nno-pty " + two + " bob\n"; text(t, h) != want {
		t.Errorf("got\n%s\nwant\n%s", text(t, h), want)
	}
	if prints := out["fingerprints"].([]any); len(prints) != 2 || !strings.HasPrefix(prints[0].(string), "SHA256:") {
		t.Errorf("fingerprints %v", prints)
	}
}

// Two states share a file: each takes back its own, in any order, and the last leaves it as it was.
func TestSharedFile(t *testing.T) {
	m := module(t, "present")
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		h := hosts()["fake"](t)
		have(three)(t, h)
		params := []executor.Params{{"user": "app", "key": one}, {"user": "app", "key": two}}
		var undos [2]executor.Undo
		for i, p := range params {
			u, err := m.Capture(t.Context(), h, p)
			if err == nil {
				_, err = m.Apply(t.Context(), h, nil, p)
			}
			if err != nil {
				t.Fatal(err)
			}
			kept := u.Contents
			u.Old = func(hash string) ([]byte, error) { return kept[hash], nil }
			undos[i] = u
		}
		if err := m.Revert(t.Context(), h, params[order[0]], undos[order[0]]); err != nil {
			t.Fatal(err)
		}
		if want := three + "\n" + []string{one, two}[order[1]] + "\n"; text(t, h) != want {
			t.Errorf("after the first: %q", text(t, h))
		}
		if err := m.Revert(t.Context(), h, params[order[1]], undos[order[1]]); err != nil {
			t.Fatal(err)
		}
		if text(t, h) != three+"\n" {
			t.Errorf("after both: %q", text(t, h))
		}
	}
}

func TestJoin(t *testing.T) {
	h := hosts()["fake"](t)
	have(three)(t, h)
	m := module(t, "present").(interface {
		executor.Module
		executor.Joiner
	})
	first, err := m.Capture(t.Context(), h, executor.Params{"user": "app", "key": one})
	if err != nil {
		t.Fatal(err)
	}
	have(three, one, "# by hand")(t, h)
	p := executor.Params{"user": "app", "key": two}
	later, err := m.Capture(t.Context(), h, p)
	if err == nil {
		_, err = m.Apply(t.Context(), h, nil, p)
	}
	if err != nil {
		t.Fatal(err)
	}
	if first.Data, err = m.Join(first.Data, later.Data); err != nil {
		t.Fatal(err)
	}
	if err := m.Revert(t.Context(), h, p, first); err != nil {
		t.Fatal(err)
	}
	if text(t, h) != three+"\n# by hand\n" {
		t.Errorf("left %q", text(t, h))
	}
}

func TestBadKeys(t *testing.T) {
	for want, p := range map[string]executor.Params{
		"needs one of":         {},
		"that is exclusive":    {"keys": []any{}},
		"not a public key":     {"key": "ssh-ed25519 AAAAB3"},
		"one line":             {"key": one + "\n" + two},
		"named twice":          {"keys": []any{one, one + " x"}},
		"do not read back":     {"key": one, "options": []any{"no-pty evil"}},
		"\"# comment\"":        {"key": "# comment"},
		"\"ssh-rsa\" is not a": {"key": "ssh-rsa"},
	} {
		if err := module(t, "present").Function().Validate(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, wanted %q", p, err, want)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add("# x\nno-pty " + one + " c\n\n" + two)
	f.Fuzz(func(t *testing.T, data string) {
		h := hosts()["fake"](t)
		have(data)(t, h)
		m, p := module(t, "present"), executor.Params{"user": "app", "key": one, "options": []any{"no-pty"}}
		if _, err := m.Apply(t.Context(), h, nil, p); err != nil {
			t.Skip(err)
		}
		if change, err := m.Check(t.Context(), h, nil, p); err != nil || change.Needed {
			t.Errorf("%q: %v\n%s", data, err, change.Diff)
		}
	})
}
