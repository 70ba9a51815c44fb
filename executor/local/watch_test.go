package local

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// deadline is how long a test waits for an event before it fails.
const deadline = 20 * time.Second

func newTestHost(t *testing.T) (*Host, string) {
	t.Helper()
	root := t.TempDir()
	h, err := New(Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h, root
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// await reads drifts until want came.
func await(t *testing.T, w *Watcher, want string) {
	t.Helper()
	timeout := time.After(deadline)
	for {
		select {
		case got := <-w.Drift():
			if slices.Contains(got, want) {
				return
			}
		case <-timeout:
			t.Fatalf("no drift of %s", want)
		}
	}
}

func TestWatcherSeesWhatHappens(t *testing.T) {
	h, root := newTestHost(t)
	must(t, os.MkdirAll(filepath.Join(root, "etc/app"), 0o755))
	file := filepath.Join(root, "etc/app/conf")
	must(t, os.WriteFile(file, []byte("x"), 0o644))
	w := NewWatcher(h, func(err error) { t.Log(err) })
	defer w.Close()
	must(t, os.MkdirAll(filepath.Join(root, "srv/whole"), 0o755))
	w.Watch([]string{"/etc/app/conf", "/srv/later/file", "/etc/app", "/srv/whole/"})
	for _, step := range []struct {
		name string
		do   func() error
		want string
	}{
		{"write", func() error { return os.WriteFile(file, []byte("y"), 0o644) }, "/etc/app/conf"},
		{"chmod", func() error { return os.Chmod(file, 0o600) }, "/etc/app/conf"},
		{"remove", func() error { return os.Remove(file) }, "/etc/app/conf"},
		{"create", func() error { return os.WriteFile(file, []byte("z"), 0o644) }, "/etc/app/conf"},
		{"chmod of the folder", func() error { return os.Chmod(filepath.Join(root, "etc/app"), 0o700) }, "/etc/app"},
		{"a new file in a whole folder", func() error { return os.WriteFile(filepath.Join(root, "srv/whole/x"), nil, 0o644) }, "/srv/whole"},
		{"which goes again", func() error { return os.Remove(filepath.Join(root, "srv/whole/x")) }, "/srv/whole"},
		{"folder moved away", func() error { return os.Rename(filepath.Join(root, "etc"), filepath.Join(root, "gone")) }, "/etc/app/conf"},
		{"folder made anew", func() error { return os.MkdirAll(filepath.Join(root, "etc/app"), 0o755) }, "/etc/app/conf"},
		{"a folder that was not there", func() error { return os.MkdirAll(filepath.Join(root, "srv/later"), 0o755) }, "/srv/later/file"},
	} {
		t.Run(step.name, func(t *testing.T) {
			must(t, step.do())
			await(t, w, step.want)
		})
	}
	// Both new folders are watched by now, or will be: write until it is seen.
	for _, name := range []string{"/etc/app/conf", "/srv/later/file"} {
		writeUntilSeen(t, w, root, name)
	}
}

func writeUntilSeen(t *testing.T, w *Watcher, root, name string) {
	t.Helper()
	timeout := time.After(deadline)
	for {
		must(t, os.WriteFile(filepath.Join(root, name), []byte("again"), 0o644))
		select {
		case got := <-w.Drift():
			if slices.Contains(got, name) {
				return
			}
		case <-time.After(20 * time.Millisecond):
		case <-timeout:
			t.Fatalf("no drift of %s", name)
		}
	}
}

func TestWatcherPollsWhereTheKernelRefuses(t *testing.T) {
	h, root := newTestHost(t)
	must(t, os.WriteFile(filepath.Join(root, "a"), []byte("x"), 0o644))
	w := &Watcher{files: h.Files}
	s := &watched{pending: map[string]bool{}, folders: map[string][]string{}}
	w.replace(s, []string{"/a", "/b"})
	if !s.polled {
		t.Fatal("with no inotify, nothing is polled")
	}
	w.poll(s)
	if len(s.pending) != 0 {
		t.Fatalf("drift of nothing: %v", s.pending)
	}
	must(t, os.WriteFile(filepath.Join(root, "b"), []byte("x"), 0o644))
	must(t, os.Remove(filepath.Join(root, "a")))
	w.poll(s)
	if !s.pending["/a"] || !s.pending["/b"] {
		t.Fatalf("drift %v", s.pending)
	}
}
