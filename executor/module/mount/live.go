package mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"shoal/executor"
	"shoal/internal/setting"
	"shoal/states"
)

// mountinfo is proc_pid_mountinfo(5): what this process sees mounted.
const mountinfo = "/proc/self/mountinfo"

// at is what is mounted somewhere. As a text it is "SOURCE TYPE OPTIONS ROOT", each as mountinfo escapes it; empty: nothing.
type at struct {
	source, kind string
	options      []string // of the mount and of its file system
	root         string   // the folder of the file system that is seen; not / for a bind mount
}

func (a at) String() string {
	if a.source == "" {
		return ""
	}
	return strings.Join([]string{a.source, a.kind, strings.Join(a.options, ","), a.root}, " ")
}

func parseAt(s string) at {
	f := strings.Fields(s)
	if len(f) != 4 {
		return at{}
	}
	return at{f[0], f[1], strings.Split(f[2], ","), f[3]}
}

// mounted finds what is mounted at a path: the last of several, which hides the others.
func mounted(h executor.Host, name string) (at, error) {
	data, err := h.ReadFile(mountinfo)
	if err != nil {
		return at{}, err
	}
	var found at
	for line := range strings.Lines(string(data)) {
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 6 || len(right) < 3 || unescape(left[4]) != name {
			continue
		}
		found = at{source: right[1], kind: right[0], options: merge(left[5], right[2]), root: left[3]}
	}
	return found, nil
}

// merge joins the options of a mount with those of its file system. Where they differ about ro and rw, the mount is ro.
func merge(mount, filesystem string) []string {
	all := strings.Split(mount, ",")
	for _, o := range strings.Split(filesystem, ",") {
		if o != "rw" && o != "ro" && !slices.Contains(all, o) {
			all = append(all, o)
		}
	}
	return all
}

func options(p executor.Params) []string {
	if list, _ := p.Strings("options"); len(list) > 0 {
		return list
	}
	return []string{"defaults"}
}

// flags are the options that the kernel shows for every mount as they were asked for.
var flags = []string{"ro", "nosuid", "nodev", "noexec", "noatime"}

func read(_ context.Context, h executor.Host, p executor.Params) (string, error) {
	if _, err := h.Lstat(p.String("path")); errors.Is(err, fs.ErrNotExist) {
		return "", &executor.Missing{Kind: states.ResourcePath, Name: p.String("path")}
	}
	now, err := mounted(h, p.String("path"))
	return now.String(), err
}

// readGone: nothing is mounted at a path that is not there.
func readGone(ctx context.Context, h executor.Host, p executor.Params) (string, error) {
	now, err := read(ctx, h, p)
	var missing *executor.Missing
	if errors.As(err, &missing) {
		return "", nil
	}
	return now, err
}

// want is what is mounted already, where that is what was asked for. What it cannot compare (an image file, a bind mount, a
// name of a disk that the machine has no link for) counts as that.
func want(h executor.Host, p executor.Params, text string, rowChanges bool) string {
	now, opts := parseAt(text), options(p)
	asked := at{source: escape(p.String("device")), kind: p.String("type"), options: opts, root: "/"}
	if text == "" || !sameDevice(h, p, now) {
		return asked.String()
	}
	if now.kind != asked.kind && asked.kind != "auto" && asked.kind != "none" {
		return asked.String()
	}
	missing := slices.ContainsFunc(flags, func(f string) bool { return slices.Contains(opts, f) && !slices.Contains(now.options, f) })
	if missing || rowChanges && hasRow(h, p) {
		again := now
		again.options = opts
		return again.String()
	}
	return text
}

// hasRow: fstab has another row for the path, whose options may be those that are live.
func hasRow(h executor.Host, p executor.Params) bool {
	data, _, err := setting.Read(h, fstab)
	return err == nil && slices.ContainsFunc(splitLines(data), func(line string) bool { return isFor(line, p.String("path")) })
}

func sameDevice(h executor.Host, p executor.Params, now at) bool {
	device := p.String("device")
	for prefix, folder := range map[string]string{"UUID=": "by-uuid", "LABEL=": "by-label", "PARTUUID=": "by-partuuid", "PARTLABEL=": "by-partlabel"} {
		if name, ok := strings.CutPrefix(device, prefix); ok {
			device = path.Join("/dev/disk", folder, strings.Trim(name, `"`))
			if _, err := h.Lstat(device); err != nil {
				return true
			}
		}
	}
	switch bind := slices.ContainsFunc(options(p), func(o string) bool { return o == "bind" || o == "rbind" || o == "loop" }); {
	case bind, path.IsAbs(device) && !strings.HasPrefix(device, "/dev/"):
		return true
	case path.IsAbs(device):
		return resolve(h, device) == resolve(h, unescape(now.source))
	}
	return escape(device) == now.source
}

// resolve follows the one symlink that names of disks are.
func resolve(h executor.Host, device string) string {
	target, err := h.Readlink(device)
	if err != nil {
		return device
	}
	if path.IsAbs(target) {
		return path.Clean(target)
	}
	return path.Join(path.Dir(device), target)
}

// set mounts, unmounts or mounts again with other options.
func set(ctx context.Context, h executor.Host, p executor.Params, from, to string) error {
	old, next, point := parseAt(from), parseAt(to), p.String("path")
	if to != "" && old.source == next.source && old.kind == next.kind {
		// With the source, as mount would else join the options with those of fstab.
		return setting.Run(ctx, h, "mount", "-o", "remount,"+strings.Join(explicit(next.options), ","), unescape(next.source), point)
	}
	if from != "" {
		if err := setting.Run(ctx, h, "umount", point); err != nil {
			return err
		}
	}
	if to == "" {
		return nil
	}
	err := setting.Run(ctx, h, "mount", "-t", next.kind, "-o", strings.Join(next.options, ","), unescape(next.source), point)
	if err != nil && from != "" {
		// What was there is mounted again, so that a state that fails leaves what it found.
		err = errors.Join(err, setting.Run(ctx, h, "mount", "-t", old.kind, "-o", strings.Join(old.options, ","), unescape(old.source), point))
	}
	return err
}

// explicit turns off the flags that are not asked for: a remount may leave those that it is not told of.
func explicit(options []string) (all []string) {
	for _, flag := range flags {
		if !slices.Contains(options, flag) {
			all = append(all, map[string]string{"ro": "rw", "nosuid": "suid", "nodev": "dev", "noexec": "exec", "noatime": "atime"}[flag])
		}
	}
	return append(all, options...)
}

// lost: of a bind mount the kernel tells the file system and not the folder that was bound; what a file system in memory
// holds goes with it.
func lost(now string) string {
	switch m := parseAt(now); {
	case m.source == "":
		return ""
	case m.root != "/":
		return fmt.Sprintf("what is mounted now is the folder %s of %s, which cannot be mounted again", unescape(m.root), m.source)
	case m.kind == "tmpfs" || m.kind == "ramfs":
		return "what is mounted now is in memory, and what it holds is gone when it is unmounted"
	}
	return ""
}
