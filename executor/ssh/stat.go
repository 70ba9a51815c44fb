package ssh

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"

	"shoal/executor"
)

// statForm is mode, owner, group, size, device, inode, and the two times, once in seconds and once as a date with its
// fraction (stat(1) of coreutils and of busybox).
const statForm = "%f|%u|%g|%s|%d|%i|%Y|%y|%Z|%z"

// statScript says one line for each path, or why not.
func statScript(paths []string) string {
	return "for p in " + quoteAll(paths) + "; do stat -c '" + statForm + `' "$p"; done; true`
}

// lstats asks about some paths at once. One that cannot be looked at has an error.
func (f *Files) lstats(paths []string) ([]executor.Stat, []error, error) {
	said, err := f.talk.must(statScript(paths))
	if err != nil {
		return nil, nil, err
	}
	lines := strings.Split(strings.TrimSuffix(said, "\n"), "\n")
	if len(lines) != len(paths) {
		return f.lstatEach(paths)
	}
	stats, errs := make([]executor.Stat, len(paths)), make([]error, len(paths))
	for i, line := range lines {
		stats[i], errs[i] = parseStat(line)
	}
	return stats, errs, nil
}

// lstatEach is for paths whose names break lines: what stat(1) says of them may too.
func (f *Files) lstatEach(paths []string) ([]executor.Stat, []error, error) {
	stats, errs := make([]executor.Stat, len(paths)), make([]error, len(paths))
	for i, p := range paths {
		said, status, err := f.talk.ask("stat -c '" + statForm + "' " + quote(p))
		switch {
		case err != nil:
			return nil, nil, err
		case status != 0:
			errs[i] = toolError(said)
		default:
			stats[i], errs[i] = parseStat(strings.TrimSpace(said))
		}
	}
	return stats, errs, nil
}

var fraction = regexp.MustCompile(`\.(\d{9})`)

func parseStat(line string) (executor.Stat, error) {
	fields := strings.Split(line, "|")
	if len(fields) != 10 {
		return executor.Stat{}, toolError(line)
	}
	var st executor.Stat
	var errs []error
	number := func(i, base, bits int) uint64 {
		n, err := strconv.ParseUint(fields[i], base, bits)
		errs = append(errs, err)
		return n
	}
	nanos := func(i int) int64 {
		seconds, err := strconv.ParseInt(fields[i], 10, 64)
		errs = append(errs, err)
		rest := int64(0)
		if m := fraction.FindStringSubmatch(fields[i+1]); m != nil {
			rest, _ = strconv.ParseInt(m[1], 10, 64) // nine digits
		}
		return seconds*1e9 + rest
	}
	st.Mode = modeOf(uint32(number(0, 16, 32)))
	st.UID, st.GID = uint32(number(1, 10, 32)), uint32(number(2, 10, 32))
	st.Size, st.Dev, st.Inode = int64(number(3, 10, 63)), number(4, 10, 64), number(5, 10, 64)
	st.Mtime, st.Ctime = nanos(6), nanos(8)
	if err := errors.Join(errs...); err != nil {
		return executor.Stat{}, fmt.Errorf("stat says %.200q: %w", line, err)
	}
	return st, nil
}

// The bits of a mode (inode(7)).
const (
	typeMask                                                     = 0o170000
	typeSocket, typeLink, typeBlock, typeDir, typeChar, typePipe = 0o140000, 0o120000, 0o060000, 0o040000, 0o020000, 0o010000
	setuid, setgid, sticky                                       = 0o4000, 0o2000, 0o1000
)

func modeOf(bits uint32) fs.FileMode {
	mode := fs.FileMode(bits & 0o777)
	for bit, m := range map[uint32]fs.FileMode{setuid: fs.ModeSetuid, setgid: fs.ModeSetgid, sticky: fs.ModeSticky} {
		if bits&bit != 0 {
			mode |= m
		}
	}
	return mode | map[uint32]fs.FileMode{
		typeSocket: fs.ModeSocket, typeLink: fs.ModeSymlink, typeBlock: fs.ModeDevice, typeDir: fs.ModeDir,
		typeChar: fs.ModeDevice | fs.ModeCharDevice, typePipe: fs.ModeNamedPipe,
	}[bits&typeMask]
}

func bitsOf(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for bit, m := range map[uint32]fs.FileMode{setuid: fs.ModeSetuid, setgid: fs.ModeSetgid, sticky: fs.ModeSticky} {
		if mode&m != 0 {
			bits |= bit
		}
	}
	return bits
}
