package lab

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// packageLocks are those of dpkg(1) and apt(8), in the order in which they take them.
var packageLocks = []string{"/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"}

// belowRoot is a file system of its own: overlayfs takes no layer that lies within another one.
const belowRoot = "/dev/shm"

// packageFolder and packageFile are what the package manager knows.
const (
	packageFolder = "/var/lib/dpkg"
	packageFile   = "/var/lib/apt/extended_states"
)

// freeze copies what the machine's package manager knows into a layer between the machine and the hosts: packages may be
// installed on the machine at any time, and a host must not see half of that, nor have files change below those that it copied.
func (l *Lab) freeze() error {
	if err := os.Mkdir(l.below, 0o755); err != nil {
		return err
	}
	unlock, err := lockPackages()
	defer unlock()
	if err != nil {
		return fmt.Errorf("lab: wait for the package manager: %w", err)
	}
	for _, name := range []string{packageFolder, packageFile} {
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			continue // another family's machine, or nothing was installed by itself
		}
		copied := filepath.Join(l.below, name)
		if err := os.MkdirAll(filepath.Dir(copied), 0o755); err != nil {
			return err
		}
		if err := run("cp", "-a", name, copied); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
		if name == packageFile {
			continue
		}
		// What the machine itself has there is not to be seen through it.
		if err := unix.Setxattr(copied, "trusted.overlay.opaque", []byte("y"), 0); err != nil {
			return fmt.Errorf("lab: hide %s: %w", name, err)
		}
	}
	return nil
}

// lockPackages waits until nobody installs anything on the machine.
func lockPackages() (unlock func(), err error) {
	var held []io.Closer
	unlock = func() {
		for _, f := range held {
			f.Close()
		}
	}
	for _, name := range packageLocks {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return unlock, err
		}
		held = append(held, f)
		// Open file descriptions, and not the process, hold it: two labs of one process wait for each other.
		if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
			return unlock, fmt.Errorf("lock %s: %w", name, err)
		}
	}
	return unlock, nil
}
