package mesh

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	"shoal/internal/bounded"
	"shoal/internal/codec"
	"shoal/membership"
	"shoal/ring"
	"shoal/store"
)

// FuzzSteps lets a member send whatever it likes, frame after frame: a node does not fall over it, and what it does for one is bounded.
func FuzzSteps(f *testing.F) {
	key := func(word string) ed25519.PrivateKey {
		seed := sha256.Sum256([]byte(word))
		return ed25519.NewKeyFromSeed(seed[:])
	}
	id := func(k ed25519.PrivateKey) membership.NodeID { return membership.IDOf(k.Public().(ed25519.PublicKey)) }
	operator, self, peer := key("operator"), key("self"), key("peer")
	now := time.Unix(1_800_000_000, 0)
	genesis, err := membership.NewGenesis(make([]byte, 16), 1, operator)
	if err != nil {
		f.Fatal(err)
	}
	chain, err := membership.OpenChain([]membership.Signed{genesis})
	if err != nil {
		f.Fatal(err)
	}
	roster := membership.NewRoster(chain)
	for name, k := range map[string]ed25519.PrivateKey{"self": self, "peer": peer} {
		grant, err := membership.SignGrant(membership.Grant{Mesh: chain.Mesh(), Node: id(k), Name: name}, operator)
		if err == nil {
			_, err = roster.Add(now, grant)
		}
		if err != nil {
			f.Fatal(err)
		}
	}
	placed := ring.NewPlacement().Update([]ring.Node{{ID: id(self)}, {ID: id(peer)}})
	for _, m := range samples() {
		if frame, err := Encode(m); err == nil {
			f.Add(append(binary.BigEndian.AppendUint16(nil, uint16(len(frame))), frame...))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := New(Config{Key: self, Seed: 1, Place: func([]ring.Node) ring.Ring { return placed }}, roster.Clone(), now, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Step(now, Start{})
		c.Step(now, Gossiped{membership.Event{Node: id(peer), Addr: "a", Status: membership.Alive}})
		size := uint64(len(data))
		bounded.Run(t, 64*bounded.MiB+1000*size, func() {
			for i := 0; len(data) >= 2 && i < 20; i++ {
				n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
				frame := data[2 : 2+n]
				data = data[2+n:]
				if m, err := Decode(frame); err == nil {
					c.Step(now.Add(time.Duration(i)*time.Second), Received{From: id(peer), Message: m})
				}
			}
			c.Step(now.Add(time.Minute), Tick{})
		})
	})
}

// FuzzSavedRoster: what is on the disk is read before there is a Core.
func FuzzSavedRoster(f *testing.F) {
	f.Add(keyRoster+"x", []byte{0xa0})
	f.Add(keyChain+"line", []byte{0x80})
	f.Fuzz(func(_ *testing.T, key string, value []byte) {
		_, _, _ = SavedRoster([]store.Pair{{Key: []byte(key), Value: value}})
	})
}

// FuzzFreshness: an answer to a challenge, signed by whoever answers.
func FuzzFreshness(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	from := membership.IDOf(key.Public().(ed25519.PublicKey))
	s, err := membership.Sign(membership.DomainFresh, Freshness{For: from, Env: "e"}, key)
	if err != nil {
		f.Fatal(err)
	}
	data, err := codec.Marshal(s)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(_ *testing.T, data []byte) {
		var s membership.Signed
		if codec.Unmarshal(data, &s) == nil {
			_, _ = openFreshness(from, s)
		}
	})
}
