package store

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// chunksOf returns the hashes of a file's pieces and where each begins.
func chunksOf(t *testing.T, data []byte) (names []Hash, ends []int) {
	t.Helper()
	at := 0
	for _, p := range pieces(t, bytes.NewReader(data)) {
		at += len(p)
		names, ends = append(names, HashOf(p)), append(ends, at)
	}
	return names, ends
}

// A change of 1 % of a large file moves at most 1.2 times the chunks that it touches: in one place, in many pages, and where
// lines are put into one chunk of a hundred. "Touches" is counted on the old cuts, which know nothing of the new ones. (What is
// put in and is a tenth of a chunk or longer may move the next chunk too: FastCDC prefers some lengths.)
func TestOnePercentMovesWhatItTouches(t *testing.T) {
	const size = 256 << 20
	data := noise(7, size)
	before, ends := chunksOf(t, data)
	have := map[Hash]bool{}
	for _, h := range before {
		have[h] = true
	}
	chunkAt := func(at int) (i int) {
		for ends[i] <= at {
			i++
		}
		return i
	}
	dice := rand.New(rand.NewPCG(1, 2))
	changes := map[string]func() (edited []byte, touched map[int]bool){
		"one place": func() ([]byte, map[int]bool) {
			edited, touched := bytes.Clone(data), map[int]bool{}
			copy(edited[size/3:], noise(8, size/100))
			for at := size / 3; at < size/3+size/100; at++ {
				touched[chunkAt(at)] = true
				at = max(at, ends[chunkAt(at)]-1)
			}
			return edited, touched
		},
		"many places": func() ([]byte, map[int]bool) { // a hundredth, in pieces of a page
			edited, touched := bytes.Clone(data), map[int]bool{}
			for range size / 100 / 4096 {
				at := dice.IntN(size/4096-1) * 4096
				copy(edited[at:], noise(dice.Uint64(), 4096))
				touched[chunkAt(at)], touched[chunkAt(at+4095)] = true, true
			}
			return edited, touched
		},
		"lines put in": func() ([]byte, map[int]bool) {
			touched := map[int]bool{}
			var out []byte
			last := 0
			for i := 50; i < len(ends); i += 100 {
				at := ends[i] - 40<<10
				out = append(append(out, data[last:at]...), "one line more\n"...)
				touched[i], last = true, at
			}
			return append(out, data[last:]...), touched
		},
	}
	for name, change := range changes {
		edited, touched := change()
		moved := map[Hash]bool{}
		after, _ := chunksOf(t, edited)
		for _, h := range after {
			if !have[h] {
				moved[h] = true
			}
		}
		t.Logf("%s: %d of %d chunks touched, %d moved", name, len(touched), len(before), len(moved))
		if len(moved) == 0 || float64(len(moved)) > 1.2*float64(len(touched)) {
			t.Errorf("%s: %d chunks moved for %d that were touched", name, len(moved), len(touched))
		}
	}
}
