package mesh_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// brought is what one node says to others to bring them objects.
type brought struct {
	offered map[store.Hash]int
	put     map[store.Hash]int
	lose    int // Puts, to begin with
}

func bring(w *meshtest.Network, from *meshtest.Node) *brought {
	b := &brought{offered: map[store.Hash]int{}, put: map[store.Hash]int{}}
	w.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
		switch m := m.(type) {
		case *mesh.Offer:
			if n == from {
				for _, h := range m.Hashes {
					b.offered[h]++
				}
			}
		case *mesh.Put:
			if n != from {
				break
			}
			for _, o := range m.Objects {
				b.put[o.Hash]++
			}
			if b.lose > 0 {
				b.lose--
				return &mesh.Put{}
			}
		}
		return m
	}
	return b
}

func replicate(w *meshtest.Network, n *meshtest.Node, objects ...[]byte) error {
	var hashes []store.Hash
	for _, o := range objects {
		hashes = append(hashes, store.HashOf(o))
	}
	id := n.Ask(func(id uint64) mesh.Event { return mesh.Replicate{ID: id, Hashes: hashes} })
	if !w.RunUntil(30*time.Second, func() bool { _, ok := n.Answers[id]; return ok }) {
		return fmt.Errorf("no answer")
	}
	return n.Answers[id].Err
}

// TestSmallObjectsAreNotOffered: what a client has just brought and is small goes to its owners without a question; what is large, or was
// here before, is offered first.
func TestSmallObjectsAreNotOffered(t *testing.T) {
	w := meshtest.New(5)
	n1 := w.Add("n1", nil)
	n2, n3 := w.Add("n2", n1), w.Add("n3", n1)
	w.Run(time.Minute) // they have said how they place
	b := bring(w, n1)
	small, large := []byte("small"), bytes.Repeat([]byte("large"), 1000)
	n1.Keep(small, large)
	if err := replicate(w, n1, small, large); err != nil {
		t.Fatal(err)
	}
	w.Run(2 * time.Second)
	if h := store.HashOf(small); b.offered[h] != 0 || b.put[h] != 2 {
		t.Errorf("small: offered %d times, sent %d times", b.offered[h], b.put[h])
	}
	if h := store.HashOf(large); b.offered[h] != 2 || b.put[h] != 2 {
		t.Errorf("large: offered %d times, sent %d times", b.offered[h], b.put[h])
	}
	for _, n := range []*meshtest.Node{n2, n3} {
		if !n.Holds(store.HashOf(small)) || !n.Holds(store.HashOf(large)) {
			t.Errorf("%s lacks one", n.Name)
		}
	}
	n1.Keep(small) // again: they have it
	if err := replicate(w, n1, small); err != nil {
		t.Fatal(err)
	}
	if h := store.HashOf(small); b.offered[h] == 0 || b.put[h] != 2 {
		t.Errorf("small, again: offered %d times, sent %d times", b.offered[h], b.put[h])
	}
}

// TestWhatIsLostIsOffered: an object that was sent without a question counts for nothing before its owner has said that it is on its disk,
// and is offered when that one stays silent.
func TestWhatIsLostIsOffered(t *testing.T) {
	w := meshtest.New(6)
	n1 := w.Add("n1", nil)
	w.Add("n2", n1)
	w.Add("n3", n1)
	w.Run(time.Minute)
	b := bring(w, n1)
	b.lose = 2 // to each of the two
	object := []byte("an object")
	n1.Keep(object)
	began := w.Now()
	if err := replicate(w, n1, object); err != nil {
		t.Fatal(err)
	}
	if h := store.HashOf(object); b.lose != 0 || b.offered[h] == 0 || b.put[h] < 3 {
		t.Errorf("offered %d times, sent %d times", b.offered[h], b.put[h])
	}
	if took := w.Now().Sub(began); took < 100*time.Millisecond {
		t.Errorf("acknowledged after %s, when nobody had it", took)
	}
}

// TestManySmallObjectsAtOnce: a request of many small objects takes as few round trips as one of a few.
func TestManySmallObjectsAtOnce(t *testing.T) {
	w := meshtest.New(7)
	n1 := w.Add("n1", nil)
	w.Add("n2", n1)
	w.Add("n3", n1)
	w.Run(time.Minute)
	took := func(n int) time.Duration {
		var objects [][]byte
		for i := range n {
			objects = append(objects, fmt.Appendf(nil, "object %d of %d", i, n))
		}
		n1.Keep(objects...)
		began := w.Now()
		if err := replicate(w, n1, objects...); err != nil {
			t.Fatal(err)
		}
		return w.Now().Sub(began)
	}
	if one, many := took(1), took(200); many > 3*one {
		t.Errorf("one took %s, 200 took %s", one, many)
	}
}
