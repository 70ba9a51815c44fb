package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	lifecycle "github.com/oklog/run"
	"golang.org/x/sys/unix"

	"shoal/internal/anchor"
	"shoal/internal/codec"
	"shoal/internal/ownfile"
	"shoal/internal/pair"
	"shoal/membership"
	"shoal/mesh/node"
)

// An agent that is root is divided: this process changes the machine and has no network, and its child is on the network and has no
// rights. See docs/decisions/two-processes.md.

const (
	anchorFile = "anchor" // what the executor's side believes
	treeDir    = "tree"   // the objects of what it enforces

	meshSideCommand = "mesh-side"
	// The files of the mesh's side, after the standard ones; number 5 is the lock that says that it runs.
	pairFD, doorFD, accessFD, markFD, files = 3, 4, 6, 7, 8

	restartFirst = 100 * time.Millisecond
	restartMost  = 30 * time.Second
	restartCalm  = time.Minute             // after so long the next restart is as the first
	goodbyeTime  = 4500 * time.Millisecond // the node's farewell takes up to 4 s
)

// meshStart is what the mesh's side is told: it reads nothing of this itself.
type meshStart struct {
	Config   agentConfig
	Key      []byte
	Standing *standing
	Fresh    bool
	Member   membership.Member
	Facts    map[string]string
	Secured  *apiTLS
}

// serveDivided enforces here, and keeps a mesh's side running, until ctx ends or the node was told to leave.
func (a *agent) serveDivided(ctx context.Context) error {
	root, err := a.openAnchor()
	if err != nil {
		return err
	}
	if err := a.giveStore(); err != nil {
		return err
	}
	enforcer, err := a.enforcer()
	if err != nil {
		return err
	}
	duty := node.NewEnforcement(node.Duty{
		Site: root, Enforcer: enforcer, Drift: a.drift, FullCheck: a.config.CheckEvery, Logger: a.log,
	})
	started := time.Now()
	var group lifecycle.Group
	enforceCtx, stopEnforcing := context.WithCancel(context.Background())
	group.Add(func() error { root.Run(enforceCtx, duty); return nil }, func(error) { stopEnforcing() })
	meshCtx, stopMesh := context.WithCancel(ctx)
	group.Add(func() error { return a.keepMeshSide(meshCtx, root) }, func(error) { stopMesh() })
	a.log.Info("two processes: this one changes the machine and has no network", "mesh side", fmt.Sprintf("%d:%d", a.who.uid, a.who.gid))
	err = group.Run()
	a.log.Info("down", "after", time.Since(started).Round(time.Second))
	return err
}

func (a *agent) openAnchor() (*pair.RootSide, error) {
	path := filepath.Join(a.config.DataDir, anchorFile)
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	own := anchor.Own{Member: a.id.member}
	if s := a.id.standing; s != nil {
		own.Records = append(append(own.Records, s.Chain...), s.Grant)
	}
	believed, err := anchor.Open(data, own, func(data []byte) error { return ownfile.Write(path, data, 0o600) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return pair.NewRootSide(believed, filepath.Join(a.config.DataDir, treeDir), a.config.ConfirmWithin, a.log), nil
}

// keepMeshSide starts the mesh's side, and again when it ends. It returns nil when the node left or ctx ended, and an error when the
// mesh's side found at its first start that what it was told is wrong.
func (a *agent) keepMeshSide(ctx context.Context, root *pair.RootSide) error {
	wait, ready := restartFirst, false
	for {
		began := time.Now()
		left, err := a.oneMeshSide(ctx, root, func() {
			if !ready {
				ready = true
				_, _ = daemon.SdNotify(false, daemon.SdNotifyReady) // there may be no systemd
			}
		})
		a.id.fresh = false
		var exit *exec.ExitError
		if errors.As(err, &exit) && !ready && (exit.ExitCode() == exitBadInput || exit.ExitCode() == exitRefused) {
			return &exitError{exit.ExitCode(), nil} // it has said why
		}
		if ctx.Err() != nil || left {
			return nil
		}
		if time.Since(began) > restartCalm {
			wait = restartFirst
		}
		a.log.Error("the side that is on the network has ended; enforcement goes on", "error", err, "again in", wait)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, restartMost)
	}
}

// oneMeshSide runs a mesh's side until it ends.
func (a *agent) oneMeshSide(ctx context.Context, root *pair.RootSide, up func()) (left bool, err error) {
	conn, cmd, err := a.startMeshSide()
	if err != nil {
		return false, err
	}
	defer conn.Close()
	served, over := context.WithCancel(context.Background())
	defer over()
	stopping := context.AfterFunc(ctx, func() {
		root.Stop(goodbyeTime)
		over()
	})
	defer stopping()
	left, err = root.Serve(served, conn, a.startBody(), up)
	_ = conn.Close()                                                        // it ends by that, if it can
	kill := time.AfterFunc(restartFirst, func() { _ = cmd.Process.Kill() }) // and else by this
	defer kill.Stop()
	if ended := cmd.Wait(); ended != nil {
		err = ended
	}
	return left, err
}

func (a *agent) startBody() []byte {
	body, err := codec.Marshal(meshStart{
		Config: a.config, Key: a.id.key.Seed(), Standing: a.id.standing, Fresh: a.id.fresh, Member: a.id.member, Facts: a.facts, Secured: a.secured,
	})
	if err != nil {
		panic(err) // a type without an encoding, which no input brings about
	}
	return body
}

// startMeshSide starts this binary as root, in the folder of the store; it gives up its rights before it reads anything.
func (a *agent) startMeshSide() (*pair.Conn, *exec.Cmd, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socket pair: %w", err)
	}
	here, there := os.NewFile(uintptr(fds[0]), "pair"), os.NewFile(uintptr(fds[1]), "pair")
	defer here.Close() // FileConn has its own
	defer there.Close()
	conn, err := net.FileConn(here)
	if err != nil {
		return nil, nil, err
	}
	door, err := a.door.(*net.UnixListener).File() // who comes while no mesh's side runs waits
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	defer door.Close()
	mark := a.openMark()
	defer mark.Close()
	cmd := exec.Command("/proc/self/exe", meshSideCommand, "--become", strconv.Itoa(a.who.uid)+":"+strconv.Itoa(a.who.gid))
	cmd.Args[0] = "shoal"
	cmd.Dir = filepath.Join(a.config.DataDir, storeName)
	cmd.ExtraFiles = []*os.File{there, door, a.meshLock, a.access, mark}
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.Env = meshSideEnv()
	// Not the signals of a terminal: it is told to stop over the pair.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return pair.NewConn(conn), cmd, nil
}

// meshSideEnv is what the mesh's side may know of the environment.
func meshSideEnv() []string {
	env := []string{"PATH=/usr/bin:/bin", "HOME=/"}
	for _, name := range []string{"GOMEMLIMIT", "GOMAXPROCS", "TZ"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}
