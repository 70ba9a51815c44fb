package mesh

import (
	"crypto/ed25519"
	"testing"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/ring"
	"shoal/store"
)

func soloCore(t *testing.T, saved ...store.Pair) (*Core, error) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	self := membership.Member{ID: membership.IDOf(key.Public().(ed25519.PublicKey)), Name: "solo"}
	return New(Config{Key: key, Place: ring.NewPlacement().Update}, membership.Solo(self), time.Unix(1_800_000_000, 0), saved, nil)
}

func pair(t *testing.T, key string, record any) store.Pair {
	t.Helper()
	value, err := codec.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	return store.Pair{Key: []byte(key), Value: value}
}

// TestAHeadThatLostItsPublisherDoesNotStopTheNode: it goes on enforcing what it applied last.
func TestAHeadThatLostItsPublisherDoesNotStopTheNode(t *testing.T) {
	applied := appliedHead{Version: 3, Revision: store.HashOf([]byte("r")), Manifest: store.HashOf([]byte("m"))}
	c, err := soloCore(t, pair(t, keyHead+"production", store.HeadRecord{Env: "production"}),
		pair(t, keyCreation+"production", store.Creation{Env: "production"}), pair(t, keyApplied+"production", applied))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range c.Step(time.Unix(1_800_000_001, 0), Start{}) {
		if converge, ok := a.(Converge); ok && converge.Head.Version == 3 && converge.Manifest == applied.Manifest {
			return
		}
	}
	t.Error("does not converge to what was applied")
}

// TestWhatANewerVersionWroteStopsTheNode: it may mean anything.
func TestWhatANewerVersionWroteStopsTheNode(t *testing.T) {
	for _, bad := range []store.Pair{
		{Key: []byte(SavePrefix + "of the future/x"), Value: []byte{0xa0}},
		{Key: []byte(SavePrefix + "nothing"), Value: []byte{0xa0}},
	} {
		if _, err := soloCore(t, bad); err == nil {
			t.Errorf("%s: starts", bad.Key)
		}
	}
}

// TestADamagedRecordIsLeftOut: the node starts, deletes it, and says so; where it was its own promise, or the number of its disk,
// the disk counts as another.
func TestADamagedRecordIsLeftOut(t *testing.T) {
	own := pair(t, keyDisk+"own", store.Incarnation{Node: "n", Disk: 77, Start: 4, Nonce: 5})
	promise := store.Acceptor{Register: "head/production", Epoch: 1, Members: []membership.NodeID{"n", "o", "p"}, Disk: 77}
	for _, kind := range []string{keyRoster, keyAddr, keyCreation, keyHead, keySeal, keyPeerDisk, keyVersion, keyApplied, keyStaged,
		keyLog, keyEntry, keyFork, keyAcceptor, keyDisk} {
		bad := store.Pair{Key: []byte(kind + "head/production"), Value: []byte("not cbor")}
		saved := []store.Pair{own, pair(t, keyAcceptor+"head/other", promise), bad}
		if kind == keyDisk {
			saved[0].Value, bad.Key = []byte("not cbor"), []byte(keyDisk+"own")
			saved = saved[:2]
		}
		c, err := soloCore(t, saved...)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		deleted, noted := false, false
		for _, a := range c.Step(time.Unix(1_800_000_001, 0), Start{}) {
			switch a := a.(type) {
			case Save:
				if a.Key == string(bad.Key) {
					deleted = a.Value == nil || kind == keyDisk
				}
			case Note:
				noted = noted || a.Err != nil
			}
		}
		if forgets := kind == keyAcceptor || kind == keyDisk; !deleted || !noted || forgets != (c.fence.own.Disk != 77) || c.fenced("head/other") == false {
			t.Errorf("%s: deleted %v, noted %v, disk %d", kind, deleted, noted, c.fence.own.Disk)
		}
	}
}

func FuzzSavedRecords(f *testing.F) {
	for _, key := range []string{keyRoster, keyChain, keyAddr, keyCreation, keyHead, keyAcceptor, keyApplied, keyStaged, keyLog, keySeal, keyDisk, keyPeerDisk, keyVersion, keyEntry, keyFork, keyForgot} {
		f.Add(key+"x", []byte{0xa0})
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	self := membership.Member{ID: membership.IDOf(key.Public().(ed25519.PublicKey)), Name: "solo"}
	solo, placed := membership.Solo(self), ring.NewPlacement().Update([]ring.Node{{ID: self.ID}})
	place := func([]ring.Node) ring.Ring { return placed }
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		now := time.Unix(1_800_000_000, 0)
		c, err := New(Config{Key: key, Place: place}, solo, now, []store.Pair{{Key: []byte(name), Value: value}}, nil)
		if err == nil {
			c.Step(now.Add(time.Minute), Start{})
			c.Step(now.Add(2*time.Minute), Tick{})
		}
	})
}
