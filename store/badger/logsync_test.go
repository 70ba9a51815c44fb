package badger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"shoal/store"
)

// powerCut remembers of each log what was in it when it was synced last: all that a power cut leaves.
type powerCut struct {
	t      *testing.T
	mu     sync.Mutex
	synced map[string][]byte
}

func (p *powerCut) datasync(f *os.File) error {
	data, err := os.ReadFile(f.Name())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.synced[filepath.Base(f.Name())] = data
	return err
}

// image is what the disk would have if the power failed now. The library syncs all but its logs itself, and empties a table before it
// removes it: what is copied while the list of tables becomes another is no image.
func (p *powerCut) image(dir string) string {
	p.t.Helper()
	for {
		out := p.t.TempDir()
		before := p.manifest(dir)
		p.copy(dir, out)
		if bytes.Equal(before, p.manifest(dir)) {
			return out
		}
	}
}

func (p *powerCut) manifest(dir string) []byte {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "MANIFEST"))
	if err != nil {
		p.t.Fatal(err)
	}
	return data
}

func (p *powerCut) copy(dir, out string) {
	p.t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range entries {
		data, synced := p.synced[e.Name()]
		if e.IsDir() || !synced && (strings.HasSuffix(e.Name(), logSuffix) || e.Name() == "LOCK") {
			continue
		}
		if !synced {
			if data, err = os.ReadFile(filepath.Join(dir, e.Name())); errors.Is(err, os.ErrNotExist) {
				continue
			} else if err != nil {
				p.t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(out, e.Name()), data, 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
}

// TestWhatIsAcknowledgedIsSynced: whatever was acknowledged before the power fails is there afterwards, in whichever of the library's logs
// it was written, with what was not synced gone.
func TestWhatIsAcknowledgedIsSynced(t *testing.T) {
	dir := t.TempDir()
	kv := openTest(t, Options{Dir: dir})
	cut := &powerCut{t: t, synced: map[string][]byte{}}
	kv.logs.datasync = cut.datasync
	value := bytes.Repeat([]byte("v"), 120<<10)
	key := func(i int) []byte { return fmt.Appendf(nil, "key-%03d", i) }
	logs := map[string]bool{}
	const writes = 100 // 12 MiB, in logs of 4 MiB
	for i := range writes {
		if err := kv.Write(t.Context(), []store.Change{{Key: key(i), Value: value}}); err != nil {
			t.Fatal(err)
		}
		for name := range cut.synced {
			logs[name] = true
		}
		if i%33 != 32 && i != writes-1 {
			continue
		}
		after, err := Open(Options{Dir: cut.image(dir), Ballast: -1})
		if err != nil {
			t.Fatalf("after %d writes: %v", i+1, err)
		}
		for j := range i + 1 {
			if got, err := after.Get(t.Context(), key(j)); err != nil || !bytes.Equal(got, value) {
				t.Errorf("the power fails after write %d: write %d is lost (%v)", i, j, err)
			}
		}
		if err := after.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(logs) < 3 {
		t.Errorf("all was in %d logs", len(logs))
	}
}

// A log that cannot be synced ends the store: nobody knows what the disk has.
func TestFailedLogSyncStopsTheStore(t *testing.T) {
	kv := openTest(t, Options{Dir: t.TempDir()})
	mustWrite(t, kv, put("a", "1"))
	fail := errors.New("input/output error")
	good := kv.logs.datasync
	kv.logs.datasync = func(*os.File) error { return fail }
	if err := kv.Write(t.Context(), []store.Change{put("b", "1")}); !errors.Is(err, store.ErrBroken) || !errors.Is(err, fail) {
		t.Errorf("a failed sync: %v", err)
	}
	kv.logs.datasync = good
	if err := kv.Write(t.Context(), []store.Change{put("c", "1")}); !errors.Is(err, store.ErrBroken) {
		t.Errorf("after a failed sync: %v", err)
	}
	wantGet(t, kv, "a", "1")
}
