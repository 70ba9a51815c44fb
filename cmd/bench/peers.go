package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// peerRoot marks the process that runs in a throw-away root: its value is yes.
const peerRoot = "SHOAL_BENCH_INSIDE"

//go:embed peers.sh
var peerScript string

// benchPeers does the same work with shoal and with other tools as Debian has them. They are installed into an overlay of the
// root, in a mount namespace, of which nothing stays behind.
func benchPeers(ctx context.Context, o options) error {
	if os.Getenv(peerRoot) != "" {
		return benchInside(ctx, o)
	}
	if os.Geteuid() != 0 {
		return errors.New("it installs packages into an overlay of the root, and needs to be root for that")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// The processes in the namespace end with this one.
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private",
		"sh", "-c", peerScript, "peers", o.dir, self, o.binary, fmt.Sprint(o.peerFiles), o.peers)
	cmd.Env = append(os.Environ(), peerRoot+"=yes")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}

// peer is a tool that brings files, a package and a user into shape.
type peer struct {
	name     string
	packages []string // of Debian; none: it is there
	version  []string
	files    func(p peerWork) map[string]string // what it is told, by path
	run      func(dir string) []string
	only     func(peerWork) error // a twin that is no tool
}

// peerWork is what all have to do, each at places of its own.
type peerWork struct {
	name  string
	files int
}

func (w peerWork) path(i int) string { return fmt.Sprintf("/etc/bench-%s/f%d", w.name, i) }
func (w peerWork) user() string      { return "bench" + w.name }
func (w peerWork) text(i int) string { return fmt.Sprintf("file %d\nkey = value\n", i) }

// each joins what is said of every file.
func (w peerWork) each(say func(i int) string) string {
	var b strings.Builder
	for i := range w.files {
		b.WriteString(say(i))
	}
	return b.String()
}

// benchInside runs in the throw-away root.
func benchInside(ctx context.Context, o options) error {
	names := strings.Split(o.peers, ",")
	if err := benchTools(ctx, o, names); err != nil {
		return err
	}
	if !slices.Contains(names, "etcd") {
		return nil
	}
	if err := aptInstall(ctx, "etcd-server"); err != nil {
		row("etcd", "not measured", firstLine(err.Error()))
		return nil
	}
	return benchHeads(ctx, o)
}

// benchTools compares what makes files, packages and users.
func benchTools(ctx context.Context, o options, names []string) error {
	if !slices.ContainsFunc(peers(o.binary), func(p peer) bool { return slices.Contains(names, p.name) }) {
		return nil
	}
	title("the same work by others: %d files with content and mode, a package that is there, a user; whole process, median of %d, or the one run of what takes more than %s", o.peerFiles, peerRounds, slowPeer)
	var ready []installed
	for _, p := range peers(o.binary) {
		if !slices.Contains(names, p.name) {
			continue
		}
		in := installed{ctx: ctx, peer: p, work: peerWork{p.name, o.peerFiles}, dir: filepath.Join("/opt/bench/work", p.name)}
		if err := in.install(); err != nil {
			row(p.name, "not measured", firstLine(err.Error()))
			continue
		}
		ready = append(ready, in)
	}
	return measurePeers(ready)
}

const (
	peerRounds = 3
	// slowPeer is how long a first run takes of a peer that has one round only.
	slowPeer = time.Minute
)

// installed is a peer that can run.
type installed struct {
	ctx  context.Context // of the one run that this value lives for
	peer peer
	work peerWork
	dir  string
	told string // its version
	peak int64
	done bool
}

func (in *installed) install() error {
	if err := aptInstall(in.ctx, in.peer.packages...); err != nil {
		return err
	}
	if in.peer.version != nil {
		out, err := exec.CommandContext(in.ctx, in.peer.version[0], in.peer.version[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("version: %w: %s", err, out)
		}
		in.told = firstLine(string(out))
	}
	if in.peer.files == nil {
		return nil
	}
	return writeTree(in.dir, in.peer.files(in.work))
}

func aptInstall(ctx context.Context, packages ...string) error {
	if len(packages) == 0 {
		return nil
	}
	args := append([]string{"install", "-qq", "-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-unsafe-io"}, packages...)
	if out, err := exec.CommandContext(ctx, "apt-get", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("apt: %w: %s", err, lastLine(string(out)))
	}
	return nil
}

func (in *installed) once() error {
	if in.peer.only != nil {
		return in.peer.only(in.work)
	}
	argv := in.peer.run(in.dir)
	cmd := exec.CommandContext(in.ctx, argv[0], argv[1:]...)
	cmd.Dir = in.dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", in.peer.name, err, out.String())
	}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		in.peak = max(in.peak, u.Maxrss<<10)
	}
	return in.verify(out.String())
}

// verify: a figure of a tool that did not do the work would be worth nothing.
func (in *installed) verify(said string) error {
	for i := range in.work.files {
		data, err := os.ReadFile(in.work.path(i))
		if err == nil && string(data) != in.work.text(i) {
			err = fmt.Errorf("it has %q", data)
		}
		st, err2 := os.Stat(in.work.path(i))
		if err2 == nil && st.Mode() != 0o640 {
			err2 = fmt.Errorf("mode %s", st.Mode())
		}
		if err = errors.Join(err, err2); err != nil {
			return fmt.Errorf("%s did not make %s: %w: %s", in.peer.name, in.work.path(i), err, lastLine(said))
		}
	}
	passwd, err := os.ReadFile("/etc/passwd")
	if err == nil && !strings.Contains("\n"+string(passwd), "\n"+in.work.user()+":") {
		err = fmt.Errorf("%s did not make the user: %s", in.peer.name, lastLine(said))
	}
	return err
}

// clean brings the machine back to where the first run begins.
func (in *installed) clean() error {
	_ = exec.CommandContext(in.ctx, "userdel", in.work.user()).Run() // it may not be there
	for _, dir := range []string{"/etc/bench-" + in.work.name, "/var/lib/shoal"} {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// measurePeers lets all take turns.
func measurePeers(all []installed) error {
	first, unchanged := make([][]time.Duration, len(all)), make([][]time.Duration, len(all))
	for range peerRounds {
		for i := range all {
			in := &all[i]
			if in.done || len(first[i]) > 0 && first[i][0] > slowPeer {
				continue
			}
			err := in.clean()
			for _, took := range []*[]time.Duration{&first[i], &unchanged[i]} {
				if err != nil {
					break
				}
				started := time.Now()
				err = in.once()
				*took = append(*took, time.Since(started))
			}
			if in.ctx.Err() != nil {
				return in.ctx.Err()
			}
			if err != nil {
				row(in.peer.name, "not measured", err.Error())
				in.done = true
			}
		}
	}
	fmt.Printf("\n  %-10s %12s %12s %10s %10s %10s  %s\n", "", "first run", "no change", "× shoal", "× shoal", "memory", "version")
	var ours [2]float64
	for i := range all {
		if all[i].done {
			continue
		}
		a, b := quantile(first[i], 0.5), quantile(unchanged[i], 0.5)
		if i == 0 {
			ours = [2]float64{a.Seconds(), b.Seconds()}
		}
		fmt.Printf("  %-10s %12s %12s %10.2f %10.2f %10s  %s\n", all[i].peer.name, ms(a), ms(b), a.Seconds()/ours[0], b.Seconds()/ours[1], mib(float64(all[i].peak)), all[i].told)
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
