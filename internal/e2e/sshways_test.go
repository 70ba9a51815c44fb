package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shoal/internal/sshdtest"
)

// motdOnly is the smallest tree.
var motdOnly = map[string]string{
	"site.yaml":                   "targets:\n  - on: \"*\"\n    components: [motd]\n",
	"components/motd/states.yaml": "states:\n  motd:\n    file.managed: {path: /etc/motd, content: \"${name} ${tags['os.name']}\"}\n",
}

// TestSSHRefusals: nothing is sent to a machine that is not the one that is known, and the exit status says so.
func TestSSHRefusals(t *testing.T) {
	t.Parallel()
	w := newSSHWorld(t, motdOnly)
	s := w.server(sshdtest.Options{})
	known, err := os.ReadFile(s.KnownHosts())
	if err != nil {
		t.Fatal(err)
	}
	apply := []string{"apply", w.tree, "--ssh", s.Target(), "--root", w.box("m")}
	other, err := sshdtest.WriteKey(filepath.Join(t.TempDir(), "other"), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		prepare func() error
		words   []string
	}{
		{"unknown", func() error { return os.Remove(s.KnownHosts()) }, []string{"is not known", "SHA256:", "add this line"}},
		{"changed", func() error { return s.Know(other) }, []string{"HAS CHANGED", "ssh-keygen -R"}},
		{"encrypted, with no terminal", func() error {
			key := filepath.Join(w.home, ".ssh", "id_ed25519")
			public, err := sshdtest.WriteKey(key, "secret")
			return errors.Join(os.WriteFile(s.KnownHosts(), known, 0o600), err, s.Authorize(public))
		}, []string{"is encrypted", "no terminal", "ssh-add"}},
		{"refused key", func() error {
			_, err := sshdtest.WriteKey(filepath.Join(w.home, ".ssh", "id_ed25519"), "")
			return err
		}, []string{"log in to 127.0.0.1 as", "keys that were shown"}},
	} {
		if err := c.prepare(); err != nil {
			t.Fatal(err)
		}
		_, diagnostics := w.run(5, apply...)
		for _, word := range c.words {
			if !strings.Contains(diagnostics, word) {
				t.Errorf("%s: no %q in:\n%s", c.name, word, diagnostics)
			}
		}
	}
	s.Stop()
	if got := w.reports(3, apply...); got[0].Result != "failed" || !strings.Contains(got[0].Error, "connection refused") {
		t.Errorf("%+v", got)
	}
	w.run(2, "apply", w.tree, "--ssh", "-oProxyCommand=true")
	w.run(2, "apply", w.tree, "--ssh", "a", "--ssh-mode=other")
	w.run(2, "apply", w.tree, "--ssh-file", filepath.Join(w.home, "none"))
}

