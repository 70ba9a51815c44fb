package ssh

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"syscall"

	"shoal/executor"
)

// maxLinks is how many symlinks one path may pass through, as in the kernel.
const maxLinks = 40

func clean(name string) (string, error) {
	if !path.IsAbs(name) {
		return "", fmt.Errorf("path %q is not absolute", name)
	}
	if strings.IndexByte(name, 0) >= 0 {
		return "", fmt.Errorf("path %q holds a zero byte", name)
	}
	return path.Clean(name), nil
}

// real is the machine's name for a path below the root.
func (f *Files) real(name string) string {
	if f.root == "/" {
		return name
	}
	return strings.TrimSuffix(f.root+name, "/")
}

// prefixes of /a/b are /a and /a/b.
func prefixes(name string) []string {
	var all []string
	for i := 1; i < len(name); i++ {
		if name[i] == '/' {
			all = append(all, name[:i])
		}
	}
	if name != "/" {
		all = append(all, name)
	}
	return all
}

// walked is a path whose folders are none of them symlinks.
type walked struct {
	name   string // below the root
	stat   executor.Stat
	err    error  // of the last element
	device uint64 // of its folder
}

// walk replaces the symlinks among the folders of name by what they hold, below the root, and looks at the last element, which is
// not followed. Unlike the kernel's own way over open folders, there is time between looking and doing: who may write to a
// folder on the way can make a fool of it. Strict refuses the symlinks of strangers.
func (f *Files) walk(name string, strict bool) (walked, error) {
	name, err := clean(name)
	if err != nil {
		return walked{}, err
	}
	for links := 0; links <= maxLinks; links++ {
		steps := prefixes(name)
		reals := []string{f.real("/")}
		for _, s := range steps {
			reals = append(reals, f.real(s))
		}
		stats, errs, err := f.lstats(reals)
		if err != nil {
			return walked{}, err
		}
		last := len(reals) - 1
		link := -1
		for i := 1; i < last; i++ {
			if errs[i] != nil {
				return walked{}, errs[i]
			}
			if stats[i].Mode.Type() != 0 && !stats[i].Mode.IsDir() {
				link = i
				break
			}
		}
		if link < 0 {
			return walked{name, stats[last], errs[last], stats[max(0, last-1)].Dev}, nil
		}
		if name, err = f.replace(steps[link-1], stats[link], strings.TrimPrefix(name, steps[link-1]), strict); err != nil {
			return walked{}, err
		}
	}
	return walked{}, syscall.ELOOP
}

// replace puts what a symlink holds in its place, and takes ".." away, which cannot lead above the root.
func (f *Files) replace(link string, st executor.Stat, rest string, strict bool) (string, error) {
	if st.Mode.Type() != modeOf(typeLink).Type() {
		return "", syscall.ENOTDIR
	}
	if strict && st.UID != 0 && st.UID != f.uid {
		return "", fmt.Errorf("%w: %s belongs to uid %d", executor.ErrUnsafePath, link, st.UID)
	}
	target, err := f.sftp.ReadLink(f.real(link))
	if err != nil {
		return "", err
	}
	// What follows a ".." is seen from where the symlink is, as its folders are none themselves.
	if !path.IsAbs(target) {
		target = path.Join(path.Dir(link), target)
	}
	return path.Clean(target + rest), nil
}

// place is a path whose folder is there.
type place struct {
	walked
	dir string // the folder, below the root
}

// parent walks to a path that is read or written.
func (f *Files) parent(name string) (place, error) {
	w, err := f.walk(name, true)
	if err != nil {
		return place{}, err
	}
	if w.name == "/" {
		return place{}, errors.New("the root folder is not managed")
	}
	return place{walked: w, dir: path.Dir(w.name)}, nil
}

// there is parent of what has to be there.
func (f *Files) there(name string) (place, error) {
	p, err := f.parent(name)
	if err == nil {
		err = p.err
	}
	return p, err
}

// folder is the nearest one above name that is there.
func (f *Files) folder(name string) (place, error) {
	name, err := clean(name)
	if err != nil {
		return place{}, err
	}
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		p, err := f.parent(path.Join(dir, "x"))
		if err == nil && p.err != nil && !errors.Is(p.err, syscall.ENOENT) {
			err = p.err
		}
		if !errors.Is(err, syscall.ENOENT) || dir == "/" {
			return p, err
		}
	}
}
