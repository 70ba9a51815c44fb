package main

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"shoal/executor"
	"shoal/executor/remote"
	"shoal/executor/ssh"
	"shoal/internal/sshdial"
	"shoal/states"
	"shoal/states/disk"
)

// sshOptions are the flags of plan and apply for machines elsewhere.
type sshOptions struct {
	targets    []string
	file, on   string
	mode       string
	sudo       bool
	binaries   []string
	parallel   int
	config     string
	timeout    time.Duration
	kind       remote.Kind
	zone, name string
	tags       []string
	root, data string
	order      string
	inventory  string
	exitCode   bool
	env        string
}

// The ways to work on a machine.
const (
	sshAuto   = "auto"
	sshBinary = "binary"
	sshPlain  = "plain"
)

// Limits of a run over many machines.
const (
	maxHosts       = 10000
	maxHostFile    = 4 << 20
	defaultHosts   = 10
	defaultTimeout = time.Hour
)

// addrTag is the tag that holds a machine's address, where its name is none.
const addrTag = "addr"

func sshFlags(cmd *cobra.Command, o *sshOptions) {
	f := cmd.Flags()
	f.StringArrayVar(&o.targets, "ssh", nil, "work on that machine, `[USER@]HOST[:PORT]`, over SSH (repeatable)")
	f.StringVar(&o.file, "ssh-file", "", "the machines of a `FILE`, one a line")
	f.StringVar(&o.on, "ssh-on", "", "the machines of the inventory that this `SELECTOR` means, at their tag addr or their name")
	f.StringVar(&o.mode, "ssh-mode", sshAuto, "binary: run this program there; plain: state by state over SFTP and commands; auto: binary, or else plain")
	f.BoolVar(&o.sudo, "sudo", false, "become root there with sudo")
	f.StringArrayVar(&o.binaries, "binary", nil, "the program for machines of another architecture, a `FILE` (repeatable)")
	f.IntVar(&o.parallel, "ssh-parallel", defaultHosts, "how many machines at a time")
	f.StringVar(&o.config, "ssh-config", "", "a `FILE` in place of ~/.ssh/config and /etc/ssh/ssh_config")
	f.DurationVar(&o.timeout, "ssh-timeout", defaultTimeout, "the most time for one machine")
}

func (o *sshOptions) wanted() bool { return len(o.targets) > 0 || o.file != "" || o.on != "" }

// sshHost is one machine of the run.
type sshHost struct {
	target sshdial.Target
	name   string
	zone   string
	tags   map[string]string
}

// sshRun is one tree for many machines.
type sshRun struct {
	t         *terminal
	o         sshOptions
	dir       fs.FS // nil: there is no tree
	catalogue *states.Catalogue
	fleet     []states.Node
	dialer    *sshdial.Dialer
	binaries  []ssh.Binary
	password  func() ([]byte, error)
	board     *board
}

// outcome of one machine.
type sshOutcome struct {
	report executor.Report
	status int
}

// overSSH does what plan and apply do, elsewhere.
func (t *terminal) overSSH(ctx context.Context, dir string, o sshOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	tree, err := disk.Open(dir)
	if err != nil {
		return badInput("%v", err)
	}
	defer tree.Close()
	r := &sshRun{t: t, o: o, dir: tree, board: &board{t: t}}
	if r.catalogue, err = states.Open(tree, functions()); err != nil {
		return err
	}
	return r.run(ctx)
}

// recoverOverSSH takes back what interrupted runs left elsewhere: for that no tree is needed.
func (t *terminal) recoverOverSSH(ctx context.Context, o sshOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	o.kind = remote.Recover
	return (&sshRun{t: t, o: o, board: &board{t: t}}).run(ctx)
}

// run does it on all machines.
func (r *sshRun) run(ctx context.Context) (err error) {
	if r.fleet, err = inventoryOf(r.o.inventory, r.dir); err != nil {
		return err
	}
	hosts, err := r.hosts()
	if err != nil {
		return err
	}
	config, err := sshdial.LoadConfig(r.o.config)
	if err != nil {
		return badInput("%v", err)
	}
	ask := secretAsker(r.board)
	r.password = once(ask, "password for sudo")
	r.dialer = &sshdial.Dialer{Config: config, Keys: &sshdial.Keyring{AgentSocket: os.Getenv("SSH_AUTH_SOCK"), Ask: ask}}
	if err := r.openBinaries(); err != nil {
		return err
	}
	return r.finish(hosts, r.all(ctx, hosts))
}

func (o *sshOptions) check() error {
	if err := oneOf("--ssh-mode", o.mode, sshAuto, sshBinary, sshPlain); err != nil {
		return err
	}
	if o.parallel < 1 {
		return badInput("--ssh-parallel: %d machines at a time are none", o.parallel)
	}
	if o.timeout <= 0 {
		return badInput("--ssh-timeout: %s is no time", o.timeout)
	}
	return nil
}

