package remote

import (
	"testing"

	"shoal/executor"
	"shoal/internal/bounded"
)

// FuzzAnswers: values and reports come from the other side of a connection to a machine that may be in wrong hands.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"a":[1,2.5,"x",null,true]}`))
	f.Add([]byte(`{"result":"converged","states":[{"id":"a"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		bounded.Run(t, 8*bounded.MiB+500*uint64(len(data)), func() {
			_, _ = decodeAny(data)
			if r, err := decodeReport(data); err == nil {
				_ = executor.Result(r.Result)
			}
		})
	})
}
