package mesh_test

import (
	"fmt"
	"testing"
	"time"

	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// spoken counts what repair says on the wire.
type spoken struct{ compares, bytes, objects int }

func listen(w *meshtest.Network) *spoken {
	s := &spoken{}
	w.Tamper = func(_ *meshtest.Node, m mesh.Message) mesh.Message {
		switch one := m.(type) {
		case *mesh.Compare, *mesh.Groups, *mesh.Digests, *mesh.Hashes:
			if _, begins := one.(*mesh.Compare); begins {
				s.compares++
			}
			if frame, err := mesh.Encode(m); err == nil {
				s.bytes += len(frame)
			}
		case *mesh.Put:
			s.objects += len(one.Objects)
		}
		return m
	}
	return s
}

// sameObjects is two nodes that have the same n objects.
func sameObjects(n int) (w *meshtest.Network, objects [][]byte) {
	w = meshtest.New(21)
	w.Add("a", nil)
	w.Run(time.Second)
	w.Add("b", w.Nodes()[0])
	w.Run(8 * time.Second)
	for i := range n {
		objects = append(objects, fmt.Append(nil, "object ", i))
	}
	for _, node := range w.Nodes() {
		node.Keep(objects...)
	}
	return w, objects
}

// What is in sync costs a few bytes to compare, however much it is; one object of many that is missing costs little more; and a
// node that was away gets what it missed and nothing else, at a limited rate.
func TestComparingCostsLittle(t *testing.T) {
	const n = 50_000
	w, objects := sameObjects(n)
	s := listen(w)
	w.Run(2 * time.Minute)
	t.Logf("in sync: %d bytes in %d comparisons", s.bytes, s.compares)
	if s.compares == 0 || s.bytes/s.compares > 256 {
		t.Errorf("comparing %d objects in sync costs %d bytes", n, s.bytes/max(1, s.compares))
	}

	b := w.Nodes()[1]
	lose := func(lost [][]byte) {
		w.Kill(b)
		for _, o := range lost {
			b.Forget(store.HashOf(o))
		}
		w.Restart(b)
		*s = spoken{}
	}
	holdsAll := func() bool {
		for _, o := range objects {
			if !b.Holds(store.HashOf(o)) {
				return false
			}
		}
		return true
	}
	lose(objects[7:8])
	if !w.RunUntil(time.Minute, holdsAll) {
		t.Fatal("one lost object never came back")
	}
	t.Logf("one missing: %d bytes, %d objects sent", s.bytes, s.objects)
	if s.bytes > 64<<10 || s.objects > 2 {
		t.Errorf("finding one object of %d costs %d bytes and moves %d", n, s.bytes, s.objects)
	}

	missed := objects[:5000]
	lose(missed)
	w.Run(15 * time.Second)
	if s.objects > 2*512 {
		t.Errorf("%d objects within 15 s", s.objects)
	}
	if !w.RunUntil(10*time.Minute, holdsAll) {
		t.Fatal("a node that was away never caught up")
	}
	t.Logf("%d missing: %d bytes, %d objects sent", len(missed), s.bytes, s.objects)
	if s.objects > len(missed)*11/10 {
		t.Errorf("%d objects sent for %d that were missing", s.objects, len(missed))
	}
}

// BenchmarkCompareMillion prints what two nodes say to each other about a million objects that both have, and to find one that
// is missing.
func BenchmarkCompareMillion(b *testing.B) {
	const n = 1_000_000
	w, objects := sameObjects(n)
	s := listen(w)
	w.Run(2 * time.Minute)
	inSync := float64(s.bytes) / float64(s.compares)
	node := w.Nodes()[1]
	w.Kill(node)
	node.Forget(store.HashOf(objects[7]))
	w.Restart(node)
	*s = spoken{}
	if !w.RunUntil(5*time.Minute, func() bool { return node.Holds(store.HashOf(objects[7])) }) {
		b.Fatal("never repaired")
	}
	missing := float64(s.bytes)
	for b.Loop() {
		w.Run(10 * time.Second)
	}
	b.ReportMetric(inSync, "bytes/in-sync")
	b.ReportMetric(missing, "bytes/one-missing")
}

// A node of version 0.1 compares as it always did: it and a newer one bring each other up to date, when it begins.
func TestRepairWithAnOlderVersion(t *testing.T) {
	w, objects := sameObjects(100)
	old, fresh := w.Nodes()[0], w.Nodes()[1]
	w.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
		switch m := m.(type) {
		case *mesh.Compare:
			if n == fresh { // the old one would not understand it
				return &mesh.StatusAsk{}
			}
			return &mesh.Compare{Placement: m.Placement, Root: m.Root}
		case *mesh.Groups:
			t.Errorf("%s sends what an old one does not know", n.Name)
		}
		return m
	}
	for i, n := range []*meshtest.Node{old, fresh} {
		w.Kill(n)
		n.Forget(store.HashOf(objects[i]))
		w.Restart(n)
	}
	w.Run(2 * time.Minute)
	for i, n := range []*meshtest.Node{old, fresh} {
		if !n.Holds(store.HashOf(objects[i])) {
			t.Errorf("%s did not get what it lacks", n.Name)
		}
	}
}
