package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"shoal/executor"
	"shoal/executor/hosttest"
	"shoal/executor/module/service"
	"shoal/executor/moduletest"
	"shoal/executor/services"
	"shoal/internal/codec"
)

// ownSystemd is a real systemd, with a bus and a journal, that runs as the first process of namespaces of its own.
type ownSystemd struct {
	pid   int
	units int
}

// proc is the path of a file as that systemd sees it.
func (o *ownSystemd) proc(path string) string {
	return filepath.Join("/proc", strconv.Itoa(o.pid), "root", path)
}

// startSystemd skips loudly where a systemd cannot be started.
func startSystemd(t *testing.T) *ownSystemd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: a systemd of one's own needs namespaces")
	}
	for _, tool := range []string{"/usr/lib/systemd/systemd", "/usr/bin/dbus-daemon", "unshare", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("a systemd of one's own needs %s: %v", tool, err)
		}
	}
	script, err := filepath.Abs("testdata/systemd.sh")
	if err != nil {
		t.Fatal(err)
	}
	group := fmt.Sprintf("shoal-test-%d", os.Getpid())
	makeCgroups(t, group)
	var output bytes.Buffer
	cmd := exec.Command(script, group)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL, Setsid: true,
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("no namespaces here: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	o := &ownSystemd{pid: cmd.Process.Pid}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // the kernel ends all of its namespace with it
		if ended != nil {
			<-ended
		}
	})
	s := o.over(o.proc("/run/dbus/system_bus_socket"), true)
	defer s.Close()
	deadline := time.After(30 * time.Second)
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		target, err := s.Unit(t.Context(), "shoal.target")
		if err == nil && target.Active {
			return o
		}
		select {
		case err := <-ended:
			ended = nil
			t.Skipf("a systemd of one's own does not start here: %v\n%s", err, output.String())
		case <-deadline:
			t.Skipf("a systemd of one's own does not get ready here within 30 s: %+v, %v", target, err)
		case <-tick.C:
		}
	}
}

// makeCgroups makes a cgroup in each hierarchy that systemd uses, and removes what it made of it at the end.
func makeCgroups(t *testing.T, name string) {
	t.Helper()
	hierarchies := []string{"/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		hierarchies = []string{"/sys/fs/cgroup"}
	}
	for _, h := range hierarchies {
		dir := filepath.Join(h, name)
		if err := os.Mkdir(dir, 0o755); errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			t.Skipf("no cgroups here: %v", err)
		}
		t.Cleanup(func() { removeCgroup(t, dir) })
	}
}

// removeCgroup removes the folders below first. The kernel takes a moment to see that the last process is gone.
func removeCgroup(t *testing.T, dir string) {
	deadline := time.Now().Add(10 * time.Second)
	for {
		var dirs []string
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			_ = os.Remove(dirs[i])
		}
		if _, err := os.Stat(dir); err != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("the cgroup %s is still there", dir)
			return
		}
		time.Sleep(10 * time.Millisecond) // a poll: rmdir of a cgroup has no event to wait for
	}
}

// relay runs TestRelayHelper of this binary in its pid namespace: its private socket refuses whom it cannot see. It returns
// the socket that leads there.
func (o *ownSystemd) relay(t *testing.T) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "relay")
	cmd := exec.Command("nsenter", "--target", strconv.Itoa(o.pid), "--pid", os.Args[0], "-test.run=^TestRelayHelper$")
	cmd.Env = append(os.Environ(), "SHOAL_TEST_RELAY="+socket, "SHOAL_TEST_RELAY_TO="+o.proc("/run/systemd/private"))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait() // it says PASS into a pipe that nobody reads any more
	})
	if _, err := io.ReadFull(stdout, make([]byte, len("ready"))); err != nil {
		t.Fatal(err)
	}
	return socket
}

func TestRelayHelper(t *testing.T) {
	from, to := os.Getenv("SHOAL_TEST_RELAY"), os.Getenv("SHOAL_TEST_RELAY_TO")
	if from == "" {
		t.Skip("runs as a child of TestSystemd")
	}
	listener, err := net.Listen("unix", from)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Print("ready")
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", to)
			if err != nil {
				near.Close()
				continue
			}
			go func() { _, _ = io.Copy(far, near); far.Close() }()
			go func() { _, _ = io.Copy(near, far); near.Close() }()
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
	listener.Close()
}

