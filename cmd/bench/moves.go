package main

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"shoal/internal/fleet"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/api"
	"shoal/ring"
)

// benchMoves counts the copies that change their place when one node joins or leaves, against those that must.
func benchMoves(ctx context.Context, _ options) error {
	title("copies that move when one node joins, and when one leaves, against those that must (aim: at most 1.2)")
	for _, size := range []int{3, 5, 10, 30, 100, 300, 1000} {
		for _, zones := range []int{1, 3} {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			before := ringNodes(size+1, zones)
			joins, leaves, took := movement(before)
			row(fmt.Sprintf("%d nodes in %d zones", size, zones), fmt.Sprintf("%.2f  %.2f", joins, leaves), "both changes took "+ms(took))
		}
	}
	return nil
}

func ringNodes(count, zones int) (nodes []ring.Node) {
	for i := range count {
		var seed [ed25519.SeedSize]byte
		binary.BigEndian.PutUint64(seed[:], uint64(i))
		key := ed25519.NewKeyFromSeed(seed[:])
		nodes = append(nodes, ring.Node{ID: membership.IDOf(key.Public().(ed25519.PublicKey)), Zone: fmt.Sprint("z", i%zones)})
	}
	return nodes
}

// movement lets the last of the nodes join and leave the others.
func movement(nodes []ring.Node) (joins, leaves float64, took time.Duration) {
	place := ring.NewPlacement()
	last := nodes[len(nodes)-1].ID
	small := place.Update(nodes[:len(nodes)-1])
	began := time.Now()
	large := place.Update(nodes)
	again := place.Update(nodes[:len(nodes)-1])
	took = time.Since(began)
	joined, _ := copiesMoved(small, large, last)
	left, held := copiesMoved(large, again, last)
	return float64(joined) / float64(held), float64(left) / float64(held), took
}

// copiesMoved counts the copies that have a new place, and those that one node held before or after.
func copiesMoved(before, after ring.Ring, node membership.NodeID) (moved, held int) {
	for p := range ring.Partition(ring.Partitions) {
		old, now := before.Owners(p, mesh.DefaultReplicas), after.Owners(p, mesh.DefaultReplicas)
		for _, id := range now {
			if !slices.Contains(old, id) {
				moved++
			}
		}
		if slices.Contains(old, node) || slices.Contains(now, node) {
			held++
		}
	}
	return moved, held
}

const (
	repairObjects = 1500
	repairSize    = 4 << 10 // bytes
)

// benchRepair writes objects while one of three nodes is down, and watches how fast it gets them when it is back.
func benchRepair(ctx context.Context, o options) error {
	f, err := gather(ctx, o.binary, o.dir, 3)
	if err != nil {
		return err
	}
	defer f.Close()
	down := f.Nodes[2]
	down.Kill()
	noise := rand.NewChaCha8([32]byte{3})
	client := api.NewClient(f.Nodes[0].Path("var/lib/shoal/api.sock"))
	defer client.Close()
	for put := 0; put < repairObjects; put += api.MaxBatch {
		objects := make([][]byte, min(api.MaxBatch, repairObjects-put))
		for i := range objects {
			objects[i] = make([]byte, repairSize)
			_, _ = noise.Read(objects[i]) // never fails
		}
		if err := client.PutCopies(ctx, objects); err != nil {
			return err
		}
	}
	if _, err := down.Start(); err != nil {
		return err
	}
	held := func() (objects int, err error) {
		var ring struct {
			Nodes []struct {
				Name    string
				Objects int
			}
		}
		err = f.JSON(ctx, &ring, "ring", "--node", f.Nodes[0].Socket())
		for _, n := range ring.Nodes {
			if n.Name == down.Name {
				objects = max(0, n.Objects)
			}
		}
		return objects, err
	}
	title("repair: a node that was down while %d objects of %d KiB were written", repairObjects, repairSize>>10)
	started := time.Now()
	err = fleet.Eventually(ctx, 5*time.Minute, func() error {
		now, err := held()
		if err == nil && now < repairObjects {
			err = fmt.Errorf("it has %d", now)
		}
		return err
	})
	if err != nil {
		return err
	}
	took := time.Since(started)
	row("from its start until it has all", ms(took), fmt.Sprintf("%.0f objects/s, the start included", repairObjects/took.Seconds()))
	return nil
}
