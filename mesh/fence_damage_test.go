package mesh_test

import (
	"strings"
	"testing"
	"time"

	"shoal/mesh"
	"shoal/store"
)

// An acceptor whose store was damaged, and that has lost its newest promises, votes no more with what is left of them: not with
// the very partner that would make a second majority of it. It gets a seat anew, and the mesh goes on.
func TestDamagedAcceptorDoesNotVote(t *testing.T) {
	w := grown(61, 3, nil)
	n := w.Nodes()
	object, objects := w.Revision(store.Revision{Env: "production", Version: 1, Kind: store.KindPush}, map[string]string{"site.yaml": "1"})
	id := n[0].Push(object, objects)
	w.Run(10 * time.Second)
	committed(t, n[0], id)
	old := n[1].Image()

	// n1 and n2 commit version 2, which n3 never hears of.
	w.Partition(n[:2], n[2:])
	w.Run(5 * time.Second)
	two, objects := w.Revision(store.Revision{
		Env: "production", Version: 2, Parent: store.HashOf(object), Kind: store.KindPush,
	}, map[string]string{"site.yaml": "2"})
	id = n[0].Push(two, objects)
	w.Run(10 * time.Second)
	committed(t, n[0], id)

	// n2's store rots: its records are the older ones, its disk has the number that it had, and n1 is not there to tell it more.
	w.Kill(n[0])
	w.Kill(n[1])
	for key := range old {
		if strings.HasPrefix(key, mesh.SavePrefix+"disk/") {
			old[key] = n[1].Saved()[key]
		}
	}
	n[1].Restore(old)
	mark := mesh.ForgotRecord()
	n[1].Saved()[store.Name(mark.Key)] = mark.Value
	w.Heal()
	w.Restart(n[1])
	w.Run(10 * time.Second)
	rival, objects := w.Revision(store.Revision{
		Env: "production", Version: 2, Parent: store.HashOf(object), Kind: store.KindPush,
	}, map[string]string{"site.yaml": "rival"})
	id = n[2].Push(rival, objects)
	w.Run(time.Minute)
	if p, _ := n[2].Answers[id].Value.(mesh.Pushed); p.Outcome == store.Committed {
		t.Fatal("a second version 2 was committed with what was left of a damaged store")
	}

	// With n1 back there is a majority that knows; n2 is seated again with its new disk, and the rival is told that it lost.
	w.Restart(n[0])
	w.Run(2 * time.Minute)
	three, objects := w.Revision(store.Revision{
		Env: "production", Version: 3, Parent: store.HashOf(two), Kind: store.KindPush,
	}, map[string]string{"site.yaml": "3"})
	id = n[1].Push(three, objects)
	w.Run(20 * time.Second)
	committed(t, n[1], id)
	w.Kill(n[0])
	w.Run(10 * time.Second)
	four, objects := w.Revision(store.Revision{
		Env: "production", Version: 4, Parent: store.HashOf(three), Kind: store.KindPush,
	}, map[string]string{"site.yaml": "4"})
	id = n[2].Push(four, objects)
	w.Run(20 * time.Second)
	committed(t, n[2], id)
	if len(n[1].Core.Staged())+len(n[2].Core.Staged()) > 0 {
		t.Error("something is still staged")
	}
}

// What the disk cannot read any more while the node runs is written anew, of every kind, as it was.
func TestLostRecordsAreWrittenAnew(t *testing.T) {
	n := savedWorld(t)
	before := n.Image()
	var keys []string
	for key := range before {
		if !strings.HasPrefix(key, mesh.SavePrefix+"run/") {
			keys = append(keys, key)
			delete(n.Saved(), key)
		}
	}
	n.Ask(func(uint64) mesh.Event { return mesh.RecordsLost{Keys: keys} })
	for _, key := range keys {
		if string(n.Saved()[key]) != string(before[key]) {
			t.Errorf("%s is not as it was", key)
		}
	}
	if len(keys) < 20 {
		t.Errorf("only %d records", len(keys))
	}
}
