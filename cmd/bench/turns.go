package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	turnTime = time.Second
	turns    = 6 // of each
)

// benchTurns has heads of three agents and puts of three members of etcd take turns of a second, with the same number of clients, so
// that what else the machine does meets both alike. What counts is the ratio.
func benchTurns(ctx context.Context, o options) error {
	binary, err := exec.LookPath("etcd")
	if err != nil {
		title("heads and etcd, by turns")
		row("etcd", "not measured", "it is not installed; make bench-peers has it")
		return nil
	}
	dir := filepath.Join(o.dir, "turns")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, h, err := newHeadLoad(ctx, o.binary, filepath.Join(dir, "shoal"), etcdMembers)
	if err != nil {
		return err
	}
	defer f.Close()
	peer, err := newEtcdLoad(ctx, binary, filepath.Join(dir, "etcd"))
	if err != nil {
		return err
	}
	defer stopEtcd(peer.members)
	title("heads of three agents and puts of three members of etcd, by turns of %s, %d of each", turnTime, turns)
	for _, n := range []int{1, manyPeople} {
		what := fmt.Sprintf("%d clients", n)
		if err := h.create(ctx, what, n); err != nil {
			return err
		}
		if err := takeTurns(ctx, what, turner{pids(f), n, func(i int) (bool, error) { return h.advance(ctx, what, i, n) }},
			turner{peer.pids(), n, func(i int) (bool, error) { return true, peer.put(ctx, i) }}); err != nil {
			return err
		}
	}
	return nil
}

// turner is one of two that are compared.
type turner struct {
	pids    []int
	clients int
	do      func(client int) (bool, error)
}

func takeTurns(ctx context.Context, what string, own, peer turner) error {
	var total [2]load
	for range turns {
		for i, t := range []turner{own, peer} {
			got, err := costly(t.pids, func() (load, error) { return loadFor(ctx, t.clients, turnTime, t.do) })
			if err != nil {
				return err
			}
			total[i].took = append(total[i].took, got.took...)
			total[i].failed += got.failed
			total[i].wall += got.wall
			total[i].cpu += got.cpu
		}
	}
	total[0].row(what + ", heads")
	total[1].row(what + ", etcd")
	row("  ratio", fmt.Sprintf("%.2f", total[0].rate()/total[1].rate()), fmt.Sprintf("heads to puts in a time; the median of their times: %.2f",
		float64(quantile(total[0].took, 0.5))/float64(quantile(total[1].took, 0.5))))
	return nil
}
