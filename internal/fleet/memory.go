package fleet

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// sampleEvery is how far apart two looks at the memory are.
const sampleEvery = 20 * time.Millisecond

// Memory is what the agent has resident that is not pages of files, in bytes, both of its processes where it is divided: the
// kernel takes those of files back when it needs them.
func (n *Node) Memory() (int64, error) {
	total, err := anonymous(n.PID())
	if pid, ok := n.MeshSide(); ok && err == nil {
		var other int64
		other, err = anonymous(pid)
		total += other
	}
	return total, err
}

// anonymous reads RssAnon of /proc/PID/status, in bytes.
func anonymous(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), "\nRssAnon:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0, fmt.Errorf("no RssAnon for process %d", pid)
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	return kb << 10, err
}

// WatchMemory looks at the memory of all agents until stop is called, which returns the most that each had above what it has now.
func (f *Fleet) WatchMemory() (stop func() []int64, err error) {
	idle := make([]int64, len(f.Nodes))
	for i, n := range f.Nodes {
		if idle[i], err = n.Memory(); err != nil {
			return nil, err
		}
	}
	over, peaks := make(chan struct{}), make(chan []int64)
	go func() {
		most := make([]int64, len(f.Nodes))
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			for i, n := range f.Nodes {
				if now, err := n.Memory(); err == nil { // it may end meanwhile
					most[i] = max(most[i], now-idle[i])
				}
			}
			select {
			case <-over:
				peaks <- most
				return
			case <-tick.C:
			}
		}
	}()
	return func() []int64 { close(over); return <-peaks }, nil
}
