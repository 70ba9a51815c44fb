package p2p

import (
	"bytes"
	"syscall"
	"testing"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
)

func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 'x'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		var again bytes.Buffer
		for r := bytes.NewReader(data); ; {
			frame, err := ReadFrame(r)
			if err != nil {
				break
			}
			must(0, writeFrame(&again, frame))(t)
		}
		if !bytes.HasPrefix(data, again.Bytes()) {
			t.Fatal("frames that are read are not written the same")
		}
	})
}

func FuzzCredential(f *testing.F) {
	w := newWorld(f)
	value := must(codec.Marshal(w.Chain.Statements()))(f)
	f.Add(value)
	f.Fuzz(func(t *testing.T, data []byte) {
		if credential, err := parseCredential(data); err == nil {
			_, _ = membership.NewRoster(w.Chain).Admit(time.Now(), credential)
		}
	})
}

func FuzzReason(f *testing.F) {
	f.Add([]byte{0, 0})
	f.Add([]byte{0, 2, 'n', 'o'})
	f.Fuzz(func(t *testing.T, data []byte) {
		if readReason(bytes.NewReader(data)) == nil && (len(data) < 2 || data[0] != 0 || data[1] != 0) {
			t.Fatal("a refusal is read as none")
		}
	})
}

// BenchmarkBulk sends objects over each transport.
func BenchmarkBulk(b *testing.B) {
	for i, name := range []string{"quic", "tcp"} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			from, to := w.newNode(b, "a", "127.0.0.1:0", w.ticket(b)), w.newNode(b, "b", "127.0.0.2:0", w.ticket(b))
			addrs := must(multiaddrs(to.Addr()))(b)
			from.Learn(to.ID, to.Addr())
			from.store.ClearAddrs(to.self)
			from.store.AddAddrs(to.self, addrs[i:i+1], time.Hour)
			data := make([]byte, 256<<10)
			b.SetBytes(int64(len(data)))
			var before, after syscall.Rusage
			must(0, syscall.Getrusage(syscall.RUSAGE_SELF, &before))(b)
			for b.Loop() {
				must(0, from.Send(to.ID, data))(b)
				<-to.Frames()
			}
			must(0, syscall.Getrusage(syscall.RUSAGE_SELF, &after))(b)
			cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
			b.ReportMetric(float64(cpu)/float64(b.N)/1e6, "cpu-ms/op")
		})
	}
}
