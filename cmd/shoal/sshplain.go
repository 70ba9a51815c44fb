package main

import (
	"context"
	"fmt"
	"path"

	"shoal/executor"
	"shoal/executor/local"
	"shoal/executor/packages"
	"shoal/executor/remote"
	"shoal/executor/services"
	"shoal/executor/ssh"
	"shoal/executor/wasm"
	"shoal/states"
)

// plainWorkers is how many states are worked on at a time over one connection: more only wait for each other.
const plainWorkers = 4

// plainWorker works on another machine from here, over SFTP and commands.
type plainWorker struct {
	host       *ssh.Host
	engine     *executor.Engine
	noPackages bool
	noServices bool
	root       string
	line       *boardLine
}

func (r *sshRun) plainHand(ctx context.Context, as *ssh.Machine, line *boardLine) (hand, error) {
	root := path.Clean("/" + r.o.root)
	host, err := ssh.Open(ctx, as, ssh.Options{Root: root, DataDir: dataDir(r.o.data, r.o.root)})
	if err != nil {
		return nil, err
	}
	w := &plainWorker{host: host, root: root, line: line}
	w.choosePackages(line)
	w.chooseServices()
	w.engine = &executor.Engine{
		Host: host, Modules: executor.Catalogue(modules()...), Loader: &wasm.Loader{},
		Journal: host.Data, Ledger: host.Data, Vault: host.Data, Lock: host.Data, Clock: local.Clock{}, Workers: plainWorkers,
	}
	if !host.KeepsAttrs() {
		line.tell("extended attributes and access control lists of files that are replaced will be lost: there is no getfattr (package attr)")
	}
	return w, nil
}

// choosePackages takes the package manager of the machine, where that is used through its commands.
func (w *plainWorker) choosePackages(line *boardLine) {
	tell := func(wait packages.Wait) { line.note(wait.String()) }
	w.noPackages = true
	if w.root != "/" {
		w.host.Packages = packages.NewAptBelow(w.host.Files)
		return
	}
	if p := commandPackages(w.host.Has, w.host.Files, w.host.Tools(), local.Clock{}, tell); p != nil {
		w.host.Packages, w.noPackages = p, false
	}
}

func (w *plainWorker) chooseServices() {
	tools := w.host.Tools()
	switch {
	case w.root != "/":
		w.noServices = true
	case w.host.Has("systemctl"):
		w.host.Services = services.NewSystemctl(tools)
	case w.host.Has("rc-service"):
		w.host.Services = services.NewOpenRC(tools)
	case w.host.Has("update-rc.d"):
		w.host.Services = services.NewSysV(tools)
	default:
		w.noServices = true
	}
}

func (w *plainWorker) facts() map[string]string { return w.host.Facts() }

// cannot says which modules need the machine itself.
func (w *plainWorker) cannot(part states.StatePartInvocation) string {
	switch {
	case w.noPackages && (part.Module == "pkg" || part.Module == "pkgrepo"):
		return "its package manager is not used from here"
	case w.noServices && part.Module == "service":
		return "it has no service manager that is used from here"
	}
	return ""
}

func (w *plainWorker) do(ctx context.Context, j remote.Job) (report executor.Report, interrupted bool, err error) {
	switch j.Kind {
	case remote.Check:
		report = w.engine.Check(ctx, j.Plan, j.Contents, j.Meta)
	case remote.Recover:
		report, interrupted, err = w.engine.Recover(ctx)
	case remote.Apply:
		if err := w.host.MakeFolders(); err != nil {
			return report, false, err
		}
		report = w.engine.Apply(ctx, j.Plan, j.Contents, j.Meta)
	}
	if lost := w.host.Lost(); lost != nil {
		return executor.Report{}, false, fmt.Errorf("%w\n    what was begun is not finished, and nobody is there to take it back: shoal recover --ssh does that, and so does the next run", lost)
	}
	return report, interrupted, err
}

func (w *plainWorker) close() { _ = w.host.Close() } // what counts was synced
