package local_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shoal/executor"
	"shoal/executor/hosttest"
	"shoal/executor/local"
)

func newHost(t *testing.T, root, data string) *local.Host {
	t.Helper()
	h, err := local.New(local.Options{Root: root, DataDir: data})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func TestHost(t *testing.T) {
	hosttest.FilesSuite(t, func(t *testing.T) executor.Host { return newHost(t, t.TempDir(), "") })
}

// TestWithoutRoot: the machine itself, in a folder of its own.
func TestWithoutRoot(t *testing.T) {
	h := newHost(t, "", "")
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "f")
	staged, err := h.Stage(name, []byte("x"), executor.Meta{Mode: 0o600})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.SyncFiles(), h.Rename(staged, name)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil || string(data) != "x" || h.Path(name) != name {
		t.Fatalf("%q, %v", data, err)
	}
}

// TestSettingOfTheKernel: the name of this process is a file of the kernel that anyone may write.
func TestSettingOfTheKernel(t *testing.T) {
	h := newHost(t, "", "")
	const name = "/proc/self/comm"
	old, err := h.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"shoal-setting", strings.TrimSpace(string(old))} {
		if err := h.WriteSetting(name, []byte(value)); err != nil {
			t.Fatal(err)
		}
		if now, err := h.ReadFile(name); err != nil || string(now) != value+"\n" {
			t.Errorf("%q, %v, wanted %q", now, err, value)
		}
	}
}

// TestHashCacheOnDisk: the next process does not read what this one has read.
func TestHashCacheOnDisk(t *testing.T) {
	root, data := t.TempDir(), t.TempDir()
	name := filepath.Join(root, "f")
	if err := os.WriteFile(name, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, root, data)
	st, err := h.Lstat("/f")
	if err != nil {
		t.Fatal(err)
	}
	waitPast(st.Ctime + int64(20*time.Millisecond))
	want, err := h.Hash("/f", st)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Flush(); err != nil {
		t.Fatal(err)
	}
	// The next process: it can answer although the file cannot be read any more.
	next := newHost(t, root, data)
	if err := os.Rename(name, name+".away"); err != nil {
		t.Fatal(err)
	}
	if got, err := next.Hash("/f", st); err != nil || got != want {
		t.Fatalf("%s, %v", got, err)
	}
	other := st
	other.Mtime++
	if _, err := next.Hash("/f", other); err == nil {
		t.Error("a file with another time has the same hash")
	}
	cache := filepath.Join(data, "hashes")
	bytes, err := os.ReadFile(cache)
	if err != nil {
		t.Fatal(err)
	}
	bytes[len(bytes)/2] ^= 1
	if err := os.WriteFile(cache, bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newHost(t, root, data).Hash("/f", st); err == nil {
		t.Error("a damaged cache was believed")
	}
}

// waitPast polls the clock: the cache believes only what was read later than a tick after the change.
func waitPast(ns int64) {
	for time.Now().UnixNano() < ns {
		<-time.After(time.Millisecond)
	}
}

func TestJournal(t *testing.T) {
	dir := t.TempDir()
	d := local.OpenData(filepath.Join(dir, "data"))
	if records, err := d.Records(); err != nil || records != nil {
		t.Fatalf("%v, %v", records, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Fatal("reading made the data folder")
	}
	check := func(d *local.Data, want ...string) {
		t.Helper()
		records, err := d.Records()
		var got []string
		for _, r := range records {
			got = append(got, string(r))
		}
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%q, %v; wanted %q", got, err, want)
		}
	}
	if err := errors.Join(d.Append([]byte("a"), []byte("b")), d.Note([]byte("c"))); err != nil {
		t.Fatal(err)
	}
	check(d, "a", "b", "c")
	d.Close()
	// A crash in the middle of an append.
	name := filepath.Join(dir, "data", "journal")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		if err := os.WriteFile(name, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		d := local.OpenData(filepath.Join(dir, "data"))
		check(d, []string{"a", "b", "c"}[:cut/9]...)
		if err := d.Append([]byte("next")); err != nil {
			t.Fatal(err)
		}
		check(d, append([]string{"a", "b", "c"}[:cut/9:cut/9], "next")...)
		d.Close()
	}
	d = local.OpenData(filepath.Join(dir, "data"))
	defer d.Close()
	if err := d.Clear(); err != nil {
		t.Fatal(err)
	}
	check(d)
}

func TestLedgerAndVault(t *testing.T) {
	d := local.OpenData(t.TempDir())
	defer d.Close()
	if data, err := d.Load(); data != nil || err != nil {
		t.Fatalf("%q, %v", data, err)
	}
	if err := errors.Join(d.Store([]byte("one")), d.Store([]byte("two"))); err != nil {
		t.Fatal(err)
	}
	if data, err := d.Load(); string(data) != "two" || err != nil {
		t.Fatalf("%q, %v", data, err)
	}
	const text, empty = "sha256:982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if err := errors.Join(d.Put(text, []byte("text")), d.Put(empty, nil), d.Put(text, []byte("text")), d.Sync()); err != nil {
		t.Fatal(err)
	}
	if err := d.Collect(func(hash string) bool { return hash == text }); err != nil {
		t.Fatal(err)
	}
	if data, err := d.Get(text); string(data) != "text" || err != nil {
		t.Fatalf("%q, %v", data, err)
	}
	if _, err := d.Get(empty); err == nil {
		t.Error("it was collected")
	}
	for _, bad := range []string{"", "sha256:", "sha256:../../x", "../ledger", "sha256:zz"} {
		if err := d.Put(bad, nil); err == nil {
			t.Errorf("%q is a hash", bad)
		}
	}
}

func TestOneRunAtATime(t *testing.T) {
	dir := t.TempDir()
	unlock, err := local.OpenData(dir).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := local.OpenData(dir).Lock(ctx); err == nil || !strings.Contains(err.Error(), "another run is at work on this machine (process ") {
		t.Fatalf("%v", err)
	}
	waiting := make(chan error)
	go func() {
		unlock, err := local.OpenData(dir).Lock(t.Context())
		if err == nil {
			unlock()
		}
		waiting <- err
	}()
	unlock()
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
}
