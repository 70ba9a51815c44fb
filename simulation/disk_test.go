package simulation

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"shoal/store"
	"shoal/store/kvtest"
)

func newTestDisk() *Disk { return NewDisk(rand.New(rand.NewPCG(1, 2))) }

func TestDiskIsAKV(t *testing.T) {
	kvtest.Run(t, func(*testing.T) store.KV { return newTestDisk() })
}

func set(d *Disk, key, value string) error {
	return d.Write(context.Background(), []store.Change{{Key: []byte(key), Value: []byte(value)}})
}

func has(d *Disk, key string) bool {
	_, err := d.Get(context.Background(), []byte(key))
	return err == nil
}

// TestPowerCut: what was acknowledged stays, what was not may stay or go, in the order of the writes.
func TestPowerCut(t *testing.T) {
	kept := map[bool]int{}
	for range 50 {
		d, cut := newTestDisk(), false
		d.dice = rand.New(rand.NewPCG(rand.Uint64(), 1))
		d.Cut = func() { cut = true }
		if err := set(d, "a", "1"); err != nil {
			t.Fatal(err)
		}
		d.CutIn = 1
		if err := set(d, "b", "2"); !errors.Is(err, errPower) || !cut {
			t.Fatalf("a write without power: %v", err)
		}
		d.PowerCut()
		if !has(d, "a") {
			t.Fatal("a synced write is gone")
		}
		kept[has(d, "b")]++
	}
	if kept[true] == 0 || kept[false] == 0 {
		t.Errorf("a write in the middle of which the power went was kept %d times and lost %d", kept[true], kept[false])
	}
}

func TestFailedSync(t *testing.T) {
	d := newTestDisk()
	d.FailSync = 2
	if err := set(d, "a", "1"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := set(d, "b", "2"); !errors.Is(err, store.ErrBroken) {
			t.Fatalf("after a failed sync: %v", err)
		}
	}
	d.PowerCut()
	if err := set(d, "c", "3"); err != nil || !has(d, "a") {
		t.Fatalf("opened again: %v", err)
	}
}

func TestLyingDisk(t *testing.T) {
	d := newTestDisk()
	d.Lies = true
	for _, key := range []string{"a", "b", "c", "d"} {
		if err := set(d, key, "1"); err != nil || !has(d, key) {
			t.Fatal(err)
		}
	}
	d.dice = rand.New(rand.NewPCG(7, 1))
	d.PowerCut()
	if has(d, "d") && has(d, "a") {
		t.Error("nothing was lost")
	}
	if has(d, "b") && !has(d, "a") {
		t.Error("a later write stayed without an earlier")
	}
}

func TestImageAndFlip(t *testing.T) {
	d := newTestDisk()
	_ = set(d, "a", "old")
	image := d.Image()
	_ = set(d, "a", "new")
	_ = set(d, "b", "2")
	d.Flip([]byte("a"))
	if got, _ := image.Get(context.Background(), []byte("a")); string(got) != "old" || has(image, "b") {
		t.Errorf("the image has %q", got)
	}
	if got, _ := d.Get(context.Background(), []byte("a")); string(got) == "new" {
		t.Error("no bit was flipped")
	}
	d.Rot([]byte("b"))
	if _, err := d.Get(context.Background(), []byte("b")); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a rotten record: %v", err)
	}
	_ = set(d, "b", "3")
	if !has(d, "b") {
		t.Error("a record written anew is rotten still")
	}
}
