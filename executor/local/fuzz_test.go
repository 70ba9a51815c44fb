package local

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"shoal/executor"
	"shoal/internal/datafile"
)

func FuzzJournalFrames(f *testing.F) {
	f.Add(datafile.AppendFrame(datafile.AppendFrame(nil, []byte("one")), []byte("two")))
	f.Add([]byte{1, 0, 0, 0})
	f.Add([]byte{255, 255, 255, 255, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		frames, valid := datafile.Frames(data)
		if valid > len(data) {
			t.Fatalf("%d of %d bytes are valid", valid, len(data))
		}
		var again []byte
		for _, payload := range frames {
			again = datafile.AppendFrame(again, payload)
		}
		if !bytes.Equal(again, data[:valid]) {
			t.Fatal("the frames are not those of the file")
		}
	})
}

func FuzzHashes(f *testing.F) {
	f.Add(encodeHashes(nil))
	f.Add(encodeHashes(map[string]hashEntry{"/etc/x": {stat: executor.Stat{Size: 3}, at: 9, sum: sha256.Sum256(nil)}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := decodeHashes(data)
		if err != nil {
			return
		}
		again, err := decodeHashes(encodeHashes(entries))
		if err != nil || len(again) != len(entries) {
			t.Fatalf("%d entries, then %d, %v", len(entries), len(again), err)
		}
		for name, e := range entries {
			if again[name] != e {
				t.Fatalf("%q changed", name)
			}
		}
	})
}
