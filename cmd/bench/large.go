package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"shoal/internal/fleet"
)

// benchLarge pushes a tree with one large file to three nodes, which put it in its place, then the same with 1 % of it changed, and
// watches how much memory command and agents take beyond what they had.
func benchLarge(ctx context.Context, o options) error {
	f, err := gather(ctx, o.binary, o.dir, 3)
	if err != nil {
		return err
	}
	defer f.Close()
	size := o.file
	title("a file of %d MiB in a tree, three nodes", size>>20)
	name, err := largeTree(f, size)
	if err != nil {
		return err
	}
	if err := pushLarge(ctx, f, "first push, until committed", size, 1); err != nil {
		return err
	}
	if err := overwrite(name, size/3, size/100, 2); err != nil {
		return err
	}
	return pushLarge(ctx, f, "1 % of it changed", size/100, 2)
}

func largeTree(f *fleet.Fleet, size int64) (name string, err error) {
	tree := filepath.Join(f.Dir, "tree")
	err = writeTree(tree, map[string]string{
		"site.yaml":                "targets:\n  - on: \"*\"\n    components: [c]\n",
		"components/c/states.yaml": "states:\n  f:\n    file.managed: {path: /var/large, source: large}\n",
	})
	if err != nil {
		return "", err
	}
	name = filepath.Join(tree, "components/c/large")
	return name, overwrite(name, 0, size, 1)
}

// overwrite fills a part of a file with noise.
func overwrite(name string, at, n int64, seed byte) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(io.NewOffsetWriter(file, at), 1<<20)
	if _, err = io.CopyN(out, rand.NewChaCha8([32]byte{seed}), n); err == nil {
		err = out.Flush()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// pushLarge pushes, and waits until all nodes have it.
func pushLarge(ctx context.Context, f *fleet.Fleet, what string, moved int64, version int) error {
	small, err := f.Shoal(ctx, "members", "--node", f.Nodes[0].Socket())
	if err != nil || small.Status != 0 {
		return fmt.Errorf("members: %v %s", err, small.Stderr)
	}
	peaks, err := f.WatchMemory()
	if err != nil {
		return err
	}
	started := time.Now()
	res, err := f.Shoal(ctx, "push", "tree", "--node", f.Nodes[0].Socket())
	committed := time.Since(started)
	if err == nil && res.Status != 0 {
		err = fmt.Errorf("push: status %d: %s", res.Status, res.Stderr)
	}
	if err == nil {
		err = fleet.Eventually(ctx, 10*time.Minute, func() error { return allAt(ctx, f, version) })
	}
	most := peaks()
	if err != nil {
		return err
	}
	row(what, ms(committed), fmt.Sprintf("all three have applied it after %s; %.0f MB/s to each", ms(time.Since(started)), float64(moved)/1e6/time.Since(started).Seconds()))
	memoryRow("the command", res.MaxRSS-small.MaxRSS, "resident; above one that lists the members; aim: 64 MiB")
	for i, n := range f.Nodes {
		memoryRow(n.Name, most[i], "anonymous, of both processes where it is divided; aim: 64 MiB")
	}
	return nil
}

func memoryRow(of string, bytes int64, note string) {
	row("  memory of "+of+" above idle, at most", fmt.Sprintf("%d MiB", bytes>>20), note)
}

func allAt(ctx context.Context, f *fleet.Fleet, version int) error {
	var status struct {
		Nodes []struct{ Version int }
	}
	if err := f.JSON(ctx, &status, "status", "--node", f.Nodes[0].Socket()); err != nil {
		return err
	}
	for _, n := range status.Nodes {
		if n.Version != version {
			return fmt.Errorf("a node is at version %d", n.Version)
		}
	}
	return nil
}
