package bubble

import (
	"context"
	"fmt"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"shoal/membership"
	"shoal/store"
)

func motd(text string) fstest.MapFS {
	return fstest.MapFS{
		"site.yaml":                {Data: []byte("targets: [{on: \"*\", components: [c]}]\n")},
		"components/c/states.yaml": {Data: []byte("states:\n  f: {file.managed: {path: /etc/motd, content: '" + text + "'}}\n")},
	}
}

func TestThreeNodes(t *testing.T) {
	real := time.Now()
	synctest.Test(t, func(t *testing.T) {
		w, err := NewWorld(1)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}()
		for _, name := range []string{"a", "b", "c"} {
			m := w.Add(name, "z1", nil)
			if err := m.Start(joinOf(w, m)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		res, err := w.Push(context.Background(), w.Machine("b"), "production", motd("one"), nil)
		if err != nil || res.Status != store.Committed {
			t.Fatal(res, err)
		}
		t.Log(w.Since())
		time.Sleep(10 * time.Second)
		for _, m := range w.Machines() {
			last, ok := m.Last()
			t.Log(m.Name, ok, last.At.Sub(w.began), last.Report.Result, last.Report.Version, last.Report.Error)
			if last.Report.Version != 1 || last.Report.Result != "converged" {
				t.Error("not applied")
			}
		}
		t.Log(w.Fabric.Traffic())
	})
	t.Log(time.Since(real))
}

func joinOf(w *World, m *Machine) []string {
	if first := w.Machines()[0]; first != m {
		return []string{first.addr}
	}
	return nil
}

// TestJoinsAreCheap: a node that joins exchanges all that is known with a few of those that are there, not with each.
func TestJoinsAreCheap(t *testing.T) {
	const count = 40
	synctest.Test(t, func(t *testing.T) {
		w, err := NewWorld(1)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}()
		for i := range count {
			m := w.Add(fmt.Sprint("n", i), "z1", nil)
			if err := m.Start(joinOf(w, m)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(apart)
		}
		time.Sleep(20 * time.Second)
		var bytes int64
		for _, traffic := range w.Fabric.Traffic() {
			bytes += traffic.StreamBytes
		}
		for _, m := range w.Machines() {
			if alive := aliveOf(m); alive != count {
				t.Errorf("%s sees %d of %d", m.Name, alive, count)
			}
		}
		if each := bytes / count / count; each > 3500 {
			t.Errorf("a node has sent %d bytes for each other", each)
		} else {
			t.Logf("%d bytes of each node for each other", each)
		}
	})
}

func aliveOf(m *Machine) (n int) {
	for _, member := range m.Node().Members() {
		if member.Status == membership.Alive {
			n++
		}
	}
	return n
}