// openBinaries names the programs that may be sent: this one, and those that were given, which come first.
func (r *sshRun) openBinaries() error {
	if r.o.mode == sshPlain {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, file := range append(slices.Clone(r.o.binaries), self) {
		b, err := ssh.OpenBinary(file)
		if err != nil {
			return badInput("--binary: %v", err)
		}
		r.binaries = append(r.binaries, b)
	}
	return nil
}

// hosts are all that the flags name, each once.
func (r *sshRun) hosts() ([]sshHost, error) {
	tags, err := parseTags(r.o.tags)
	if err != nil {
		return nil, err
	}
	lines := r.o.targets
	if r.o.file != "" {
		more, err := readHostFile(r.o.file)
		if err != nil {
			return nil, err
		}
		lines = append(slices.Clone(lines), more...)
	}
	var hosts []sshHost
	seen := map[string]bool{}
	add := func(h sshHost) {
		if !seen[h.name] {
			seen[h.name] = true
			hosts = append(hosts, h)
		}
	}
	for _, line := range lines {
		target, err := sshdial.ParseTarget(line)
		if err != nil {
			return nil, badInput("--ssh: %v", err)
		}
		add(sshHost{target: target, name: target.Host, zone: r.o.zone, tags: maps.Clone(tags)})
	}
	if r.o.on != "" {
		some, err := r.selected(tags)
		if err != nil {
			return nil, err
		}
		for _, h := range some {
			add(h)
		}
	}
	switch {
	case len(hosts) > maxHosts:
		return nil, badInput("%d machines are more than %d", len(hosts), maxHosts)
	case len(hosts) == 0:
		return nil, badInput("there is no machine in what --ssh-file and --ssh-on name")
	case r.o.name != "" && len(hosts) > 1:
		return nil, badInput("--name names one machine, and there are %d", len(hosts))
	case r.o.name != "":
		hosts[0].name = r.o.name
	}
	return hosts, nil
}

// selected are machines of the inventory.
func (r *sshRun) selected(tags map[string]string) ([]sshHost, error) {
	if r.fleet == nil {
		return nil, badInput("--ssh-on: there is no inventory: name one with --inventory FILE")
	}
	nodes, err := selectedOf(r.fleet, "", r.o.on, r.dir)
	if err != nil {
		return nil, err
	}
	var hosts []sshHost
	for _, n := range nodes {
		addr := n.Tags[addrTag]
		if addr == "" {
			addr = n.Name
		}
		target, err := sshdial.ParseTarget(addr)
		if err != nil {
			return nil, badInput("%s of the inventory: %v", n.Name, err)
		}
		hosts = append(hosts, sshHost{target: target, name: n.Name, zone: r.o.zone, tags: maps.Clone(tags)})
	}
	return hosts, nil
}

// readHostFile takes one target a line; # begins a comment.
func readHostFile(file string) ([]string, error) {
	info, err := os.Stat(file)
	if err == nil && info.Size() > maxHostFile {
		err = errors.New("it is too large")
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, badInput("--ssh-file: %v", err)
	}
	var hosts []string
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			hosts = append(hosts, line)
		}
	}
	return hosts, nil
}

// all works on the machines, some at a time, and returns an outcome for each.
func (r *sshRun) all(ctx context.Context, hosts []sshHost) []sshOutcome {
	outcomes := make([]sshOutcome, len(hosts))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(r.o.parallel, len(hosts)) {
		workers.Go(func() {
			for i := range next {
				outcomes[i] = r.one(ctx, hosts[i])
			}
		})
	}
	for i := range hosts {
		next <- i
	}
	close(next)
	workers.Wait()
	return outcomes
}

// finish prints what there is, and says the worst of it.
func (r *sshRun) finish(hosts []sshHost, outcomes []sshOutcome) error {
	worst, changes := exitDone, false
	reports := make([]executor.Report, len(outcomes))
	for i, o := range outcomes {
		reports[i] = o.report
		changes = changes || wouldChange(o.report)
		if severity(o.status) > severity(worst) {
			worst = o.status
		}
	}
	if r.t.json {
		if err := r.t.printJSON(reports); err != nil {
			return err
		}
	} else {
		for _, report := range reports {
			if report.Result != "" { // of recover: there was a run
				r.t.printReport(report, false)
			}
		}
		if r.o.kind == remote.Check {
			r.t.note("a plan: nothing was touched")
		}
	}
	if worst == exitDone && changes && r.o.exitCode {
		worst = exitChanges
	}
	if worst != exitDone {
		return &exitError{status: worst}
	}
	return nil
}

// severity orders exit statuses from good to bad: what is left half done is worse than what was not begun.
func severity(status int) int {
	return slices.Index([]int{exitDone, exitChanges, exitBadInput, exitUnavailable, exitRefused, exitFailed, exitIncomplete}, status)
}