// over reaches it through a socket, at which there is a bus or itself.
func (o *ownSystemd) over(socket string, bus bool) *Systemd {
	return &Systemd{
		dial: func(context.Context) (*dbus.Conn, error) {
			conn, err := dbus.Dial("unix:path=" + socket)
			if err != nil {
				return nil, err
			}
			err = conn.Auth([]dbus.Auth{dbus.AuthExternal("0")})
			if err == nil && bus {
				err = conn.Hello()
			}
			if err != nil {
				conn.Close()
				return nil, err
			}
			return conn, nil
		},
		log: func(ctx context.Context, unit string) string {
			args := append([]string{"--target", strconv.Itoa(o.pid), "--mount", "journalctl"}, journalArgs(unit)...)
			return lastLines(exec.CommandContext(ctx, "nsenter", args...))
		},
	}
}

const (
	goodService = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 1000\nExecReload=/bin/true\n[Install]\nWantedBy=shoal.target\n"
	badService  = "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo the port is taken; exit 3'\n"
)

// unit writes a unit file of a name that was not used before. Below /run, as one in /etc could not be masked.
func (o *ownSystemd) unit(t *testing.T, text string) string {
	t.Helper()
	o.units++
	name := fmt.Sprintf("unit%d", o.units)
	o.write(t, name, text)
	return name
}

