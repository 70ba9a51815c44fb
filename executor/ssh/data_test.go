package ssh_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/internal/datafile"
	"shoal/internal/sshdtest"
)

// TestData: what is written over the line is what a machine writes for itself (executor/local reads the same frames and names).
func TestData(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	m := machine(t, sshdtest.Start(t, sshdtest.Options{}))
	d := host(t, m, "", dir).Data
	if records, err := d.Records(); err != nil || records != nil {
		t.Fatalf("%q, %v", records, err)
	}
	if ledger, err := d.Load(); err != nil || ledger != nil {
		t.Fatalf("%q, %v", ledger, err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Fatal("reading made the folder")
	}
	if err := errors.Join(d.Append([]byte("a"), []byte("b")), d.Note([]byte("c")), d.Store([]byte("one")), d.Store([]byte("two"))); err != nil {
		t.Fatal(err)
	}
	journal := filepath.Join(dir, datafile.Journal)
	whole, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	if frames, valid := datafile.Frames(whole); len(frames) != 3 || valid != len(whole) {
		t.Errorf("%q", whole)
	}
	if info, err := os.Stat(journal); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	// A crash in the middle of a record: what follows goes behind the last whole one.
	if err := errors.Join(d.Close(), os.Truncate(journal, int64(len(whole)-2))); err != nil {
		t.Fatal(err)
	}
	next := host(t, m, "", dir).Data
	if err := next.Append([]byte("next")); err != nil {
		t.Fatal(err)
	}
	records, err := next.Records()
	if err != nil || len(records) != 3 || string(records[2]) != "next" {
		t.Errorf("%q, %v", records, err)
	}
	if err := next.Clear(); err != nil {
		t.Error(err)
	}
	if records, err := next.Records(); err != nil || len(records) != 0 {
		t.Errorf("%q, %v", records, err)
	}
	if ledger, err := next.Load(); err != nil || string(ledger) != "two" {
		t.Errorf("%q, %v", ledger, err)
	}
	const text, empty = "sha256:982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if err := errors.Join(next.Put(text, []byte("text")), next.Put(empty, nil), next.Sync(), next.Collect(func(h string) bool { return h == text })); err != nil {
		t.Fatal(err)
	}
	if data, err := next.Get(text); err != nil || string(data) != "text" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := next.Get(empty); err == nil {
		t.Error("it was collected")
	}
	if next.Put("sha256:../../x", nil) == nil {
		t.Error("that is no hash")
	}
}

// TestLock: one at a time; what the holder left at work ends before the next has it, however the holder went.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	s := sshdtest.Start(t, sshdtest.Options{})
	first := host(t, machine(t, s), "", filepath.Join(dir, "data"))
	second := host(t, machine(t, s), "", filepath.Join(dir, "data"))
	unlock, err := first.Data.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := second.Data.Lock(ctx); err == nil {
		t.Fatal("two hold it")
	}
	unlock()
	if _, err = first.Data.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	child := filepath.Join(dir, "child")
	go func() {
		_, err := first.Run(t.Context(), executor.Command{Argv: []string{"sh", "-c", "sleep 1000 & echo $! > " + child + ".new; mv " + child + ".new " + child + "; wait"}})
		ran <- err
	}()
	awaitFile(t, child)
	cut := s.Sessions() // of both; the second comes back
	if len(cut) == 0 {
		t.Fatal("no session")
	}
	kill(cut)
	if err := <-ran; err == nil {
		t.Error("a command that was cut off ended well")
	}
	third := host(t, machine(t, s), "", filepath.Join(dir, "data"))
	unlock, err = third.Data.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(child)
	if err != nil {
		t.Fatal(err)
	}
	if stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(data)) + "/stat"); err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Error("the lock was given while a command of its last holder ran")
	}
	unlock()
	names, err := os.ReadDir(filepath.Join(dir, "data", "running"))
	if err != nil || len(names) != 0 {
		t.Errorf("written down: %v, %v", names, err)
	}
}
