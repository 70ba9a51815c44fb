package local

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/module/hostname"
	"shoal/executor/module/mount"
	"shoal/executor/module/pkg"
	"shoal/executor/module/pkgrepo"
	"shoal/executor/module/sysctl"
	"shoal/executor/module/timezone"
	"shoal/executor/moduletest"
	"shoal/executor/packages"
)

// inside marks the process that runs in namespaces of its own; its value is a folder for layers.
const inside = "SHOAL_TEST_INSIDE"

// apart runs the rest of a test in a process of its own, as root of the machine itself but with mounts, a host name and a
// network of its own; what it writes below the layered folders is gone with it. It is true in that process alone.
func apart(t *testing.T, layered ...string) bool {
	t.Helper()
	if dir := os.Getenv(inside); dir != "" {
		layer(t, dir, layered)
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("not root: no namespaces of one's own")
	}
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip("no unshare on this machine")
	}
	if out, err := exec.Command("unshare", "-m", "-u", "-n", "true").CombinedOutput(); err != nil {
		t.Skipf("no namespaces here: %v\n%s", err, out)
	}
	cmd := exec.Command("unshare", "-m", "-u", "-n", "--propagation", "private", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in its namespaces: %v\n%s", err, out)
	}
	return false
}

// layer puts a layer in memory over each folder.
func layer(t *testing.T, dir string, folders []string) {
	t.Helper()
	run(t, "mount", "-t", "tmpfs", "tmpfs", dir)
	for i, folder := range folders {
		upper, work := filepath.Join(dir, string(rune('a'+i)), "upper"), filepath.Join(dir, string(rune('a'+i)), "work")
		run(t, "mkdir", "-p", upper, work)
		run(t, "mount", "-t", "overlay", "overlay", "-o", "lowerdir="+folder+",upperdir="+upper+",workdir="+work, folder)
	}
}

func run(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
}

// itself is the machine, with its root folder.
func itself(t *testing.T) executor.Host {
	h, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	h.Accounts, h.Packages, h.Services = NewAccounts(""), packages.NewApt(h.Files, Tools{}, Clock{}, nil), NewSystemd("")
	return h
}

// texts reads files as they are; one that is not there is empty.
func texts(paths ...string) func(*testing.T, executor.Host) any {
	return func(t *testing.T, _ executor.Host) any {
		all := map[string]string{}
		for _, name := range paths {
			data, err := os.ReadFile(name)
			if err == nil {
				all[name] = string(data)
			}
			if target, err := os.Readlink(name); err == nil {
				all[name] = "-> " + target
			}
		}
		return all
	}
}

func TestSettingsOfThisMachine(t *testing.T) {
	if !apart(t, "/etc") {
		return
	}
	for _, s := range []moduletest.Suite{
		{
			Module:   sysctl.Modules()[0],
			Snapshot: texts("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/ip_local_port_range", "/etc/sysctl.d/99-zz-net.ipv4.ip_forward.conf"),
			Cases: []moduletest.Case{
				{Name: "forward", Params: executor.Params{"name": "net.ipv4.ip_forward", "value": int64(1)}},
				{Name: "words", Params: executor.Params{"name": "net.ipv4.ip_local_port_range", "value": "20000 30000"}},
			},
		},
		{
			Module: hostname.Modules()[0], Snapshot: texts("/proc/sys/kernel/hostname", "/etc/hostname"),
			Cases: []moduletest.Case{{Name: "name", Params: executor.Params{"name": "shoal-test.example"}}},
		},
		{
			Module: timezone.Modules()[0], Snapshot: texts("/etc/localtime", "/etc/timezone"),
			Cases: []moduletest.Case{{Name: "zone", Params: executor.Params{"name": "Asia/Tokyo"}}},
		},
	} {
		s.Host = itself
		moduletest.Run(t, s)
	}
}

