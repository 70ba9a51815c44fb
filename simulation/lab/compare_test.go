package lab_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"shoal/simulation/lab"
)

// beside are paths that no run promises to put back, each with what it is.
var beside = []string{
	"/var/lib/shoal",     // shoal's own, which the test looks at by itself
	"/var/log",           // logs
	"/var/cache",         // caches of apt, ldconfig and the like
	"/var/lib/apt/lists", // the package lists are news of the world, not a state
	"/var/lib/systemd",   // when timers last ran, the random seed
	"/var/lib/dpkg/lock", // and lock-frontend
	"/var/lib/dpkg/status-old", "/var/lib/dpkg/available", "/var/lib/dpkg/triggers", "/var/lib/dpkg/diversions-old", "/var/lib/dpkg/statoverride-old",
	"/var/lib/dpkg/status", // its order is of no meaning: dpkg-query compares it
	"/etc/.pwd.lock",
}

// timeless are files whose rows are a state and whose time is not: several states and other tools rewrite them.
var timeless = []string{"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/var/lib/dpkg", "/var/lib/apt/extended_states",
	"/etc/systemd/system/multi-user.target.wants", "/etc/systemd/system/timers.target.wants", // systemd's own links
}

// copied are folders that are whole on the host's own disk.
var copied = []string{"/var/lib/dpkg", "/var/lib/apt"}

func within(path string, all []string) bool {
	return slices.ContainsFunc(all, func(dir string) bool {
		return path == dir || strings.HasPrefix(path, dir+"/") || path == dir+"-frontend"
	})
}

// snapshot is a host at one moment: each path that its disk has other than the machine's below it, and what cannot be seen there.
type snapshot struct {
	files map[string]string
	times map[string]string // of files and links; a folder's changes with every temporary file in it
	rest  string            // packages, units, mounts, names
}

// differs says what is not the same; with times also what was written anew.
func (s snapshot) differs(other snapshot, h *lab.Host, times bool) string {
	var b strings.Builder
	paths := maps.Clone(s.files)
	maps.Copy(paths, other.files)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		x, y := s.at(path, times), other.at(path, times)
		if x != y {
			fmt.Fprintf(&b, "%s\n  was %s\n  is  %s\n", path, x, y)
		}
	}
	if s.rest != other.rest {
		fmt.Fprintf(&b, "%s", lineDiff(s.rest, other.rest))
	}
	return b.String()
}

// at is a path's row; that of the machine below where the host's own disk did not have it.
func (s snapshot) at(path string, times bool) string {
	row, ok := s.files[path]
	when := s.times[path]
	if !ok {
		row = "nothing"
		if !within(path, copied) {
			row, when = look(path)
		}
	}
	if times && !within(path, timeless) {
		row += when
	}
	return row
}

func lineDiff(a, b string) string {
	var out strings.Builder
	old, now := strings.Split(a, "\n"), strings.Split(b, "\n")
	for _, line := range old {
		if !slices.Contains(now, line) {
			out.WriteString("- " + line + "\n")
		}
	}
	for _, line := range now {
		if !slices.Contains(old, line) {
			out.WriteString("+ " + line + "\n")
		}
	}
	return out.String()
}

