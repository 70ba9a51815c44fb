package kmod_test

import (
	"slices"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/kmod"
	"shoal/executor/moduletest"
	"shoal/internal/setting"
)

// TestMain: every function of the package has a conformance suite.
func TestMain(m *testing.M) { moduletest.Main(m, kmod.Modules()) }

var modules = kmod.Modules()

// kernel plays modprobe and shows what is loaded in /proc/modules.
type kernel struct {
	*fake.Host
	t      *testing.T
	loaded []string
}

func newHost(t *testing.T) executor.Host {
	k := &kernel{Host: fake.New(), t: t}
	k.Exec = k.modprobe
	k.show()
	moduletest.Put(t, k, "/sys/module/builtin_one/uevent", "")
	return k
}

func (k *kernel) show() {
	if err := k.ensure(); err != nil {
		k.t.Fatal(err)
	}
	var b strings.Builder
	for _, name := range k.loaded {
		b.WriteString(name + " 16384 0 - Live 0x0\n")
	}
	if err := k.WriteSetting("/proc/modules", []byte(b.String())); err != nil {
		k.t.Fatal(err)
	}
}

func (k *kernel) ensure() error {
	if _, err := k.Lstat("/proc/modules"); err != nil {
		moduletest.Put(k.t, k, "/proc/modules", "")
	}
	return nil
}

func (k *kernel) modprobe(cmd executor.Command) (executor.Exit, error) {
	name := strings.ReplaceAll(cmd.Argv[len(cmd.Argv)-1], "-", "_")
	k.loaded = slices.DeleteFunc(k.loaded, func(m string) bool { return m == name })
	switch {
	case name == "nope":
		return executor.Exit{Status: 1, Stderr: []byte("FATAL: Module nope not found\n")}, nil
	case cmd.Argv[1] != "-r":
		k.loaded = append(k.loaded, name)
	}
	k.show()
	return executor.Exit{}, nil
}

func load(names ...string) func(*testing.T, executor.Host) {
	return func(t *testing.T, h executor.Host) {
		for _, name := range names {
			if err := setting.Run(t.Context(), h, "modprobe", name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestStates(t *testing.T) {
	zram := executor.Params{"name": "zram"}
	bridge := executor.Params{"name": "br-netfilter"}
	for i, cases := range [][]moduletest.Case{
		{
			{Name: "not loaded", Params: zram},
			{Name: "with options", Params: executor.Params{"name": "zram", "options": "num_devices=4"}},
			{Name: "loaded, not kept", Params: bridge, Setup: load("br-netfilter")},
			{Name: "built in", Params: executor.Params{"name": "builtin-one"}},
			{Name: "loaded and kept", Params: bridge, Matches: true, Setup: func(t *testing.T, h executor.Host) {
				load("br-netfilter")(t, h)
				moduletest.Put(t, h, "/etc/modules-load.d/br-netfilter.conf", "br-netfilter\n")
			}},
		},
		{
			{Name: "loaded and kept", Params: zram, Setup: func(t *testing.T, h executor.Host) {
				load("zram")(t, h)
				moduletest.Put(t, h, "/etc/modules-load.d/zram.conf", "zram\n")
			}},
			{Name: "not loaded", Params: zram, Matches: true},
			{Name: "built in", Params: executor.Params{"name": "builtin-one"}, Fails: true},
		},
		{
			{Name: "new", Params: zram, Setup: load("zram")},
			{Name: "not by name either", Params: executor.Params{"name": "zram", "never": true}, Setup: func(t *testing.T, h executor.Host) {
				moduletest.Put(t, h, "/etc/modprobe.d/blacklist-zram.conf", "blacklist zram\n")
			}},
			{Name: "never there", Params: executor.Params{"name": "zram", "never": true}, Matches: true, Setup: func(t *testing.T, h executor.Host) {
				moduletest.Put(t, h, "/etc/modprobe.d/blacklist-zram.conf", "blacklist zram\ninstall zram /bin/false\n")
			}},
			{Name: "there", Params: zram, Matches: true, Setup: func(t *testing.T, h executor.Host) {
				moduletest.Put(t, h, "/etc/modprobe.d/blacklist-zram.conf", "blacklist zram\n")
			}},
		},
	} {
		moduletest.Run(t, moduletest.Suite{
			Module: modules[i], Host: newHost, Cases: cases,
			Snapshot: func(t *testing.T, h executor.Host) any { return moduletest.Tree(t, h, "/") },
		})
	}
}

func TestNoSuchModule(t *testing.T) {
	_, err := modules[0].Apply(t.Context(), newHost(t), nil, executor.Params{"name": "nope"})
	if err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("got %v", err)
	}
	for name, ok := range map[string]bool{"br_netfilter": true, "-r": false, "a/b": false, "": false} {
		if err := modules[0].Function().Validate(map[string]any{"name": name}); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
