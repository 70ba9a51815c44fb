package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"shoal/internal/codec"
	"shoal/internal/pair"
	"shoal/internal/sandbox"
	"shoal/membership"
)

// newMeshSide is the child of an agent that is divided.
func newMeshSide(t *terminal) *cobra.Command {
	return rightless(meshSideCommand, "The side of an agent that is on the network; the agent starts it", files,
		func(*cobra.Command) error { return runMeshSide(t) })
}

// rightless is a command that the agent starts as a child: first to become somebody else, which runs it anew with the first files that are
// open, and then to do its work.
func rightless(name, short string, files int, work func(*cobra.Command) error) *cobra.Command {
	var become string
	cmd := &cobra.Command{Use: name, Short: short, Hidden: true, Args: cobra.NoArgs}
	cmd.Flags().StringVar(&become, "become", "", "give up all rights and go on as `UID:GID`")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if become == "" {
			return work(cmd)
		}
		who, err := lookUser(become)
		if err != nil {
			return badInput("--become: %v", err)
		}
		return sandbox.Become(who.uid, who.gid, files, []string{"shoal", name}, os.Environ())
	}
	return cmd
}

func runMeshSide(t *terminal) error {
	// It ends when the executor's side says so, or is gone.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if err := sandbox.Confine(); err != nil {
		return err
	}
	conn, err := pairConn()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(t.err, nil))
	side, body, err := pair.Accept(conn, log)
	if err != nil {
		return err
	}
	a, err := meshSideAgent(body, log)
	if err != nil {
		return err
	}
	a.executive = side
	serve := func(ctx context.Context) error { return a.serveMeshSide(ctx, side) }
	return a.run(context.Background(), serve, a.openMeshDoor, a.openTCP, a.openStore, a.makeNode)
}

func pairConn() (*pair.Conn, error) {
	f := os.NewFile(pairFD, "pair")
	defer f.Close() // FileConn has its own
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("mesh side: the agent starts it, and nobody else: %w", err)
	}
	return pair.NewConn(conn), nil
}

func meshSideAgent(body []byte, log *slog.Logger) (*agent, error) {
	var start meshStart
	if err := codec.Unmarshal(body, &start); err != nil {
		return nil, err
	}
	if len(start.Key) != ed25519.SeedSize {
		return nil, errors.New("mesh side: no key")
	}
	key := ed25519.NewKeyFromSeed(start.Key)
	return &agent{
		config: start.Config, log: log, facts: start.Facts, secured: start.Secured,
		// The store is the folder that this process was started in: it need not be able to reach it by its name.
		storeDir: "/proc/self/cwd", mark: os.NewFile(markFD, "mark"),
		id: identity{
			key: key, id: membership.IDOf(key.Public().(ed25519.PublicKey)), standing: start.Standing, fresh: start.Fresh, member: start.Member,
		},
	}, nil
}

// openMeshDoor takes over the socket for commands, and the folder of the tokens.
func (a *agent) openMeshDoor() (err error) {
	f := os.NewFile(doorFD, "door")
	defer f.Close() // FileListener has its own
	if a.door, err = net.FileListener(f); err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	a.door.(*net.UnixListener).SetUnlinkOnClose(false) // it is the executor's side's
	a.access = os.NewFile(accessFD, "access")
	a.closers = append(a.closers, func() error {
		_ = a.door.Close() // Serve has closed it, unless the start failed
		return nil
	})
	return nil
}

// serveMeshSide runs the node until the executor's side says stop, or the node is told to leave. When the executor's side is gone, so
// is this process, at once: nothing that was acknowledged is only in its memory.
func (a *agent) serveMeshSide(ctx context.Context, side *pair.MeshSide) error {
	speaking, silent := context.WithCancel(ctx) // the pair stays open until the node has said goodbye
	defer silent()
	running, stop := context.WithCancel(ctx)
	defer stop()
	side.Attach(a.node)
	go func() {
		err := side.Listen(speaking)
		if speaking.Err() == nil {
			a.log.Error("mesh side: ends", "error", err)
			os.Exit(exitFailed)
		}
	}()
	go func() {
		select {
		case <-side.Stopped():
			stop()
		case <-running.Done():
		}
	}()
	if err := side.Up(); err != nil {
		return err
	}
	err := a.serve(running)
	if err == nil && running.Err() == nil {
		err = side.Left()
	}
	return err
}