// mounts are those at a path, without their numbers, which differ each time.
func mounts(path string) func(*testing.T, executor.Host) any {
	return func(t *testing.T, h executor.Host) any {
		all := texts("/etc/fstab")(t, h).(map[string]string)
		data, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); f[4] == path {
				_, file, _ := strings.Cut(line, " - ")
				all["mounted"] += f[5] + " " + file
			}
		}
		return all
	}
}

func TestMountsOfThisMachine(t *testing.T) {
	if !apart(t, "/etc") {
		return
	}
	dir := filepath.Join(os.Getenv(inside), "point")
	run(t, "mkdir", dir)
	live := func(options string) func(*testing.T, executor.Host) {
		return func(t *testing.T, _ executor.Host) {
			t.Cleanup(func() { run(t, "umount", dir) })
			run(t, "mount", "-t", "tmpfs", "-o", options, "tmpfs", dir)
		}
	}
	p := executor.Params{"path": dir, "device": "tmpfs", "type": "tmpfs", "options": []any{"size=1m", "noexec", "nosuid"}}
	moduletest.Run(t, moduletest.Suite{Module: mount.Modules()[0], Host: itself, Snapshot: mounts(dir), Cases: []moduletest.Case{
		{Name: "new", Params: p},
		{Name: "other options", Params: p, Setup: live("size=1m")},
		{Name: "fewer options", Params: executor.Params{"path": dir, "device": "tmpfs", "type": "tmpfs", "options": []any{"ro"}}, Setup: live("size=1m,nodev")},
	}})
	live("size=1m")(t, nil)
	change, err := mount.Modules()[2].Check(t.Context(), itself(t), nil, executor.Params{"path": dir})
	if err != nil || !change.Needed {
		t.Errorf("%+v, %v", change, err)
	}
}

