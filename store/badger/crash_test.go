package badger

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"shoal/store"
)

// crashDir makes the test binary a writer that is meant to be killed.
const crashDir = "SHOAL_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		writeUntilKilled(dir, os.Getenv("SHOAL_TEST_CRASH_ROUND"))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// crashValue is what belongs to a key: from a few bytes to 40 KiB, so that tables are rotated too.
func crashValue(key string) []byte {
	h := store.HashOf([]byte(key))
	return bytes.Repeat(h[:], 1+int(h[0])*5)
}

// writeUntilKilled writes from several goroutines, and prints a key only when it has been acknowledged.
func writeUntilKilled(dir, round string) {
	kv, err := Open(Options{Dir: dir, Ballast: -1})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%s/%d/%d", round, g, i)
				other := key + "/b"
				err := kv.Write(context.Background(), []store.Change{
					{Key: []byte(key), Value: crashValue(key)}, {Key: []byte(other), Value: crashValue(other)},
				})
				mu.Lock()
				if err != nil {
					fmt.Println("error", err)
				} else {
					fmt.Println(key)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}

// What was acknowledged is there after SIGKILL at any moment, and of a batch either all or nothing.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	dir := t.TempDir()
	seed := uint64(os.Getpid())
	rng := rand.New(rand.NewPCG(seed, 0))
	acknowledged := map[string]bool{}
	for round := range 5 {
		kill := rng.IntN(400)
		for _, key := range runAndKill(t, dir, strconv.Itoa(round), kill) {
			acknowledged[key] = true
		}
		kv, err := Open(Options{Dir: dir, Ballast: -1})
		if err != nil {
			t.Fatalf("seed %d round %d: %v", seed, round, err)
		}
		for key := range acknowledged {
			if got, err := kv.Get(t.Context(), []byte(key)); err != nil || !bytes.Equal(got, crashValue(key)) {
				t.Errorf("seed %d round %d: acknowledged %q comes back as %d bytes (%v)", seed, round, key, len(got), err)
			}
		}
		wantWholeBatches(t, kv)
		if err := kv.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d acknowledged batches", len(acknowledged))
}

func wantWholeBatches(t *testing.T, kv *KV) {
	t.Helper()
	var after []byte
	for {
		page, err := kv.Scan(t.Context(), nil, after, store.MaxScan, true)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return
		}
		for _, pair := range page {
			key := string(pair.Key)
			twin, isSecond := strings.CutSuffix(key, "/b")
			if !isSecond {
				twin = key + "/b"
			}
			if _, err := kv.Get(t.Context(), []byte(twin)); err != nil {
				t.Errorf("%q is there without %q (%v)", key, twin, err)
			}
		}
		after = page[len(page)-1].Key
	}
}

// runAndKill returns the keys that a writer said were acknowledged before it was killed.
func runAndKill(t *testing.T, dir, round string, afterLines int) (keys []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir, "SHOAL_TEST_CRASH_ROUND="+round)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // a line without its end was cut off
		}
		if strings.HasPrefix(line, "error") {
			t.Errorf("the writer: %s", line)
		}
		keys = append(keys, strings.TrimSuffix(line, "\n"))
		if len(keys) == afterLines+1 {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	cmd.Wait()
	if len(keys) <= afterLines {
		t.Errorf("the writer ended by itself after %d batches", len(keys))
	}
	return keys
}

// A process that is killed while it makes a new log leaves one of no length; the store opens all the same.
func TestOpensBesideAnUnbornLog(t *testing.T) {
	dir := t.TempDir()
	kv, err := Open(Options{Dir: dir, Ballast: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Write(t.Context(), []store.Change{{Key: []byte("m/k"), Value: []byte("v")}}); err != nil {
		t.Fatal(err)
	}
	if err := kv.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "00009.mem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if kv, err = Open(Options{Dir: dir, Ballast: -1}); err != nil {
		t.Fatal(err)
	}
	if got, err := kv.Get(t.Context(), []byte("m/k")); err != nil || string(got) != "v" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := kv.Close(); err != nil {
		t.Error(err)
	}
}
