package local_test

import (
	"testing"

	"shoal/executor/local"
)

// TestStampTellsWhetherAnybodyWasAtWork: with a ledger that is stored anew, and with one that stays as it was.
func TestStampTellsWhetherAnybodyWasAtWork(t *testing.T) {
	dir := t.TempDir()
	mine, other := local.OpenData(dir), local.OpenData(dir)
	defer mine.Close()
	defer other.Close()
	stamps := map[string]bool{}
	for n, work := range []func() error{
		func() error { return nil },
		func() error { return other.Store([]byte("a")) },
		func() error { return other.Store([]byte("b")) },
		func() error { return other.Append([]byte("begin")) },
		func() error { return other.Append([]byte("commit")) },
	} {
		if err := work(); err != nil {
			t.Fatal(err)
		}
		stamp, err := mine.Stamp()
		if err != nil || stamps[stamp] {
			t.Fatalf("work %d: %q, %v", n, stamp, err)
		}
		stamps[stamp] = true
		if _, err := mine.Load(); err != nil {
			t.Fatal(err)
		}
		if again, err := mine.Stamp(); err != nil || again != stamp {
			t.Fatalf("work %d: nobody was at work, and %q is %q now, %v", n, stamp, again, err)
		}
	}
}