// TestRepositoryOfThisMachine: a repository in a folder, and its package, through apt.
func TestRepositoryOfThisMachine(t *testing.T) {
	for _, tool := range []string{"apt-get", "dpkg-deb", "dpkg-scanpackages"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s on this machine", tool)
		}
	}
	if !apart(t, "/etc", "/var", "/usr") {
		return
	}
	const repo = "/var/shoal-test-repo"                                          // where apt's own user may read
	run(t, "sh", "-c", "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*") // there is no network in here
	for _, version := range []string{"1.0", "2.0"} {
		build(t, repo, "shoal-test-package", version)
	}
	index(t, repo)
	h := itself(t)
	p := executor.Params{"name": "shoal-test", "uris": []any{"file:" + repo}, "suites": []any{"./"}, "trusted": true, "priority": int64(900)}
	moduletest.Run(t, moduletest.Suite{
		Module: pkgrepo.Modules()[0], Host: func(*testing.T) executor.Host { return h }, NoFaults: "there is one such machine",
		Snapshot: texts("/etc/apt/sources.list.d/shoal-test.sources", "/etc/apt/preferences.d/shoal-test"),
		Cases:    []moduletest.Case{{Name: "new", Params: p}},
	})
	if _, err := pkgrepo.Modules()[0].Apply(t.Context(), h, nil, p); err != nil {
		t.Fatal(err)
	}
	name := executor.Params{"name": "shoal-test-package"}
	old := func(t *testing.T, h executor.Host) {
		if err := h.ChangePackages(t.Context(), []executor.Package{{Name: "shoal-test-package", Version: "1.0"}}, nil); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := h.ChangePackages(context.Background(), nil, []string{"shoal-test-package"}); err != nil {
				t.Error(err)
			}
		})
	}
	all := func(t *testing.T, h executor.Host) any {
		all, err := h.Installed(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for i, cases := range [][]moduletest.Case{
		{{Name: "new", Params: executor.Params{"name": "shoal-test-package", "version": "1.0", "hold": true}}},
		{{Name: "new", Params: name}, {Name: "old", Params: name, Setup: old}},
		{{Name: "there", Params: name, Setup: old}, {Name: "not there", Params: name, Matches: true}},
	} {
		moduletest.Run(t, moduletest.Suite{
			Module: pkg.Modules()[i], Host: func(*testing.T) executor.Host { return h }, NoFaults: "there is one such machine", Snapshot: all, Cases: cases,
		})
	}
	aptWaits(t, h)
	// A repository that cannot be reached is an error, at once.
	gone := executor.Params{"name": "shoal-gone", "uris": []any{"file:/nowhere"}, "suites": []any{"./"}, "trusted": true}
	if _, err := pkgrepo.Modules()[0].Apply(t.Context(), h, nil, gone); err == nil {
		t.Error("a repository that is not there was taken")
	}
}

// aptWaits tries each of the locks of apt and dpkg while another process holds it.
func aptWaits(t *testing.T, h executor.Host) {
	for path, act := range map[string]func(executor.Packages) error{
		"/var/lib/apt/lists/lock": func(p executor.Packages) error { return p.RefreshPackages(t.Context(), "shoal-test", 0) },
		"/var/cache/apt/archives/lock": func(p executor.Packages) error {
			return p.ChangePackages(t.Context(), []executor.Package{{Name: "shoal-test-package", Version: "2.0"}}, nil)
		},
		"/var/lib/dpkg/lock-frontend": func(p executor.Packages) error {
			return p.ChangePackages(t.Context(), nil, []string{"shoal-test-package"})
		},
	} {
		pid, release := lockFromAnotherProcess(t, path)
		waitsFor(t, path, pid, "local.test", release, func(w packages.Waiting) executor.Packages {
			return packages.NewApt(h.(*Host).Files, Tools{}, atOnce{}, w)
		}, act)
	}
	// What a package left is taken while nobody else is at work: here by a lock, as its own tool is told that it is held.
	const conf = "/etc/shoal-test.conf"
	build(t, "/var/conf", "shoal-test-conf", "1", conf)
	run(t, "dpkg", "-i", "/var/conf/shoal-test-conf_1_all.deb")
	run(t, "dpkg", "-r", "shoal-test-conf")
	const lock = "/var/lib/dpkg/lock-frontend"
	pid, release := lockFromAnotherProcess(t, lock)
	waitsFor(t, lock, pid, "local.test", release, func(w packages.Waiting) executor.Packages {
		return packages.NewApt(h.(*Host).Files, Tools{}, atOnce{}, w)
	}, func(p executor.Packages) error {
		if left, err := p.Leftovers(t.Context(), []string{"shoal-test-conf"}); err != nil || len(left) != 1 {
			t.Errorf("left %v, %v", left, err)
		}
		return p.PurgePackages(t.Context(), []string{"shoal-test-conf"})
	})
	if _, err := os.Stat(conf); err == nil {
		t.Error("its configuration is there")
	}
	if release, _, err := (Tools{}).TryLock(lock); release == nil || err != nil {
		t.Errorf("the lock is still held: %v", err)
	} else {
		release()
	}
}

// build makes a package that holds nothing but configuration files.
func build(t *testing.T, repo, name, version string, conf ...string) {
	t.Helper()
	tree := filepath.Join(repo, "tree-"+version)
	for _, file := range conf {
		write(t, filepath.Join(tree, file), "x\n")
		write(t, filepath.Join(tree, "DEBIAN/conffiles"), file+"\n")
	}
	control := "Package: " + name + "\nVersion: " + version + "\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: a test\n"
	run(t, "mkdir", "-p", filepath.Join(tree, "DEBIAN"))
	if err := os.WriteFile(filepath.Join(tree, "DEBIAN/control"), []byte(control), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "dpkg-deb", "--build", "--root-owner-group", tree, repo)
}

func index(t *testing.T, repo string) {
	t.Helper()
	cmd := exec.Command("dpkg-scanpackages", "--multiversion", ".")
	cmd.Dir = repo
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(repo, "Packages"), out, 0o644); err != nil {
		t.Fatal(err)
	}
}
