package badger

import (
	"bytes"
	"testing"

	"shoal/store"
)

// What a damaged disk holds in the place of a place, or of a piece, is refused or is one that could have been written.
func FuzzSegments(f *testing.F) {
	key := store.ObjectKey(store.HashOf([]byte("x")))
	p := place{segment: 3, at: 5 * segmentBlock, key: len(key), size: 40_000, sum: 7}
	f.Add(p.encode())
	f.Add(append([]byte(pieceMagic+"\x00\x04\x00\x00\x9c\x40\x00\x00\x00\x07"), "name and more"...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := decodePlace(key, data); err == nil {
			if !bytes.Equal(p.encode(), data) {
				t.Errorf("%x is read as %+v", data, p)
			}
			if p.at < 0 || p.size < 0 || p.size > store.MaxBatch || p.blocks() <= 0 {
				t.Errorf("%x: %+v", data, p)
			}
		}
		if name, p, ok := parsePiece(data, 1, 0); ok {
			if len(name) != p.key || len(name) == 0 || p.size < 0 || p.size > store.MaxBatch {
				t.Errorf("%x: %q at %+v", data, name, p)
			}
		}
	})
}
