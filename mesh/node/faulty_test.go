package node_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
	"shoal/store/memory"
)

// faulty is a disk with the faults that a test sets.
type faulty struct {
	store.KV
	mu      sync.Mutex
	refuse  error           // of each Write
	flipped map[string]bool // keys whose values come back with a bit turned, until they are written again
}

func newFaulty(kv store.KV) *faulty { return &faulty{KV: kv, flipped: map[string]bool{}} }

func (f *faulty) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = err
}

func (f *faulty) flip(h store.Hash) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flipped[string(store.ObjectKey(h))] = true
}

// vanish has an object gone that its node takes for kept, as with a damaged block that the library passes over.
func (f *faulty) vanish(t *testing.T, h store.Hash) {
	t.Helper()
	if err := f.KV.Write(t.Context(), []store.Change{{Key: store.ObjectKey(h)}}); err != nil {
		t.Fatal(err)
	}
}

func (f *faulty) Write(ctx context.Context, changes []store.Change) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return f.refuse
	}
	err := f.KV.Write(ctx, changes)
	for _, c := range changes {
		delete(f.flipped, string(c.Key))
	}
	return err
}

func (f *faulty) Get(ctx context.Context, key []byte) ([]byte, error) {
	data, err := f.KV.Get(ctx, key)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil && f.flipped[string(key)] && len(data) > 0 {
		data = bytes.Clone(data)
		data[len(data)/2] ^= 1
	}
	return data, err
}

// A bit that turned under an object is never served: who asks for it gets the right bytes, from a peer, and the disk has them
// again afterwards. So it is with an object that is not there any more.
func TestTurnedBitIsRepairedAndNeverServed(t *testing.T) {
	t.Run("turned", func(t *testing.T) { repaired(t, func(disk *faulty, h store.Hash) { disk.flip(h) }) })
	t.Run("vanished", func(t *testing.T) { repaired(t, func(disk *faulty, h store.Hash) { disk.vanish(t, h) }) })
}

func repaired(t *testing.T, damage func(*faulty, store.Hash)) {
	t.Helper()
	f := newFleet(t)
	disk := newFaulty(memory.New())
	a := f.startWith("n1", "", disk, f.roster("n1"))
	f.start("n2", "n1", nil)
	f.start("n3", "n1", nil)
	for _, n := range f.agents {
		eventually(t, "all meet", func() bool { return len(n.Members()) == 3 })
	}
	files := map[string]string{"site.yaml": "a", "files/x": "something long enough"}
	res := f.push(a, 1, store.Hash{}, files)
	if res.Status != store.Committed {
		t.Fatalf("push: %+v", res)
	}
	allAt(f, 1, f.agents...)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, content := range files {
		h := store.HashOf([]byte(content))
		damage(disk, h)
		data, err := a.Store().Get(ctx, h)
		if err != nil || string(data) != content {
			t.Errorf("a damaged object is read as %q, %v", data, err)
		}
		eventually(t, "the disk has it again", func() bool {
			data, err := disk.Get(ctx, store.ObjectKey(h))
			return err == nil && string(data) == content
		})
	}
}

// A run that could not read its tree is made again without anybody asking, and goes well when a peer is back that has what is missing:
// also a run that had begun.
func TestRunsAgainWhenItsTreeIsBack(t *testing.T) {
	f := newFleet(t)
	disk := newFaulty(memory.New())
	a := f.startWith("n1", "", disk, f.roster("n1"))
	kv := memory.New()
	b := f.startWith("n2", "n1", kv, f.roster("n2"))
	eventually(t, "they meet", func() bool { return len(a.Members()) == 2 && len(b.Members()) == 2 })
	files := map[string]string{"site.yaml": "a"}
	if res := f.push(a, 1, store.Hash{}, files); res.Status != store.Committed {
		t.Fatalf("push: %+v", res)
	}
	allAt(f, 1, a, b)
	b.stop()
	a.machine.midway()
	disk.vanish(t, store.HashOf([]byte("a")))
	a.drift <- []string{"/etc/motd"}
	eventually(t, "a run fails", func() bool { return a.machine.unread() > 0 })
	f.start("n2", "n1", kv)
	a.machine.forget()
	eventually(t, "a run goes well", func() bool { return a.machine.has("site.yaml") == "a" })
}

