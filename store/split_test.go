package store

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

func noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0] = byte(seed)
	out := make([]byte, n)
	rand.NewChaCha8(key).Read(out)
	return out
}

func pieces(t *testing.T, r io.Reader) [][]byte {
	t.Helper()
	var out [][]byte
	if err := Split(r, func(p []byte) error { out = append(out, bytes.Clone(p)); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSplitJoinsToTheSame(t *testing.T) {
	for _, size := range []int{0, 1, MaxObject - 1, MaxObject, MaxObject + 1, 1 << 20, 5<<20 + 17} {
		for _, data := range [][]byte{noise(1, size), make([]byte, size)} {
			got := pieces(t, bytes.NewReader(data))
			if !bytes.Equal(bytes.Join(got, nil), data) {
				t.Errorf("%d bytes come back changed", size)
			}
			for i, p := range got {
				if len(p) == 0 || len(p) > MaxObject || (len(p) < minChunk && i < len(got)-1) {
					t.Errorf("%d bytes: piece %d of %d has %d bytes", size, i, len(got), len(p))
				}
			}
			if size <= MaxObject && len(got) > 1 {
				t.Errorf("%d bytes fit into one object and became %d", size, len(got))
			}
		}
	}
}

// The pieces are a matter of the contents alone, not of how the reader delivers them.
func TestSplitIgnoresHowItIsRead(t *testing.T) {
	data := noise(2, 2<<20)
	whole, halves := pieces(t, bytes.NewReader(data)), pieces(t, iotest.HalfReader(bytes.NewReader(data)))
	if len(whole) != len(halves) {
		t.Fatalf("%d pieces, or %d when read by halves", len(whole), len(halves))
	}
	for i := range whole {
		if !bytes.Equal(whole[i], halves[i]) {
			t.Fatalf("piece %d differs", i)
		}
	}
}

func TestSmallEditMovesFewPieces(t *testing.T) {
	data := noise(3, 8<<20)
	edited := append(append(bytes.Clone(data[:3<<20]), "one line more\n"...), data[3<<20:]...)
	have := map[Hash]bool{}
	before := pieces(t, bytes.NewReader(data))
	for _, p := range before {
		have[HashOf(p)] = true
	}
	moved := 0
	for _, p := range pieces(t, bytes.NewReader(edited)) {
		if !have[HashOf(p)] {
			moved += len(p)
		}
	}
	if moved == 0 || moved > 4*MaxObject {
		t.Errorf("an inserted line moves %d bytes of %d", moved, len(data))
	}
	if average := len(data) / len(before); average < averageChunk/2 || average > MaxObject {
		t.Errorf("pieces of %d bytes on average", average)
	}
}

// Two versions of shoal that cut differently would share nothing of a large file, so the cuts are pinned.
func TestSplitStaysAsItIs(t *testing.T) {
	var sizes []byte
	for _, p := range pieces(t, bytes.NewReader(noise(4, 4<<20))) {
		h := HashOf(p)
		sizes = append(sizes, h[:]...)
	}
	const want = "3fd22912cd60"
	if got := HashOf(sizes).Short(); got != want {
		t.Errorf("the cuts of known bytes changed: %s, was %s", got, want)
	}
}

func TestSplitPassesErrorsOn(t *testing.T) {
	broken := io.ErrUnexpectedEOF // such as a body that was cut off
	for _, before := range []int{0, 10, MaxObject + 10} {
		r := io.MultiReader(bytes.NewReader(noise(5, before)), iotest.ErrReader(broken))
		if err := Split(r, func([]byte) error { return nil }); !errors.Is(err, broken) {
			t.Errorf("a read error after %d bytes gave %v", before, err)
		}
	}
	for _, size := range []int{10, 1 << 20} {
		err := Split(bytes.NewReader(noise(6, size)), func([]byte) error { return broken })
		if !errors.Is(err, broken) {
			t.Errorf("an error of emit on %d bytes gave %v", size, err)
		}
	}
}
