package wasm

import (
	"testing"

	"shoal/executor"
	"shoal/internal/bounded"
)

// FuzzReply: what an extension module answers; it may be anything.
func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"error":{"message":"no"}}`))
	f.Add([]byte(`{"change":{"needed":true,"diff":"a -> b","outputs":{"n":1}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		bounded.Run(t, 8*bounded.MiB+500*uint64(len(data)), func() {
			_, _ = decodeReply(data)
			_, _, _ = decodeUndo(executor.Undo{Data: data})
		})
	})
}
