package local

import (
	"testing"

	"shoal/executor"
)

// TestHashReadTooSoonIsNotBelieved: within one tick of the kernel's clock a file can change again and look the same.
func TestHashReadTooSoonIsNotBelieved(t *testing.T) {
	c := newHashCache("")
	st := executor.Stat{Size: 4, Inode: 5, Ctime: 1e18}
	for _, at := range []struct {
		after int64 // nanoseconds between the change and the reading
		ok    bool
	}{{-1, false}, {0, false}, {int64(racy) - 1, false}, {int64(racy), true}, {int64(racy) * 1000, true}} {
		c.put("/f", hashEntry{stat: st, at: st.Ctime + at.after})
		if _, ok := c.get("/f", st); ok != at.ok {
			t.Errorf("read %d ns after the change: believed %v", at.after, ok)
		}
	}
}
