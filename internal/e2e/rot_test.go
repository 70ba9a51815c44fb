package e2e

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shoal/internal/fleet"
)

// rotten are the kinds of files of a store. A log is there after a kill; a node that stops makes tables of it.
var rotten = []struct {
	ext    string
	killed bool
}{
	{".sst", false}, {".mem", true}, {"MANIFEST", false}, {"MANIFEST", true}, {"KEYREGISTRY", false}, {".vlog", false},
	{".sst", false}, {".mem", true}, {".sst", true}, {"DISCARD", false}, {"large/*.segment", false}, {"large/*.segment", true},
}

// A bit that turns in any file of a node's store: the node comes up, takes part, gets what it lost from its peers, and serves
// nothing wrong. In the end it is an acceptor again on whom a commit depends.
func TestRottenStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mesh(3)
	n1, n2, n3 := w.Nodes[0], w.Nodes[1], w.Nodes[2]
	dice := rand.New(rand.NewPCG(7, 11))
	data := make([]byte, 6<<20)
	if _, err := rand.NewChaCha8(sha256.Sum256([]byte("rot"))).Read(data); err != nil {
		t.Fatal(err)
	}
	push := func(i int, at *fleet.Node) string {
		text := fmt.Sprintf("round %d\n", i)
		tree := w.tree(fmt.Sprintf("rot-%d", i), "site.yaml", everywhere, "components/c/states.yaml", fmt.Sprintf(
			"states:\n  image:\n    file.managed: {path: /srv/image, source: files/image}\n  motd:\n    file.managed: {path: /etc/motd, content: %q}\n", text),
			"components/c/files/image", string(data))
		if res, err := w.Shoal(w.ctx, "push", tree, "--node", at.Socket()); err != nil || res.Status != 0 && res.Status != 3 {
			t.Fatalf("push: status %d, %v: %s", res.Status, err, res.Stderr)
		} else if res.Status == 3 { // n3 may have forgotten whom to call, and is alone until the others call it
			w.retried(at)
		}
		return text
	}
	w.holds("etc/motd", push(0, n1), w.Nodes...)
	w.intact(sha256.Sum256(data), w.Nodes...)
	for i, kind := range rotten {
		if kind.killed {
			n3.Kill()
		} else if err := n3.Stop(); err != nil {
			t.Fatal(err)
		}
		where := w.rot(n3, kind.ext, dice)
		if err := os.Remove(n3.Path("srv/image")); err != nil { // so that it has to read its store
			t.Fatal(err)
		}
		if _, err := n3.Start(); err != nil {
			t.Fatalf("%s: the node does not start: %v", where, err)
		}
		w.intact(sha256.Sum256(data), n3)
		copy(data[(i+1)*300_000:], fmt.Sprintf("edit %d", i))
		text := push(i+1, w.Nodes[i%3])
		w.holds("etc/motd", text, w.Nodes...)
		w.intact(sha256.Sum256(data), w.Nodes...)
		w.within(time.Minute, "all see all again", func() (err error) { // as the simulation has it of partitions
			for _, n := range w.Nodes {
				for _, other := range w.Nodes {
					err = errors.Join(err, w.seesNow(n, other.Name, "alive"))
				}
			}
			return err
		})
	}

	n2.Kill()
	w.within(patience, "n1 sees n2 failed", func() error { return w.seesNow(n1, "n2", "failed") })
	tree := w.motd("last", "with n3's vote\n")
	if res, err := w.Shoal(w.ctx, "push", tree, "--node", n1.Socket()); err != nil {
		t.Fatal(err)
	} else if res.Status != 0 {
		w.retried(n1)
	}
	w.holds("etc/motd", "with n3's vote\n", n1, n3)

	if err := n3.Stop(); err != nil {
		t.Fatal(err)
	}
	res := w.ok("store", "export", filepath.Join(w.Dir, "n3.shoal"), "--root", n3.Root)
	if strings.Contains(res.Stderr, "damaged objects were left out") {
		t.Errorf("something is still damaged: %s", res.Stderr)
	}
	history := w.ok("report", "n3", "--history", "--node", n1.Socket())
	if !strings.Contains(history.Stdout, "the store was damaged") {
		t.Errorf("its log does not say so:\n%s", history.Stdout)
	}
}

// retried waits until what is staged at a node is committed.
func (w *world) retried(at *fleet.Node) {
	w.t.Helper()
	w.eventually("what is staged is committed", func() error {
		if res, err := w.Shoal(w.ctx, "push", "--retry", "--node", at.Socket()); err != nil || res.Status != 0 {
			return fmt.Errorf("status %d, %v", res.Status, err)
		}
		return nil
	})
}

// rot turns one bit of one file of a kind, at a place that is written.
func (w *world) rot(n *fleet.Node, kind string, dice *rand.Rand) (where string) {
	w.t.Helper()
	files, err := filepath.Glob(n.Path("var/lib/shoal/store/*" + kind))
	if err != nil || len(files) == 0 {
		w.t.Fatalf("no %s in the store: %v", kind, err)
	}
	slices.Sort(files)
	name := files[dice.IntN(len(files))]
	data, err := os.ReadFile(name)
	if err != nil {
		w.t.Fatal(err)
	}
	at := dice.IntN(max(1, len(bytes.TrimRight(data, "\x00"))))
	data[at] ^= 1 << dice.IntN(8)
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(data[at:at+1], int64(at))
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	where = fmt.Sprintf("%s, byte %d of %d", filepath.Base(name), at, len(data))
	w.t.Log(where)
	return where
}
