package sysctl_test

import (
	"errors"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/sysctl"
	"shoal/executor/moduletest"
)

// TestMain: every function of the package has a conformance suite.
func TestMain(m *testing.M) { moduletest.Main(m, sysctl.Modules()) }

func newHost(t *testing.T) executor.Host {
	h := fake.New()
	moduletest.Put(t, h, "/proc/sys/net/ipv4/ip_forward", "0\n")
	moduletest.Put(t, h, "/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n")
	moduletest.Put(t, h, "/proc/sys/net/ipv4/conf/eth0.1/forwarding", "0\n")
	return h
}

// snapshot takes a tab for a blank: the kernel writes its own.
func snapshot(t *testing.T, h executor.Host) any {
	all := moduletest.Tree(t, h, "/")
	for name, row := range all {
		all[name] = strings.ReplaceAll(row, `\t`, " ")
	}
	return all
}

const own = "/etc/sysctl.d/99-zz-net.ipv4.ip_forward.conf"

func set(live, text string) func(*testing.T, executor.Host) {
	return func(t *testing.T, h executor.Host) {
		moduletest.Put(t, h, own, text)
		if err := h.WriteSetting("/proc/sys/net/ipv4/ip_forward", []byte(live)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPresentAndAbsent(t *testing.T) {
	on := executor.Params{"name": "net.ipv4.ip_forward", "value": int64(1)}
	for i, cases := range [][]moduletest.Case{
		{
			{Name: "new", Params: on},
			{Name: "a truth", Params: executor.Params{"name": "net.ipv4.ip_forward", "value": true}},
			{Name: "another value", Params: on, Setup: set("0\n", "net/ipv4/ip_forward = 0\n")},
			{Name: "not live", Params: on, Setup: set("0\n", "net/ipv4/ip_forward = 1\n")},
			{Name: "not kept", Params: on, Setup: set("1\n", "")},
			{Name: "as asked", Params: on, Setup: set("1\n", "net/ipv4/ip_forward = 1\n"), Matches: true},
			{Name: "three words", Params: executor.Params{"name": "net.ipv4.tcp_rmem", "value": "4096 65536  6291456"}},
			{Name: "one the kernel does not have", Params: executor.Params{"name": "kernel.yama.ptrace_scope", "value": int64(1), "optional": true}},
			{Name: "a dot in a part", Params: executor.Params{"name": "net/ipv4/conf/eth0.1/forwarding", "value": "1"}},
		},
		{
			{Name: "there", Params: executor.Params{"name": "net.ipv4.ip_forward"}, Setup: set("1\n", "x")},
			{Name: "not there", Params: executor.Params{"name": "net.ipv4.ip_forward"}, Matches: true},
		},
	} {
		moduletest.Run(t, moduletest.Suite{Module: sysctl.Modules()[i], Host: newHost, Snapshot: snapshot, Cases: cases})
	}
}

func TestWhatIsWritten(t *testing.T) {
	h := newHost(t)
	out, err := sysctl.Modules()[0].Apply(t.Context(), h, nil, executor.Params{"name": "net/ipv4/conf/eth0.1/forwarding", "value": int64(1)})
	if err != nil {
		t.Fatal(err)
	}
	const path = "/etc/sysctl.d/99-zz-net.ipv4.conf.eth0.1.forwarding.conf"
	for name, want := range map[string]string{
		path: "net/ipv4/conf/eth0.1/forwarding = 1\n", "/proc/sys/net/ipv4/conf/eth0.1/forwarding": "1\n",
	} {
		if data, err := h.ReadFile(name); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	if out["path"] != path || out["value"] != "1" || out["changed"] != true {
		t.Errorf("outputs %v", out)
	}
}

func TestNoSuchSetting(t *testing.T) {
	p := executor.Params{"name": "net.netfilter.nf_conntrack_max", "value": int64(9)}
	change, err := sysctl.Modules()[0].Check(t.Context(), newHost(t), nil, p)
	var missing *executor.Missing
	if !errors.As(err, &missing) || !change.Needed {
		t.Errorf("%+v, %v", change, err)
	}
	if _, err := sysctl.Modules()[0].Apply(t.Context(), newHost(t), nil, p); err == nil {
		t.Error("applied")
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name  string
		value any
		ok    bool
	}{
		{"vm.swappiness", int64(10), true}, {"kernel.core_pattern", "|/bin/x %p", true}, {"", 1, false}, {"vm..x", int64(1), false},
		{"../etc/passwd", "x", false}, {"vm/../../x", "x", false}, {"vm.x", "a\nb", false}, {"vm.x", []any{"a"}, false}, {"vm x", "1", false},
	} {
		if err := sysctl.Modules()[0].Function().Validate(map[string]any{"name": c.name, "value": c.value}); (err == nil) != c.ok {
			t.Errorf("%q = %v: %v", c.name, c.value, err)
		}
	}
}