// TestSSHMany: each machine is one report, in the order in which they were named; the exit status is the worst.
func TestSSHMany(t *testing.T) {
	t.Parallel()
	w := newSSHWorld(t, motdOnly)
	w.write("inventory.yaml", "nodes:\n  c: {tags: {role: web}}\n  b: {tags: {role: db}}\n")
	w.write("components/motd/states.yaml", `states:
  motd:
    file.managed: {path: /etc/motd, content: "${name} of ${tags.role}, ${size(nodes('*'))} in all"}
  b-fails:
    cmd.run: {argv: ["false"]}
    when: tags.role == "db"
`)
	s := w.server(sshdtest.Options{Config: "SetEnv XDG_CACHE_HOME=" + cacheDir(t)})
	config := filepath.Join(w.home, "config")
	text := fmt.Sprintf("Host a b c\n  HostName 127.0.0.1\n  Port %d\n  User root\nHost nowhere\n  HostName 127.0.0.1\n  Port 1\n", s.Port)
	list := filepath.Join(w.home, "hosts")
	if err := errors.Join(os.WriteFile(config, []byte(text), 0o600), os.WriteFile(list, []byte("# machines\nb\n\nnowhere # is not there\na\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	// One folder for all would be one machine: they wait for each other at its lock.
	box := w.box("m")
	got := w.reports(3, "apply", w.tree, "--ssh", "c", "--ssh", "a", "--ssh-file", list, "--ssh-config", config, "--root", box, "--tag", "role=web", "--ssh-parallel", "2")
	var names []string
	for _, r := range got {
		names = append(names, r.Node+" "+r.Result)
	}
	// The tag that is given counts more than that of the inventory.
	if strings.Join(names, ", ") != "c converged, a converged, b converged, nowhere failed" {
		t.Fatalf("%v", names)
	}
}

// TestSSHInventory: machines of the inventory, with their tags and their addresses.
func TestSSHInventory(t *testing.T) {
	t.Parallel()
	w := newSSHWorld(t, motdOnly)
	s := w.server(sshdtest.Options{Config: "SetEnv XDG_CACHE_HOME=" + cacheDir(t)})
	w.write("inventory.yaml", fmt.Sprintf("nodes:\n  a: {tags: {role: web, addr: %q}}\n  b: {tags: {role: db, addr: nowhere}}\n", s.Target()))
	w.write("components/motd/states.yaml", "states:\n  motd:\n    file.managed: {path: /etc/motd, content: \"${name} of ${tags.role}, ${size(nodes('*'))} in all\"}\n")
	box := w.box("m")
	got := w.reports(0, "apply", w.tree, "--ssh-on", "role=web", "--root", box)
	if len(got) != 1 || got[0].Node != "a" {
		t.Fatalf("%+v", got)
	}
	holds(t, filepath.Join(box, "etc/motd"), "a of web, 2 in all")
}

// TestSSHProxyJump: over another machine, by the configuration's names.
func TestSSHProxyJump(t *testing.T) {
	t.Parallel()
	w := newSSHWorld(t, motdOnly)
	edge := w.server(sshdtest.Options{})
	inner := w.server(sshdtest.Options{Config: "SetEnv XDG_CACHE_HOME=" + cacheDir(t)})
	config := filepath.Join(w.home, ".ssh", "config")
	text := fmt.Sprintf("Host edge\n  HostName 127.0.0.1\n  Port %d\n  User root\nHost inner\n  HostName 127.0.0.1\n  Port %d\n  User root\n  ProxyJump edge\n", edge.Port, inner.Port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	box := w.box("m")
	if got := w.reports(0, "apply", w.tree, "--ssh", "inner", "--root", box); got[0].Node != "inner" {
		t.Fatalf("%+v", got)
	}
	holds(t, filepath.Join(box, "etc/motd"), "inner ")
	edge.Stop()
	w.run(3, "apply", w.tree, "--ssh", "inner", "--root", box)
}

func user(s *sshdtest.Server) string { return sshdtest.User + "@" + s.Addr() }

func TestSSHSudo(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode string) {
		w := newSSHWorld(t, motdOnly)
		w.write("components/motd/states.yaml", "states:\n  motd:\n    file.managed: {path: /etc/motd, content: x, mode: \"0600\"}\n")
		s := w.server(sshdtest.WithUser(t, "shoaltest ALL=(ALL) NOPASSWD: ALL", ""))
		box := w.box("m")
		w.run(3, "apply", w.tree, "--ssh", user(s), "--root", box, mode) // without, it may not
		got := w.reports(0, "apply", w.tree, "--ssh", user(s), "--root", box, mode, "--sudo")
		if got[0].Changed != 1 {
			t.Fatalf("%+v", got)
		}
		info, err := os.Stat(filepath.Join(box, "etc/motd"))
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	})
}

// TestSSHSudoPassword: one that wants a password, where there is nobody to ask.
func TestSSHSudoPassword(t *testing.T) {
	t.Parallel()
	w := newSSHWorld(t, motdOnly)
	s := w.server(sshdtest.WithUser(t, "shoaltest ALL=(ALL) ALL", ""))
	_, diagnostics := w.run(5, "apply", w.tree, "--ssh", user(s), "--root", w.box("m"), "--sudo")
	if !strings.Contains(diagnostics, "sudo wants a password, and there is no terminal") {
		t.Errorf("%s", diagnostics)
	}
}

// TestSSHFallback: where the program is refused the work is done all the same, and it is said why.
func TestSSHFallback(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]string{"noexec": ",noexec", "no space": ",size=4m"} {
		t.Run(name, func(t *testing.T) {
			w := newSSHWorld(t, motdOnly)
			w.write("components/motd/states.yaml", "states:\n  motd:\n    file.managed: {path: /etc/motd, content: x}\n  u:\n    group.present: {name: shoalgroup}\n    when: vars.accounts\n")
			w.write("components/motd/defaults.yaml", "accounts: false\n")
			s := w.server(sshdtest.WithUser(t, "shoaltest ALL=(ALL) NOPASSWD: ALL", options))
			box := w.box("m")
			apply := []string{"apply", w.tree, "--ssh", user(s), "--sudo", "--root", box}
			_, diagnostics := w.run(3, append(apply, "--ssh-mode=binary")...)
			if !strings.Contains(diagnostics, "the program cannot run there") {
				t.Errorf("%s", diagnostics)
			}
			absent(t, filepath.Join(box, "etc"))
			_, diagnostics = w.run(0, apply...)
			if !strings.Contains(diagnostics, "the program cannot run there") || !strings.Contains(diagnostics, "state by state") {
				t.Errorf("%s", diagnostics)
			}
			holds(t, filepath.Join(box, "etc/motd"), "x")
			w.write("components/motd/defaults.yaml", "accounts: true\n")
			w.run(0, apply...)
			holds(t, filepath.Join(box, "etc/group"), "\nshoalgroup:x:1000:")
			// What cannot be done from here is named before, and fails when it has something to do.
			w.write("components/motd/states.yaml", "states:\n  p:\n    pkg.installed: {name: shoal-none}\n")
			_, diagnostics = w.run(1, apply...)
			if !strings.Contains(diagnostics, "motd/p: pkg.installed needs the program there, or an agent") {
				t.Errorf("%s", diagnostics)
			}
		})
	}
}