// A node whose disk fills up says nothing that it cannot keep, serves what it has, and goes on enforcing; when there is room
// again it goes on by itself, with what it missed.
func TestFullDiskGetsRoom(t *testing.T) {
	f := newFleet(t)
	disk := newFaulty(memory.New())
	a := f.start("n1", "", nil)
	full := f.startWith("n2", "n1", disk, f.roster("n2"))
	b := f.start("n3", "n1", nil)
	for _, n := range f.agents {
		eventually(t, "all meet", func() bool { return len(n.Members()) == 3 })
	}
	one := f.push(a, 1, store.Hash{}, map[string]string{"site.yaml": "a"})
	allAt(f, 1, f.agents...)
	disk.set(store.ErrReserve)
	two := f.push(a, 2, one.Revision, map[string]string{"site.yaml": "b"})
	if two.Status != store.Committed {
		t.Fatalf("push with one full disk of three: %+v", two)
	}
	allAt(f, 2, a, b)
	eventually(t, "the node notices", func() bool { _, err := full.Status(t.Context()); return errors.Is(err, store.ErrReserve) })
	runs := full.machine.count()
	full.drift <- []string{"/etc/motd"}
	eventually(t, "it still enforces", func() bool { return full.machine.count() > runs })
	if at := full.machine.at(); at != 1 {
		t.Errorf("it enforces %d, which it could not keep", at)
	}
	if res, err := full.Push(t.Context(), two.Revision, nil); err == nil {
		t.Errorf("a push at it: %+v", res)
	}
	gone := func(at *agent) func() bool {
		return func() bool {
			return slices.ContainsFunc(at.Members(), func(m mesh.MemberInfo) bool {
				return m.Name == "n3" && (m.Status == membership.Failed || m.Status == membership.Left)
			})
		}
	}
	b.stop()
	eventually(t, "n1 sees that n3 is gone", gone(a))
	disk.set(nil)
	allAt(f, 2, full)
	eventually(t, "so does the node that was full meanwhile", gone(full))
	three := f.push(full, 3, two.Revision, map[string]string{"site.yaml": "c"})
	if three.Status != store.Committed {
		t.Errorf("push afterwards: %+v", three)
	}
	allAt(f, 3, a, full)
	eventually(t, "its log says that it was full", func() bool {
		h, err := a.History(t.Context(), "n2", 0)
		return err == nil && slices.ContainsFunc(h.Entries, func(e mesh.EntryInfo) bool {
			return e.Kind == "event" && e.What == "was read-only while the disk was full"
		})
	})
}

// A node whose disk is full from the start enforces what it has, and says so to nobody else; when a sync fails, nothing is
// acknowledged.
func TestFullAndBrokenDisk(t *testing.T) {
	f := newFleet(t)
	kv := memory.New()
	a := f.startWith("n1", "", kv, f.roster("n1"))
	one := f.push(a, 1, store.Hash{}, map[string]string{"site.yaml": "a"})
	if one.Status != store.Committed {
		t.Fatalf("push: %+v", one)
	}
	allAt(f, 1, a)
	a.stop()

	disk := newFaulty(kv)
	disk.set(store.ErrReserve)
	full := f.startWith("n1", "", disk, nil)
	eventually(t, "a node with a full disk enforces", func() bool { return full.machine.at() == 1 })
	if _, err := full.Status(t.Context()); !errors.Is(err, store.ErrReserve) {
		t.Errorf("status of a node with a full disk: %v", err)
	}
	disk.set(nil) // it goes on by itself
	eventually(t, "it answers again", func() bool { _, err := full.Status(t.Context()); return err == nil })
	full.stop()

	broken := f.startWith("n1", "", disk, nil)
	allAt(f, 1, broken)
	broken.halts = true
	disk.set(store.ErrBroken)
	object, objects := meshtest.SignRevision(f.operator, store.Revision{
		Env: "production", Version: 2, Parent: one.Revision, Kind: store.KindPush,
	}, map[string]string{"site.yaml": "b"})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := broken.Intake().Put(ctx, objects); !errors.Is(err, store.ErrBroken) {
		t.Errorf("put on a broken disk: %v", err)
	}
	if res, err := broken.Push(ctx, store.HashOf(object), nil); err == nil && res.Status == store.Committed {
		t.Errorf("push on a broken disk: %+v", res)
	}
	if broken.machine.at() != 1 {
		t.Error("it does not enforce any more")
	}
}

// Unreadable is what store/badger has: the records whose bits have turned.
func (f *faulty) Unreadable(context.Context, string, int) (bad []string, last string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key := range f.flipped {
		bad = append(bad, key)
	}
	return bad, "", nil
}

// A record that rots while the node runs, its promise as an acceptor, is written anew with the next turn of the scrub.
func TestRottenRecordIsWrittenAnew(t *testing.T) {
	f := newFleet(t)
	disk := newFaulty(memory.New())
	a := f.startWith("n1", "", disk, f.roster("n1"))
	one := f.push(a, 1, store.Hash{}, map[string]string{"site.yaml": "a"})
	if one.Status != store.Committed {
		t.Fatalf("push: %+v", one)
	}
	allAt(f, 1, a)
	key := store.MetaKey(mesh.SavePrefix + "acceptor/" + store.HeadRegister("production"))
	before, err := disk.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	disk.mu.Lock()
	disk.flipped[string(key)] = true
	disk.mu.Unlock()
	if now, err := disk.Get(t.Context(), key); err != nil || bytes.Equal(now, before) {
		t.Fatalf("it is not damaged: %v", err)
	}
	eventually(t, "the record is whole again", func() bool {
		now, err := disk.Get(t.Context(), key)
		return err == nil && bytes.Equal(now, before)
	})
}
