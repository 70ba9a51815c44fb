package lab

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// MaxHosts is how many hosts a lab can have.
const MaxHosts = 10

// Lab is a bridge and the hosts on it. One goroutine starts and stops hosts.
type Lab struct {
	dir     string
	group   string // cgroup
	below   string // the layer between the hosts' disks and the machine
	keeper  *exec.Cmd
	janitor *exec.Cmd
	lifes   io.Closer // the janitor waits for its end
	hosts   []*Host
}

// tools are what a lab cannot do without, beside a kernel with namespaces.
var tools = []string{"/usr/lib/systemd/systemd", "dbus-daemon", "unshare", "nsenter", "ip", "pivot_root", "nft", "tc"}

// Able says why this machine cannot run a lab; nil when it can.
func Able() error {
	if os.Geteuid() != 0 {
		return errors.New("a lab needs root")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("a lab needs %s", tool)
		}
	}
	return nil
}

// New makes a lab with no hosts. Close it when done.
func New() (*Lab, error) {
	if err := Able(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "shoal-lab-")
	if err != nil {
		return nil, err
	}
	l := &Lab{dir: dir, group: filepath.Base(dir), below: filepath.Join(belowRoot, filepath.Base(dir)+"-below")}
	if err := l.start(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Lab) start() error {
	if err := l.startJanitor(); err != nil {
		return err
	}
	if err := l.freeze(); err != nil {
		return err
	}
	l.keeper = exec.Command("sleep", "infinity")
	l.keeper.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := l.keeper.Start(); err != nil {
		return fmt.Errorf("lab: no network namespace: %w", err)
	}
	return l.inNetwork("ip link add br0 type bridge && ip link set br0 up && ip addr add " + address(0) + "/24 dev br0 && ip link set lo up")
}

// inNetwork runs a shell in the namespace of the bridge.
func (l *Lab) inNetwork(script string) error {
	return run("nsenter", "--net=/proc/"+fmt.Sprint(l.keeper.Process.Pid)+"/ns/net", "sh", "-ec", script)
}

// run runs a command to its end; what it printed is in the error.
func run(argv ...string) error {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
	}
	return nil
}

// Close ends all hosts and removes what the lab made.
func (l *Lab) Close() error {
	for _, h := range l.hosts {
		h.Cut()
	}
	if l.keeper != nil && l.keeper.Process != nil {
		_ = l.keeper.Process.Kill()
		_ = l.keeper.Wait()
	}
	if l.janitor == nil {
		return errors.Join(os.RemoveAll(l.dir), os.RemoveAll(l.below))
	}
	l.lifes.Close()
	if err := l.janitor.Wait(); err != nil {
		return fmt.Errorf("lab: the janitor: %w", err)
	}
	return nil
}

//go:embed janitor.sh
var janitorScript string

// startJanitor starts the process that cleans up. It outlives this one, and knows its end by that of a pipe.
func (l *Lab) startJanitor() error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	l.janitor = exec.Command("sh", "-c", janitorScript, "janitor", l.dir, l.group, l.below)
	l.janitor.Stdin, l.janitor.Stderr = read, os.Stderr
	l.janitor.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	l.lifes = write
	if err := l.janitor.Start(); err != nil {
		l.janitor = nil
		return err
	}
	return nil
}

// Boot starts hosts side by side and returns when each has reached its target.
func (l *Lab) Boot(ctx context.Context, names ...string) ([]*Host, error) {
	var booted []*Host
	for _, name := range names {
		if len(l.hosts) >= MaxHosts {
			return nil, fmt.Errorf("lab: more than %d hosts", MaxHosts)
		}
		h := &Host{Name: name, lab: l, number: len(l.hosts) + 1, dir: filepath.Join(l.dir, name)}
		h.Addr = address(h.number)
		l.hosts = append(l.hosts, h)
		booted = append(booted, h)
	}
	for _, h := range booted {
		if err := h.furnish(); err != nil {
			return nil, err
		}
		if err := h.powerOn(); err != nil {
			return nil, err
		}
	}
	for _, h := range booted {
		if err := h.ready(ctx); err != nil {
			return nil, err
		}
	}
	return booted, nil
}

// bootTimeout is far above what a boot takes here.
const bootTimeout = 60 * time.Second

func address(number int) string { return fmt.Sprintf("10.77.0.%d", number+1) }

// Dir is the folder in which the lab keeps its hosts' disks.
func (l *Lab) Dir() string { return l.dir }