// take reads a host. disk is the upper layer of its root: what is not in it is the machine's below, and nobody changed it.
func take(t *testing.T, h *lab.Host, disk string) snapshot {
	t.Helper()
	s := snapshot{files: map[string]string{}, times: map[string]string{}}
	err := filepath.WalkDir(disk, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path := "/" + strings.TrimPrefix(strings.TrimPrefix(name, disk), "/")
		if within(path, beside) {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if path != "/" { // its name here is a link of this machine
			s.add(h, path)
		}
		if e.IsDir() && opaque(name) && !within(path, copied) {
			s.hidden(h, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.rest = must(t, h, `
dpkg-query -W -f '${Package} ${Version} ${Status} ${Conffiles}\n'
exec 2>/dev/null
apt-mark showauto | sed 's/^/auto /'; apt-mark showhold | sed 's/^/hold /'
systemctl list-units --all --no-legend --plain --type=service,timer,mount | awk '$2 != "not-found" {print $1, $2, $3, $4}'
systemctl list-unit-files --no-legend --type=service,timer | awk '{print $1, $2}'
for u in kt-a kt-b kt-c kt-daemon kt-timer.timer kt-timer.service; do systemctl show -p Id,NeedDaemonReload,UnitFileState,ActiveState,FragmentPath $u; done
awk '{print $4, $5, $6}' /proc/self/mountinfo
hostname; cat /proc/sys/net/ipv4/ip_forward; find /tmp /srv/kt -name '*.shoal*' -o -name '.shoal*'
`)
	s.rest = settled(s.rest)
	return s
}

// passing are units that come and go by themselves.
var passing = regexp.MustCompile(`(?m)^(run-|tmp|systemd-tmpfiles-clean|systemd-hostnamed|systemd-timedated|dpkg-db-backup|apt-daily|e2scrub|man-db|logrotate|user@|user-runtime|systemd-logind)[^\n]*\n`)

func settled(rest string) string { return passing.ReplaceAllString(rest, "") }

func (s *snapshot) add(h *lab.Host, path string) {
	s.files[path], s.times[path] = look(h.Path(path))
}

// hidden lists what the machine below has and the host's folder hides.
func (s *snapshot) hidden(h *lab.Host, dir string) {
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			s.add(h, path)
		}
		return nil
	})
}

func opaque(dir string) bool {
	value := make([]byte, 1)
	n, err := unix.Lgetxattr(dir, "trusted.overlay.opaque", value)
	return err == nil && n == 1 && value[0] == 'y'
}

// look is one path in a line: kind, mode, owner, bytes, target, extended attributes and access lists; and its time.
func look(path string) (row, when string) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return "nothing", ""
	}
	if err != nil {
		return err.Error(), ""
	}
	st := info.Sys().(*syscall.Stat_t)
	row = fmt.Sprintf("%v %d:%d", info.Mode(), st.Uid, st.Gid)
	switch {
	case info.Mode().IsRegular():
		row += contents(path, st)
	case info.Mode()&fs.ModeSymlink != 0:
		target, _ := os.Readlink(path)
		row += " -> " + target
	case info.Mode()&fs.ModeDevice != 0:
		row += fmt.Sprintf(" device %d", st.Rdev)
	}
	if !info.IsDir() {
		when = fmt.Sprintf(" at %d", st.Mtim.Nano())
	}
	return row + attributes(path), when
}

// hashes remembers files by what changes whenever they do: nobody can set a ctime.
var hashes sync.Map

func contents(path string, st *syscall.Stat_t) string {
	type version struct {
		dev, inode  uint64
		size, ctime int64
	}
	v := version{st.Dev, st.Ino, st.Size, st.Ctim.Nano()}
	if row, ok := hashes.Load(v); ok {
		return row.(string)
	}
	data, err := os.ReadFile(path)
	row := fmt.Sprintf(" %d bytes %x", len(data), sha256.Sum256(data))
	if len(data) < 200 {
		row += fmt.Sprintf(" %q", data)
	}
	if err != nil {
		return row + " " + err.Error()
	}
	hashes.Store(v, row)
	return row
}

func attributes(path string) string {
	buffer := make([]byte, 4096)
	n, err := unix.Llistxattr(path, buffer)
	if err != nil {
		return ""
	}
	var all []string
	for name := range bytes.SplitSeq(buffer[:n], []byte{0}) {
		if len(name) > 0 && !bytes.HasPrefix(name, []byte("trusted.overlay.")) {
			value := make([]byte, 4096)
			m, _ := unix.Lgetxattr(path, string(name), value)
			all = append(all, fmt.Sprintf("%s=%x", name, value[:max(m, 0)]))
		}
	}
	slices.Sort(all)
	if len(all) == 0 {
		return ""
	}
	return " " + strings.Join(all, " ")
}
