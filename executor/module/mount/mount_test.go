package mount_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/mount"
	"shoal/executor/moduletest"
)

// TestMain: every function of the package has a conformance suite.
func TestMain(m *testing.M) { moduletest.Main(m, mount.Modules()) }

var modules = mount.Modules()

// kernel plays mount and umount, and shows what is mounted in mountinfo.
type kernel struct {
	*fake.Host
	t      *testing.T
	mounts [][4]string // point, type, options, source
}

const table = "# <file system> <mount point> ...\nUUID=1 / ext4 errors=remount-ro 0 1\nproc  /proc  proc  defaults"

func newHost(t *testing.T) executor.Host {
	k := &kernel{Host: fake.New(), t: t}
	k.Exec = k.run
	moduletest.Put(t, k, "/proc/self/mountinfo", "")
	moduletest.Put(t, k, "/srv/data/x", "")
	moduletest.Put(t, k, "/dev/disk/by-uuid/x", "")
	if err := k.Symlink("../../sdb1", "/dev/disk/by-uuid/abc"); err != nil {
		t.Fatal(err)
	}
	moduletest.Put(t, k, "/etc/fstab", table)
	k.show()
	return k
}

func (k *kernel) show() {
	text := "21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw,errors=remount-ro\n"
	for i, m := range k.mounts {
		text += fmt.Sprintf("%d 21 0:%d / %s %s shared:1 - %s %s rw\n", 30+i, 30+i, m[0], m[2], m[1], m[3])
	}
	if err := k.WriteSetting("/proc/self/mountinfo", []byte(text)); err != nil {
		k.t.Fatal(err)
	}
}

func (k *kernel) run(cmd executor.Command) (executor.Exit, error) {
	point := cmd.Argv[len(cmd.Argv)-1]
	at := slices.IndexFunc(k.mounts, func(m [4]string) bool { return m[0] == point })
	switch remount := cmd.Argv[0] == "mount" && cmd.Argv[1] == "-o"; {
	case cmd.Argv[0] == "umount" && at < 0, remount && at < 0:
		return executor.Exit{Status: 32, Stderr: []byte("not mounted")}, nil
	case cmd.Argv[0] == "umount":
		k.mounts = slices.Delete(k.mounts, at, at+1)
	case remount:
		k.mounts[at][2] = shown(strings.TrimPrefix(cmd.Argv[2], "remount,"))
	case strings.Contains(cmd.Argv[5], "broken"):
		return executor.Exit{Status: 32, Stderr: []byte("wrong fs type")}, nil
	default:
		k.mounts = append(k.mounts, [4]string{point, cmd.Argv[2], shown(cmd.Argv[4]), cmd.Argv[5]})
	}
	k.show()
	return executor.Exit{}, nil
}

// shown are options as the kernel shows them.
func shown(options string) string {
	var out []string
	asked := strings.Split(options, ",")
	if !slices.Contains(asked, "ro") {
		out = append(out, "rw")
	}
	for _, o := range []string{"ro", "nosuid", "nodev", "noexec", "noatime"} {
		if slices.Contains(asked, o) {
			out = append(out, o)
		}
	}
	return strings.Join(out, ",")
}

// live mounts something on /srv/data, and gives fstab a row for it.
func live(source, kind, options, row string) func(*testing.T, executor.Host) {
	return func(t *testing.T, h executor.Host) {
		k := h.(*kernel)
		if source != "" {
			k.mounts = append(k.mounts, [4]string{"/srv/data", kind, options, source})
			k.show()
		}
		if row != "" {
			moduletest.Put(t, h, "/etc/fstab", table+"\n"+row+"# end\n")
		}
	}
}

func data(options ...any) executor.Params {
	p := executor.Params{"path": "/srv/data", "device": "/dev/sdb1", "type": "ext4"}
	if len(options) > 0 {
		p["options"] = options
	}
	return p
}

