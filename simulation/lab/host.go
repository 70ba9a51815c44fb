package lab

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Host is one machine of a lab.
type Host struct {
	Name string
	Addr string // on the bridge

	lab    *Lab
	number int
	dir    string
	init   *exec.Cmd
	ended  chan struct{}
	output bytes.Buffer // of the boot
}

// unit files that a host has beside those of the machine; an empty one masks a unit.
var units = map[string]string{
	"lab.target": "[Unit]\nRequires=multi-user.target\nWants=dbus.service\nAfter=multi-user.target dbus.service\nAllowIsolate=yes\n",
	// They are for a machine's own hardware, clock or console.
	"systemd-udevd.service": "", "systemd-udevd-kernel.socket": "", "systemd-udevd-control.socket": "", "systemd-udev-trigger.service": "",
	"systemd-timesyncd.service": "", "systemd-remount-fs.service": "", "systemd-journald-audit.socket": "", "systemd-random-seed.service": "",
	"systemd-networkd.service": "", "systemd-resolved.service": "", "apt-daily.timer": "", "apt-daily-upgrade.timer": "",
	"systemd-modules-load.service": "", "systemd-sysctl.service": "", "networking.service": "", "systemd-update-utmp.service": "",
	"systemd-firstboot.service": "", "e2scrub_all.timer": "", "fstrim.timer": "", "getty.target": "", "systemd-pstore.service": "",
	"sys-kernel-debug.mount": "", "sys-kernel-tracing.mount": "", "dev-hugepages.mount": "", "dev-mqueue.mount": "",
}

// furnish writes a new host's own files onto its disk.
func (h *Host) furnish() error {
	upper := filepath.Join(h.dir, "upper")
	for _, dir := range []string{"upper/etc/systemd/system", "upper/var/lib", "work", "root", "sysctl"} {
		if err := os.MkdirAll(filepath.Join(h.dir, dir), 0o755); err != nil {
			return err
		}
	}
	files := map[string]string{
		"etc/hostname":    h.Name + "\n",
		"etc/machine-id":  fmt.Sprintf("%032x\n", h.number),
		"etc/hosts":       "127.0.0.1 localhost\n",
		"etc/fstab":       "",
		"etc/resolv.conf": "# no name server: the hosts know each other by /etc/hosts\n",
	}
	for i := range h.lab.hosts {
		files["etc/hosts"] += fmt.Sprintf("%s %s\n", h.lab.hosts[i].Addr, h.lab.hosts[i].Name)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(upper, name), []byte(data), 0o644); err != nil {
			return err
		}
	}
	// What is enabled on the machine is not enabled here: a device 0:0 hides what the layer below has.
	for _, wants := range []string{"multi-user.target.wants", "timers.target.wants", "sysinit.target.wants", "getty.target.wants"} {
		if err := unix.Mknod(filepath.Join(upper, "etc/systemd/system", wants), unix.S_IFCHR, 0); err != nil {
			return fmt.Errorf("lab: hide %s: %w", wants, err)
		}
	}
	for name, text := range units {
		path := filepath.Join(upper, "etc/systemd/system", name)
		if text == "" {
			if err := os.Symlink("/dev/null", path); err != nil {
				return err
			}
		} else if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

//go:embed boot.sh
var bootScript string

// cgroup is the name of the host's cgroup in each hierarchy.
func (h *Host) cgroup() string { return h.lab.group + "-" + h.Name }

func (h *Host) makeCgroups() error {
	hierarchies := []string{"/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		hierarchies = []string{"/sys/fs/cgroup"}
	}
	for _, dir := range hierarchies {
		err := os.Mkdir(filepath.Join(dir, h.cgroup()), 0o755)
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("lab: no cgroups: %w", err)
		}
	}
	return nil
}

// powerOn starts the first process and plugs the host into the bridge.
func (h *Host) powerOn() error {
	if err := h.makeCgroups(); err != nil {
		return err
	}
	script, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer script.Close()
	if _, err := write.WriteString(bootScript); err != nil {
		return err
	}
	write.Close()
	h.output.Reset()
	h.init = exec.Command("sh", "-c", bootScript, "boot", h.cgroup(), h.dir, h.Name, h.lab.below)
	h.init.ExtraFiles = []*os.File{script}
	h.init.Stdout, h.init.Stderr = &h.output, &h.output
	h.init.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL, Setsid: true,
	}
	if err := h.init.Start(); err != nil {
		return fmt.Errorf("lab: %s: no namespaces: %w", h.Name, err)
	}
	h.ended = make(chan struct{})
	go func(init *exec.Cmd, ended chan struct{}) { _ = init.Wait(); close(ended) }(h.init, h.ended)
	return h.plug()
}

// plug connects eth0 with the bridge.
func (h *Host) plug() error {
	link := fmt.Sprintf("veth%d", h.number)
	err := h.lab.inNetwork(fmt.Sprintf("ip link add %s type veth peer name eth0 netns %d && ip link set %s master br0 up", link, h.init.Process.Pid, link))
	if err != nil {
		return err
	}
	return h.inNetwork(fmt.Sprintf("ip addr add %s/24 dev eth0 && ip link set eth0 up && ip route add default via %s", h.Addr, address(0)))
}

// inNetwork runs a shell of the machine in the host's network.
func (h *Host) inNetwork(script string) error {
	return run("nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", h.init.Process.Pid), "sh", "-ec", script)
}

// ready waits until the host's systemd has reached the lab's target.
func (h *Host) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		out, err := h.Command(ctx, "systemctl", "is-active", "lab.target").CombinedOutput()
		if err == nil && strings.TrimSpace(string(out)) == "active" {
			return nil
		}
		select {
		case <-h.ended:
			return fmt.Errorf("lab: %s does not boot:\n%s", h.Name, h.output.String())
		case <-ctx.Done():
			return fmt.Errorf("lab: %s did not get ready: %s\n%s", h.Name, out, h.output.String())
		case <-tick.C:
		}
	}
}

// Command is a command that runs on the host, as root, with the machine's PATH.
func (h *Host) Command(ctx context.Context, argv ...string) *exec.Cmd {
	pid := strconv.Itoa(h.init.Process.Pid)
	enter := []string{"--target", pid, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd", "--"}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, argv...)...)
	cmd.Env = append(os.Environ(), "HOME=/root", "container=shoal-lab")
	return cmd
}

// Run runs a command on the host to its end and returns what it printed. The error holds that too.
func (h *Host) Run(ctx context.Context, argv ...string) (string, error) {
	out, err := h.Command(ctx, argv...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %s: %w\n%s", h.Name, strings.Join(argv, " "), err, out)
	}
	return string(out), nil
}

// Path is a path of the host as this process sees it, while the host runs.
func (h *Host) Path(path string) string {
	return filepath.Join("/proc", strconv.Itoa(h.init.Process.Pid), "root", path)
}

// Cut takes the power away: every process of the host is gone at once. The disk stays, and Power brings the host back.
func (h *Host) Cut() {
	if h.init == nil {
		return
	}
	_ = h.init.Process.Kill()
	<-h.ended
	h.init = nil
	_ = h.lab.inNetwork(fmt.Sprintf("ip link del veth%d", h.number)) // the kernel takes a moment to do it by itself
}

// Power brings back a host whose power was cut, and returns when it has booted.
func (h *Host) Power(ctx context.Context) error {
	if err := h.powerOn(); err != nil {
		return err
	}
	return h.ready(ctx)
}
