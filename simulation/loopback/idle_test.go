package loopback

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkIdle measures what five nodes in one process cost while nothing happens, per node. Bytes are those of the
// loopback interface, so run it in a network namespace of its own:
//
//	go test -c -o idle ./simulation/loopback
//	unshare -n sh -c 'ip link set lo up && ./idle -test.run=^$ -test.bench=Idle -test.benchtime=1x'
func BenchmarkIdle(b *testing.B) {
	m := newMesh(b)
	var nodes []*node
	for i := range 5 {
		n := m.node(b, fmt.Sprint("n", i), fmt.Sprintf("127.0.0.%d:0", i+1), m.ticket(b))
		if i > 0 {
			n.join(b, nodes[i-1])
		}
		nodes = append(nodes, n)
		for _, old := range nodes[:i] {
			old.tell(b, n)
			n.tell(b, nodes[:i]...)
		}
	}
	allAlive(b, nodes...)
	const idle = time.Minute
	for b.Loop() {
		cpu, wire := cpuTime(b), loopbackBytes(b)
		<-time.After(idle)
		perNode := idle.Seconds() * float64(len(nodes))
		b.ReportMetric(100*(cpuTime(b)-cpu).Seconds()/perNode, "%cpu/node")
		b.ReportMetric((loopbackBytes(b)-wire)/perNode, "B/s/node")
	}
	b.ReportMetric(residentMiB(b)/float64(len(nodes)), "MiB/node")
}

func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	must(0, syscall.Getrusage(syscall.RUSAGE_SELF, &u))(t)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func loopbackBytes(t testing.TB) float64 {
	t.Helper()
	data := must(os.ReadFile("/proc/self/net/dev"))(t)
	for line := range strings.Lines(string(data)) {
		if counters, ok := strings.CutPrefix(strings.TrimSpace(line), "lo:"); ok {
			var received float64
			must(fmt.Sscan(counters, &received))(t)
			return received
		}
	}
	t.Fatal("no loopback interface")
	return 0
}

func residentMiB(t testing.TB) float64 {
	t.Helper()
	var size, resident float64
	must(fmt.Sscan(string(must(os.ReadFile("/proc/self/statm"))(t)), &size, &resident))(t)
	return resident * float64(os.Getpagesize()) / (1 << 20)
}