func (o *ownSystemd) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(o.proc("/run/systemd/system/"+name+".service"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestSystemd(t *testing.T) {
	o := startSystemd(t)
	for name, s := range map[string]*Systemd{
		"bus": o.over(o.proc("/run/dbus/system_bus_socket"), true), "private": o.over(o.relay(t), false),
	} {
		t.Run(name, func(t *testing.T) {
			defer s.Close()
			hosttest.ServicesSuite(t, func(t *testing.T) hosttest.ServicesFixture {
				return hosttest.ServicesFixture{Services: s, Unit: o.unit(t, goodService), Fails: o.unit(t, badService)}
			})
			t.Run("a failure tells the log", func(t *testing.T) {
				err := s.StartUnit(t.Context(), o.unit(t, badService))
				if err == nil || !strings.Contains(err.Error(), "the port is taken") || !strings.Contains(err.Error(), "job failed") {
					t.Errorf("got %v", err)
				}
			})
			t.Run("a changed unit file is read", func(t *testing.T) { changedUnitFile(t, o, s) })
			t.Run("a symlink without its reload", func(t *testing.T) { unreadSymlink(t, o, s) })
			t.Run("static", func(t *testing.T) {
				err := s.EnableUnit(t.Context(), o.unit(t, badService), true)
				if err == nil || !strings.Contains(err.Error(), "[Install]") {
					t.Errorf("got %v", err)
				}
			})
			t.Run("cancelled", func(t *testing.T) { cancelledJob(t, o, s) })
			t.Run("service modules", func(t *testing.T) { serviceModules(t, o, s) })
		})
	}
}

// entered runs commands on the machine of that systemd.
type entered struct{ pid int }

func (i entered) Run(ctx context.Context, cmd executor.Command) (executor.Exit, error) {
	cmd.Argv = append([]string{"nsenter", "-t", strconv.Itoa(i.pid), "-m", "-u", "-i", "-p", "--"}, cmd.Argv...)
	return Tools{}.Run(ctx, cmd)
}

// TestSystemctl: the same by its command, which is the way over a connection.
func TestSystemctl(t *testing.T) {
	o := startSystemd(t)
	s := services.NewSystemctl(entered{o.pid})
	hosttest.ServicesSuite(t, func(t *testing.T) hosttest.ServicesFixture {
		return hosttest.ServicesFixture{Services: s, Unit: o.unit(t, goodService), Fails: o.unit(t, badService)}
	})
	err := s.StartUnit(t.Context(), o.unit(t, badService))
	if err == nil || !strings.Contains(err.Error(), "the port is taken") {
		t.Errorf("got %v", err)
	}
}

func changedUnitFile(t *testing.T, o *ownSystemd, s *Systemd) {
	name := o.unit(t, goodService)
	if err := s.StartUnit(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	o.write(t, name, strings.Replace(goodService, "[Unit]", "[Unit]\nDescription=the new one", 1))
	if err := s.RestartUnit(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	all, err := s.properties(t.Context(), name)
	if err != nil || all["Description"].Value() != "the new one" {
		t.Errorf("got %v, %v", all["Description"], err)
	}
}

// unreadSymlink does what is left of one who was killed between a symlink and the reload that follows it.
func unreadSymlink(t *testing.T, o *ownSystemd, s *Systemd) {
	name := o.unit(t, goodService)
	file := []string{executor.UnitName(name)}
	conn, err := s.connected(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tell := func(method string, args []any) {
		if err := conn.Object(systemdName, systemdPath).CallWithContext(t.Context(), managerMethods+method, 0, args...).Err; err != nil {
			t.Fatal(err)
		}
	}
	// The manager forgets what it knows of a unit that nothing needs.
	if err := s.StartUnit(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	look := func() executor.Unit {
		u, err := s.Unit(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		u.Since = 0
		return u
	}
	for _, step := range []struct {
		method string
		args   []any
		want   executor.Unit
	}{
		{"EnableUnitFiles", []any{file, false, false}, executor.Unit{Exists: true, Active: true, Enabled: true}},
		{"DisableUnitFiles", []any{file, false}, executor.Unit{Exists: true, Active: true}},
		{"MaskUnitFiles", []any{file, false, false}, executor.Unit{Exists: true, Active: true, Masked: true}},
		{"UnmaskUnitFiles", []any{file, false}, executor.Unit{Exists: true, Active: true}},
	} {
		look() // now the manager knows the state that it is to miss the end of
		tell(step.method, step.args)
		unread := step.want
		unread.Unread = true
		if got := look(); got != unread {
			t.Errorf("%s: %+v", step.method, got)
		}
		if err := s.ReloadManager(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := look(); got != step.want {
			t.Errorf("%s and a reload: %+v", step.method, got)
		}
	}
	tell("EnableUnitFiles", []any{file, false, false})
	undone(t, s, name, executor.Unit{Exists: true, Active: true})
}

// undone takes a unit back to what it was, as a recovery does.
func undone(t *testing.T, s *Systemd, name string, was executor.Unit) {
	t.Helper()
	h := serviceHost{Systemd: s, name: name}
	data, err := codec.Marshal(map[int]bool{1: was.Exists, 2: was.Active, 3: was.Enabled, 4: was.Masked})
	if err != nil {
		t.Fatal(err)
	}
	running := service.Modules()[0]
	if err := running.Revert(t.Context(), h, executor.Params{"name": name}, executor.Undo{Reversible: true, Data: data}); err != nil {
		t.Error(err)
	}
	got, err := s.Unit(t.Context(), name)
	if got.Since = 0; err != nil || got != was {
		t.Errorf("%+v, %v", got, err)
	}
}

func cancelledJob(t *testing.T, o *ownSystemd, s *Systemd) {
	name := o.unit(t, "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/sleep 1000\n")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := s.StartUnit(ctx, name); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := s.StopUnit(t.Context(), name); err != nil {
		t.Error(err)
	}
}

// serviceHost is as much of a host as the modules of services touch.
type serviceHost struct {
	executor.Fetcher
	executor.Files
	executor.Commands
	executor.Packages
	executor.Accounts
	*Systemd
	name string
}

func serviceModules(t *testing.T, o *ownSystemd, s *Systemd) {
	for _, m := range service.Modules() {
		t.Run(m.Function().Name, func(t *testing.T) {
			name := o.unit(t, goodService)
			before := m.Function().Name == "stopped" || m.Function().Name == "disabled"
			moduletest.Run(t, moduletest.Suite{
				Module: m, NoFaults: "there is one such machine",
				Host: func(*testing.T) executor.Host { return serviceHost{Systemd: s, name: name} },
				Snapshot: func(t *testing.T, h executor.Host) any {
					u, err := h.Unit(t.Context(), name)
					if err != nil {
						t.Fatal(err)
					}
					u.Since = 0
					return u
				},
				Cases: []moduletest.Case{{Name: "as it is", Params: executor.Params{"name": name, "enabled": !before},
					Setup: func(t *testing.T, h executor.Host) {
						if !before {
							return
						}
						if err := errors.Join(h.StartUnit(t.Context(), name), h.EnableUnit(t.Context(), name, true)); err != nil {
							t.Fatal(err)
						}
					}}},
			})
		})
	}
}

func TestNoSystemd(t *testing.T) {
	if _, err := os.Lstat("/run/systemd/system"); err == nil {
		t.Skip("systemd runs on this machine")
	}
	s := NewSystemd("")
	defer s.Close()
	if _, err := s.Unit(t.Context(), "web"); !errors.Is(err, errNoSystemd) {
		t.Errorf("got %v", err)
	}
	if err := s.StartUnit(t.Context(), "web"); !errors.Is(err, errNoSystemd) {
		t.Errorf("got %v", err)
	}
}

func TestNoServicesBelowRoot(t *testing.T) {
	if _, err := NewSystemd(t.TempDir()).Unit(t.Context(), "web"); !errors.Is(err, errServicesBelowRoot) {
		t.Errorf("got %v", err)
	}
}

func TestUnitOf(t *testing.T) {
	v := func(load, active, file string) map[string]dbus.Variant {
		return map[string]dbus.Variant{
			"LoadState": dbus.MakeVariant(load), "ActiveState": dbus.MakeVariant(active), "UnitFileState": dbus.MakeVariant(file),
			"ActiveEnterTimestampMonotonic": dbus.MakeVariant(uint64(7)),
		}
	}
	for _, c := range []struct {
		properties map[string]dbus.Variant
		file       string
		want       executor.Unit
	}{
		{v("loaded", "active", "enabled"), "enabled", executor.Unit{Exists: true, Active: true, Enabled: true, Since: 7}},
		{v("loaded", "reloading", "disabled"), "disabled", executor.Unit{Exists: true, Active: true, Since: 7}},
		{v("loaded", "failed", "static"), "static", executor.Unit{Exists: true}},
		{v("loaded", "inactive", "enabled-runtime"), "enabled-runtime", executor.Unit{Exists: true}},
		{v("masked", "inactive", "masked-runtime"), "masked-runtime", executor.Unit{Exists: true, Masked: true}},
		{v("loaded", "inactive", "disabled"), "enabled", executor.Unit{Exists: true, Enabled: true, Unread: true}},
		{v("masked", "inactive", "masked"), "disabled", executor.Unit{Exists: true, Unread: true}},
		{v("not-found", "inactive", ""), "", executor.Unit{}},
		{nil, "", executor.Unit{}},
	} {
		if got := unitOf(c.properties, c.file); got != c.want {
			t.Errorf("%v, %s: got %+v", c.properties, c.file, got)
		}
	}
}

func TestUnitName(t *testing.T) {
	for name, want := range map[string]string{
		"nginx": "nginx.service", "nginx.service": "nginx.service", "a.timer": "a.timer", "php8.2-fpm": "php8.2-fpm.service",
		"getty@tty1": "getty@tty1.service", ".service": ".service.service",
	} {
		if got := executor.UnitName(name); got != want {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

// The end of a job may come before its answer, among the ends of others, or never.
func TestWaitForJob(t *testing.T) {
	removed := func(job, result string) *dbus.Signal {
		return &dbus.Signal{Name: jobRemoved, Body: []any{uint32(1), dbus.ObjectPath(job), "x.service", result}}
	}
	signals := make(chan *dbus.Signal, 4)
	signals <- removed("/job/1", "failed")
	signals <- &dbus.Signal{Name: jobRemoved, Body: []any{"garbage"}}
	signals <- removed("/job/2", "done")
	if result, err := waitForJob(t.Context(), signals, "/job/2"); err != nil || result != "done" {
		t.Errorf("got %q, %v", result, err)
	}
	close(signals)
	if _, err := waitForJob(t.Context(), signals, "/job/3"); err == nil {
		t.Error("a lost connection is no error")
	}
}
