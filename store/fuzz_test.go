package store

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"testing"

	"shoal/internal/bounded"
	"shoal/internal/codec"
	"shoal/membership"
)

// FuzzHash: hashes come as text in requests, and as bytes in messages.
func FuzzHash(f *testing.F) {
	h := HashOf(nil)
	text, _ := h.MarshalText()
	data, _ := codec.Marshal(h)
	f.Add(text)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		var h, again Hash
		if h.UnmarshalText(data) == nil {
			text, err := h.MarshalText()
			if err != nil || again.UnmarshalText(text) != nil || again != h {
				t.Errorf("%x: %x, %v", data, again, err)
			}
		}
		if h.UnmarshalCBOR(data) == nil {
			if err := codec.Unmarshal(data, &again); err != nil || again != h {
				t.Errorf("%x: %x, %v", data, again, err)
			}
		}
	})
}

// oneKey is the only publisher and operator.
type oneKey struct{ key ed25519.PrivateKey }

func (o oneKey) Publishes(key ed25519.PublicKey, _ string) bool { return key.Equal(o.key.Public()) }

func (o oneKey) Authorises(keys []ed25519.PublicKey) bool {
	return len(keys) == 1 && keys[0].Equal(o.key.Public())
}

func idOfKey(key ed25519.PrivateKey) membership.NodeID {
	return membership.IDOf(key.Public().(ed25519.PublicKey))
}

// FuzzRegisterValues: what acceptors are asked to hold, what they are told of each other, and what they are shown against somebody.
func FuzzRegisterValues(f *testing.F) {
	key := testKey(1)
	object, err := SealRevision(Revision{Env: "e", Version: 1, Kind: KindPush}, key)
	if err != nil {
		f.Fatal(err)
	}
	value, _ := codec.Marshal(HeadValue{Version: 1, Revision: object})
	vote, _ := membership.Sign(membership.DomainAccepted, Vote{Register: HeadRegister("e"), Value: HashOf(value)}, key)
	word, _ := membership.Sign(membership.DomainPromised, Word{Register: HeadRegister("e")}, key)
	directory := CreateHead([]Seat{{Node: idOfKey(key), Disk: 1}}, true)(nil)
	f.Add(value)
	f.Add(directory)
	f.Add(object)
	for _, s := range []membership.Signed{vote, word} {
		data, _ := codec.Marshal(s)
		f.Add(data)
		pair, _ := codec.Marshal(Evidence{A: s, B: s})
		f.Add(pair)
	}
	members := []membership.NodeID{idOfKey(key)}
	f.Fuzz(func(t *testing.T, data []byte) {
		bounded.Run(t, 8*bounded.MiB+200*uint64(len(data)), func() {
			if v, r, err := OpenHeadValue("e", data, oneKey{key}); err == nil && (r.Env != "e" || v.Version != r.Version) {
				t.Errorf("%+v of %+v", v, r)
			}
			if seats, err := OpenDirectoryValue("e", data, members); err == nil && len(seats) > MaxAcceptors {
				t.Errorf("%d seats", len(seats))
			}
			_, _ = OpenOrder("e", data, members, oneKey{key}.Publishes)
			var e Evidence
			if codec.Unmarshal(data, &e) == nil {
				_, _ = e.Open()
			}
			var s membership.Signed
			if codec.Unmarshal(data, &s) == nil {
				_, _ = OpenSeal(s, HeadRegister("e"), 0, members)
				_, _ = OpenRecovery(s, membership.MeshID{}, oneKey{key})
				_, _ = Certificate{Value: data, Votes: s}.Verify(HeadRegister("e"), 0, members)
			}
			var c Creation
			if codec.Unmarshal(data, &c) == nil {
				_, _ = c.Open(func(membership.NodeID) bool { return true })
			}
		})
	})
}

// FuzzArchive: what shoal store import reads may come from anywhere.
func FuzzArchive(f *testing.F) {
	f.Add([]byte(archiveHeader))
	whole := append([]byte(archiveHeader), 0, 0, 0, 1, 0, 0, 0, 1, 'k', 'v', 0, 0, 0, 0, 0, 0, 0, 0)
	sum := sha256.Sum256(whole)
	f.Add(append(whole, sum[:]...))
	f.Fuzz(func(t *testing.T, data []byte) {
		bounded.Run(t, 4*bounded.MiB+100*uint64(len(data)), func() {
			_ = readArchive(bytes.NewReader(data), func(key, value []byte) error {
				if len(key) == 0 || len(key)+len(value) > len(data) {
					t.Errorf("a pair of %d and %d bytes out of %d", len(key), len(value), len(data))
				}
				return nil
			})
		})
	})
}
