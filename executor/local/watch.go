package local

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"shoal/executor"
)

const (
	// settleTime joins what one editor or one package does to a file into one drift.
	settleTime = 2 * time.Millisecond
	// pollTime is how often folders are looked at that the kernel will not watch.
	pollTime = 2 * time.Second
)

// Watcher tells which managed paths someone touched. It has one inotify instance, and watches folders, not files: the
// kernel's limit counts folders then, and a file that is replaced stays watched. All folders above a managed path are
// watched as well, so that none can be moved away unseen.
//
// What shoal changes itself is told too: a check that finds nothing ends it.
type Watcher struct {
	files    *Files
	notify   *fsnotify.Watcher // nil: the kernel gave none, and all is polled
	warn     func(error)
	requests chan []string
	drift    chan []string
	quit     chan struct{}
	done     sync.WaitGroup
}

// NewWatcher starts a watcher; warn is called, from its goroutine, when something has to be polled in place of watched. Close it.
func NewWatcher(h *Host, warn func(error)) *Watcher {
	w := &Watcher{files: h.Files, warn: warn, requests: make(chan []string), drift: make(chan []string), quit: make(chan struct{})}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		warn(fmt.Errorf("no inotify, polling every %s: %w", pollTime, err))
	} else {
		w.notify = notify
	}
	w.done.Add(1)
	go w.loop()
	return w
}

// Watch replaces the list of watched paths; of one that ends in a slash it tells too when anything appears in it or goes. A change from before it returned may not be told: check after it.
func (w *Watcher) Watch(paths []string) {
	if paths == nil {
		paths = []string{}
	}
	select {
	case w.requests <- paths:
	case <-w.quit:
		return
	}
	select {
	case w.requests <- nil: // answered when the list is in force
	case <-w.quit:
	}
}

// Drift gives all paths that were touched since it was read last, each once, when what touched them has settled.
func (w *Watcher) Drift() <-chan []string { return w.drift }

// Close stops the watcher; Drift gives nothing more.
func (w *Watcher) Close() error {
	close(w.quit)
	w.done.Wait()
	if w.notify == nil {
		return nil
	}
	return w.notify.Close()
}

// watched is what the loop knows: it alone.
type watched struct {
	paths   map[string]executor.Stat // managed, as last polled
	whole   map[string]bool          // folders of which all entries count
	above   map[string]bool          // folders above them, and the whole ones
	folders map[string][]string      // by the kernel's name: the host's names
	polled  bool                     // some folder is not watched
	warned  bool
	pending map[string]bool
	touched []string // the pending ones, in the order in which they came
}

func (s *watched) touch(name string) {
	if !s.pending[name] {
		s.pending[name] = true
		s.touched = append(s.touched, name)
	}
}

func (w *Watcher) loop() {
	defer w.done.Done()
	s := &watched{pending: map[string]bool{}, folders: map[string][]string{}}
	var events chan fsnotify.Event
	var failures chan error
	if w.notify != nil {
		events, failures = w.notify.Events, w.notify.Errors
	}
	settle, poll := time.NewTimer(time.Hour), time.NewTicker(pollTime)
	settle.Stop()
	defer settle.Stop()
	defer poll.Stop()
	ready := false // the pending ones have settled
	for {
		var out chan []string
		if ready && len(s.touched) > 0 {
			out = w.drift
		}
		before := len(s.pending)
		select {
		case <-w.quit:
			return
		case paths := <-w.requests:
			if paths != nil {
				w.replace(s, paths)
			}
		case e := <-events:
			w.event(s, e)
		case err := <-failures:
			// The kernel's queue ran over: anything may have changed.
			w.warn(fmt.Errorf("inotify: %w", err))
			w.rewatch(s, "/")
		case <-poll.C:
			w.poll(s)
		case <-settle.C:
			ready = true
		case out <- s.touched:
			s.pending, s.touched = map[string]bool{}, nil
			continue
		}
		if now := len(s.pending); now != before && (before == 0 || !ready) {
			ready = false
			settle.Reset(settleTime)
		}
	}
}

func (w *Watcher) replace(s *watched, paths []string) {
	s.paths, s.whole, s.above = make(map[string]executor.Stat, len(paths)), map[string]bool{}, map[string]bool{}
	for _, name := range paths {
		if folder := strings.TrimSuffix(name, "/"); folder != name && folder != "" {
			s.whole[folder], s.above[folder] = true, true
			name = folder
		}
		st, _ := w.files.Lstat(name) // what is not there is zero
		s.paths[name] = st
		for dir := path.Dir(name); !s.above[dir]; dir = path.Dir(dir) {
			s.above[dir] = true
		}
	}
	w.place(s)
}

// place watches all folders that are there, and drops those that no path needs any more. It looks again after it began to watch
// one: what was made in that before the watch was in force is told by nobody.
func (w *Watcher) place(s *watched) {
	for range len(s.above) + 1 { // each round but the last finds a new one
		if !w.placeOnce(s) {
			return
		}
	}
}

func (w *Watcher) placeOnce(s *watched) (more bool) {
	w.files.forget()
	folders := map[string][]string{}
	for dir := range s.above {
		real, err := w.files.place(path.Join(dir, "x"))
		if err != nil {
			continue // not there: the one above it is watched
		}
		real = path.Dir(real)
		folders[real] = append(folders[real], dir)
	}
	s.polled = w.notify == nil
	if w.notify != nil {
		for real := range s.folders {
			if _, ok := folders[real]; !ok {
				_ = w.notify.Remove(real) // gone with its folder
			}
		}
		for real := range folders {
			if _, ok := s.folders[real]; !ok {
				more = true
			}
			w.add(s, real)
		}
	}
	s.folders = folders
	return more
}

func (w *Watcher) add(s *watched, real string) {
	err := w.notify.Add(real)
	if err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return
	}
	s.polled = true
	if !s.warned {
		s.warned = true
		w.warn(fmt.Errorf("watch %s: %w; such folders are polled every %s", real, err, pollTime))
	}
}

func (w *Watcher) event(s *watched, e fsnotify.Event) {
	real := path.Clean(e.Name)
	for _, dir := range s.folders[path.Dir(real)] {
		name := path.Join(dir, path.Base(real))
		if _, ok := s.paths[name]; ok {
			s.touch(name)
		}
		if s.whole[dir] && e.Has(fsnotify.Create|fsnotify.Remove|fsnotify.Rename) {
			s.touch(dir)
		}
		if s.above[name] && e.Has(fsnotify.Create|fsnotify.Remove|fsnotify.Rename) {
			w.rewatch(s, name)
		}
	}
}

// rewatch: the folder name is another one now, and so is everything below it.
func (w *Watcher) rewatch(s *watched, name string) {
	prefix := strings.TrimSuffix(name, "/") + "/"
	for managed := range s.paths {
		if strings.HasPrefix(managed, prefix) {
			s.touch(managed)
		}
	}
	for real, dirs := range s.folders {
		if slices.ContainsFunc(dirs, func(dir string) bool { return dir == name || strings.HasPrefix(dir, prefix) }) && w.notify != nil {
			_ = w.notify.Remove(real) // the watch may be on a folder that was moved away
			delete(s.folders, real)
		}
	}
	w.place(s)
}

// poll looks at every path where the kernel does not.
func (w *Watcher) poll(s *watched) {
	if !s.polled {
		return
	}
	for name, before := range s.paths {
		st, err := w.files.Lstat(name)
		if err != nil {
			st = executor.Stat{}
		}
		if st != before {
			s.paths[name] = st
			s.touch(name)
		}
	}
}
