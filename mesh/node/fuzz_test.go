package node

import (
	"testing"

	"shoal/internal/bounded"
)

// FuzzShown: revisions and reports that are shown to people come from other nodes.
func FuzzShown(f *testing.F) {
	f.Add([]byte{0xa0})
	f.Add([]byte{0xa3, 0x01, 0x60, 0x02, 0x41, 0xa0, 0x03, 0x80})
	f.Fuzz(func(t *testing.T, data []byte) {
		bounded.Run(t, 16*bounded.MiB+500*uint64(len(data)), func() {
			_, _ = revisionOf(data)
			_, _ = decodeReport(data)
		})
	})
}
