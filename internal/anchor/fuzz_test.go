package anchor_test

import (
	"crypto/ed25519"
	"testing"

	"shoal/internal/anchor"
	"shoal/internal/bounded"
	"shoal/membership"
)

// FuzzOpen: whatever the disk has, the side that changes the machine starts from it or says why not, within bounded memory.
func FuzzOpen(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	genesis, err := membership.NewGenesis(make([]byte, 32), 1, key)
	if err != nil {
		f.Fatal(err)
	}
	self := membership.Member{ID: membership.IDOf(key.Public().(ed25519.PublicKey)), Name: "n1"}
	for _, records := range [][]membership.Signed{nil, {genesis}} {
		_, err := anchor.Open(nil, anchor.Own{Member: self, Records: records}, func(data []byte) error {
			f.Add(data)
			return nil
		})
		if err != nil {
			f.Fatal(err)
		}
	}
	f.Add([]byte{0xa5, 0x01, 0x60, 0x02, 0x80, 0x03, 0xa0, 0x04, 0xa0, 0x05, 0xa0})
	f.Fuzz(func(t *testing.T, data []byte) {
		bounded.Run(t, 8*bounded.MiB+200*uint64(len(data)), func() {
			for _, records := range [][]membership.Signed{nil, {genesis}} {
				_, _ = anchor.Open(data, anchor.Own{Member: self, Records: records}, func([]byte) error { return nil })
			}
		})
	})
}