func TestStates(t *testing.T) {
	const kept = "/dev/sdb1\t/srv/data\text4\tdefaults\n"
	for i, cases := range [][]moduletest.Case{
		{
			{Name: "new", Params: data()},
			{Name: "kept, not mounted", Params: data(), Setup: live("", "", "", kept)},
			{Name: "mounted, not kept", Params: data(), Setup: live("/dev/sdb1", "ext4", "rw", "")},
			{Name: "by uuid", Params: executor.Params{"path": "/srv/data", "device": "UUID=abc", "type": "ext4"}, Matches: true,
				Setup: live("/dev/sdb1", "ext4", "rw", "UUID=abc /srv/data ext4 defaults 0 0\n")},
			{Name: "as asked", Params: data(), Setup: live("/dev/sdb1", "ext4", "rw", kept), Matches: true},
			{Name: "to be read-only", Params: data("ro", "noexec"), Setup: live("/dev/sdb1", "ext4", "rw", kept)},
			{Name: "to be writable again", Params: data(), Setup: live("/dev/sdb1", "ext4", "ro", "/dev/sdb1 /srv/data ext4 ro 0 0\n")},
			{Name: "another disk there", Params: data(), Setup: live("/dev/sdc1", "xfs", "rw", "/dev/sdc1 /srv/data xfs defaults 0 2\n")},
			{Name: "in memory", Params: executor.Params{"path": "/srv/data", "device": "tmpfs", "type": "tmpfs", "options": []any{"nosuid"}}},
			{Name: "in place of one in memory", Params: data(), Setup: live("tmpfs", "tmpfs", "rw", ""), Irreversible: true},
		},
		{
			{Name: "new row", Params: data("noauto")},
			{Name: "that row", Params: data(), Setup: live("", "", "", kept), Matches: true},
		},
		{
			{Name: "mounted and kept", Params: executor.Params{"path": "/srv/data"}, Setup: live("/dev/sdb1", "ext4", "ro", kept+kept)},
			{Name: "kept", Params: executor.Params{"path": "/srv/data"}, Setup: live("", "", "", kept)},
			{Name: "nothing", Params: executor.Params{"path": "/srv/data"}, Matches: true},
			{Name: "no folder", Params: executor.Params{"path": "/none"}, Matches: true},
		},
	} {
		moduletest.Run(t, moduletest.Suite{
			Module: modules[i], Host: newHost, Cases: cases,
			Snapshot: func(t *testing.T, h executor.Host) any { return moduletest.Tree(t, h, "/") },
		})
	}
}

func TestTable(t *testing.T) {
	h := newHost(t)
	p := executor.Params{"path": "/srv/data", "device": "LABEL=my disk", "type": "ext4", "options": []any{"ro", "nofail"}, "pass": int64(2)}
	if _, err := modules[1].Apply(t.Context(), h, nil, p); err != nil {
		t.Fatal(err)
	}
	want := table + "\nLABEL=my\\040disk /srv/data ext4 ro,nofail 0 2\n"
	if got, err := h.ReadFile("/etc/fstab"); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
}

// A mount that fails leaves what was mounted before.
func TestFailedMountLeavesTheOldOne(t *testing.T) {
	h := newHost(t)
	live("/dev/sdc1", "xfs", "rw", "")(t, h)
	p := data()
	p["device"] = "/dev/broken"
	if _, err := modules[0].Apply(t.Context(), h, nil, p); err == nil || !strings.Contains(err.Error(), "wrong fs type") {
		t.Errorf("got %v", err)
	}
	if info, _ := h.ReadFile("/proc/self/mountinfo"); !strings.Contains(string(info), "/srv/data rw shared:1 - xfs /dev/sdc1") {
		t.Errorf("mounted is\n%s", info)
	}
}

// Two states write one file: the undo of one, when the other has come since, takes its own row alone.
func TestUndoTakesItsOwnRow(t *testing.T) {
	h, m := newHost(t), modules[1]
	one, two := data(), executor.Params{"path": "/srv/other", "device": "/dev/sdd1", "type": "xfs"}
	undo, err := m.Capture(t.Context(), h, one)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []executor.Params{one, two} {
		if _, err := m.Apply(t.Context(), h, nil, p); err != nil {
			t.Fatal(err)
		}
	}
	undo.Old = func(string) ([]byte, error) { return []byte(table), nil }
	if err := m.Revert(t.Context(), h, one, undo); err != nil {
		t.Fatal(err)
	}
	if got, _ := h.ReadFile("/etc/fstab"); string(got) != table+"\n/dev/sdd1 /srv/other xfs defaults 0 0\n" {
		t.Errorf("left %q", got)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		change executor.Params
		ok     bool
	}{
		{nil, true}, {executor.Params{"device": "-o"}, false}, {executor.Params{"type": "ext4 x"}, false}, {executor.Params{"options": []any{"a,b"}}, false},
		{executor.Params{"options": []any{""}}, false}, {executor.Params{"pass": int64(-1)}, false}, {executor.Params{"device": "a\nb"}, false},
	} {
		p := data()
		for name, v := range c.change {
			p[name] = v
		}
		if err := modules[0].Function().Validate(p); (err == nil) != c.ok {
			t.Errorf("%v: %v", c.change, err)
		}
	}
}
