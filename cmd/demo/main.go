// Command demo shows what shoal is for: five real agents on loopback, a push, a crash, a drift, a failure and a removal,
// each of them checked. It exits 0 only if all of it was true.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/term"
)

func main() {
	binary := flag.String("shoal", "bin/shoal", "the binary to show")
	tree := flag.String("tree", "examples/webfleet", "the state tree to push")
	keep := flag.Bool("keep", false, "leave the folder of the five machines for a look")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := demo(ctx, *binary, *tree, *keep, newStage(os.Stdout))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

// limit is how long the whole may take.
const limit = 90 * time.Second

// demo sets the folder up, runs every scene, and cleans up whatever happened.
func demo(ctx context.Context, binary, tree string, keep bool, s *stage) (err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	binary, err = filepath.Abs(binary)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "shoal-demo-")
	if err != nil {
		return err
	}
	started := time.Now()
	show, err := newShow(binary, tree, dir, s)
	if err == nil {
		err = show.run(ctx)
		if stopErr := show.fleet.Close(); err == nil {
			err = stopErr
		}
	}
	if keep || err != nil {
		s.line("The five machines and the logs of their agents are in %s", dir)
	} else if err = os.RemoveAll(dir); err == nil {
		s.end(time.Since(started))
	}
	return err
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
