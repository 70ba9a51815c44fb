package mesh_test

import (
	"crypto/ed25519"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

var updateSaved = flag.Bool("update-saved", false, "write the fixture of the newest version of saved records anew")

// savedWorld is a node of three with every kind of record: two heads, a staged revision, a change of acceptors.
func savedWorld(t *testing.T) *meshtest.Node {
	t.Helper()
	w := meshtest.New(3)
	w.Configure = func(_ *meshtest.Node, c *mesh.Config) { c.Lineage = 1 }
	n1 := w.Add("n1", nil)
	n2 := w.Add("n2", n1)
	w.Add("n3", n1)
	w.Run(8 * time.Second)
	parent := store.Hash{}
	for version := uint64(1); version <= 3; version++ {
		if version == 3 {
			w.Add("n4", n1)
			w.Add("n5", n1)
			w.Run(20 * time.Second)
			w.Partition(nil, []*meshtest.Node{n2})
			w.Run(5 * time.Second)
		}
		object, objects := w.Revision(store.Revision{
			Env: "production", Version: version, Parent: parent, Kind: store.KindPush,
		}, map[string]string{"site.yaml": "x"})
		n2.Push(object, objects)
		w.Run(15 * time.Second)
		parent = store.HashOf(object)
	}
	return n2
}

// TestSavedRecordsOfEachVersion: what any version wrote, this one starts with. n2 was at version 2 of its environment, with a
// third revision staged.
func TestSavedRecordsOfEachVersion(t *testing.T) {
	if *updateSaved {
		data, err := json.MarshalIndent(savedWorld(t).Saved(), "", " ")
		if err == nil {
			err = os.WriteFile("testdata/saved/v4.json", append(data, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for version, kinds := range map[int]int{1: 8, 2: 12, 3: 12, 4: 14} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			data, err := os.ReadFile(fmt.Sprintf("testdata/saved/v%d.json", version))
			if err != nil {
				t.Fatal(err)
			}
			saved := map[string][]byte{}
			if err := json.Unmarshal(data, &saved); err != nil {
				t.Fatal(err)
			}
			startsWith(t, saved, kinds)
		})
	}
}

func startsWith(t *testing.T, saved map[string][]byte, kinds int) {
	var pairs []store.Pair
	seen := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(saved)) {
		if mesh.Loaded(key) {
			seen[strings.Split(key, "/")[1]] = true
			pairs = append(pairs, store.Pair{Key: []byte(key), Value: saved[key]})
		}
	}
	if len(seen) != kinds {
		t.Errorf("the fixture has %d kinds of records, not %d: %v", len(seen), kinds, slices.Sorted(maps.Keys(seen)))
	}
	w := meshtest.New(3)
	roster, ok, err := mesh.SavedRoster(pairs)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	core, err := mesh.New(mesh.Config{Key: meshtest.Key("n2"), Seed: 9, Place: w.Place}, roster, w.Now(), pairs, nil)
	if err != nil {
		t.Fatal(err)
	}
	applied := uint64(0)
	for _, a := range core.Step(w.Now().Add(time.Second), mesh.Start{}) {
		switch a := a.(type) {
		case mesh.Note:
			t.Errorf("notes: %s", a)
		case mesh.Converge:
			applied = a.Head.Version
		}
	}
	id := membership.IDOf(meshtest.Key("n2").Public().(ed25519.PublicKey))
	if logs := logsOf(core, w.Now().Add(time.Second)); logs[id].Version != 2 || len(logs) != 3 {
		t.Errorf("of the logs there are %+v", logs)
	}
	if applied != 2 || core.Heads()["production"].Version != 2 || len(core.Staged()) != 1 {
		t.Errorf("applies %d, head is %+v, staged %d", applied, core.Heads(), len(core.Staged()))
	}
}

// logsOf are the newest runs that a core knows of.
func logsOf(core *mesh.Core, now time.Time) map[membership.NodeID]mesh.NodeLog {
	out := map[membership.NodeID]mesh.NodeLog{}
	actions := core.Step(now, mesh.AskStatus{ID: 7})
	actions = append(actions, core.Step(now.Add(10*time.Second), mesh.Tick{})...)
	for _, a := range actions {
		if a, ok := a.(mesh.Answer); ok && a.ID == 7 {
			for _, l := range a.Value.(mesh.Gathered).Logs {
				out[l.Node] = l
			}
		}
	}
	return out
}

// TestANewerVersionIsNotTouched: what it wrote may mean something else.
func TestANewerVersionIsNotTouched(t *testing.T) {
	w := meshtest.New(3)
	saved := []store.Pair{{Key: []byte(mesh.SavePrefix + "version/core"), Value: []byte{5}}}
	self := membership.Member{ID: w.Add("n1", nil).ID, Name: "n1"}
	if _, err := mesh.New(mesh.Config{Key: meshtest.Key("n1"), Place: w.Place}, membership.Solo(self), w.Now(), saved, nil); err == nil {
		t.Error("starts")
	}
}
