package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"shoal/internal/sandbox"
)

const (
	meshUserName = "shoal" // the Debian package makes it
	storeName    = "store"
	lockTime     = 10 * time.Second
)

// meshUser is whom the side that is on the network runs as; the zero value: whoever runs the agent.
type meshUser struct{ uid, gid int }

// meshUser decides whether the agent is divided; nil: it is not, and why.
func (c agentConfig) meshUser() (who *meshUser, why string, err error) {
	sandboxed := c.Root != "" && c.Root != "/"
	switch {
	case c.OneProcess:
		return nil, "--one-process", nil
	case os.Getuid() != 0:
		if c.User != "" {
			return nil, "", badInput("--user %s: only root can run a part of itself as somebody else", c.User)
		}
		return nil, "the agent is not root", nil
	case !sandbox.Supported:
		return nil, "there is no system call filter for this architecture", nil
	case c.User == "" && sandboxed:
		return nil, "--root without --user", nil
	case c.User == "":
		found, err := lookUser(meshUserName)
		if errors.As(err, new(user.UnknownUserError)) {
			return nil, "there is no user " + meshUserName, nil
		}
		return found, "", err
	}
	who, err = lookUser(c.User)
	if err != nil {
		return nil, "", badInput("--user: %v", err)
	}
	return who, "", nil
}

func lookUser(name string) (*meshUser, error) {
	if uid, gid, ok := strings.Cut(name, ":"); ok {
		u, errUID := strconv.ParseUint(uid, 10, 31)
		g, errGID := strconv.ParseUint(gid, 10, 31)
		if errUID != nil || errGID != nil || u == 0 || g == 0 {
			return nil, fmt.Errorf("%q is not UID:GID of somebody without rights", name)
		}
		return &meshUser{int(u), int(g)}, nil
	}
	found, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	return lookUser(found.Uid + ":" + found.Gid)
}

// admitGroup lets a group open the socket, and pass through the data folder to it, in which it can list and read nothing.
func (c agentConfig) admitGroup() error {
	path := c.socket()
	if os.Getuid() != 0 {
		if c.APIGroup != "" {
			return badInput("--api-group is for root")
		}
		return nil
	}
	name := c.APIGroup
	if name == "" {
		if _, err := user.LookupGroup(meshUserName); err != nil || c.Root != "" && c.Root != "/" {
			return nil
		}
		name = meshUserName
	}
	gid, err := lookGroup(name)
	if err != nil {
		return badInput("--api-group: %v", err)
	}
	if err := os.Lchown(path, 0, gid); err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if filepath.Dir(path) != c.DataDir {
		return nil
	}
	if err := os.Chown(c.DataDir, 0, gid); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	return os.Chmod(c.DataDir, 0o710)
}

func lookGroup(name string) (int, error) {
	if gid, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(gid), nil
	}
	group, err := user.LookupGroup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(group.Gid)
}

// giveStore makes the store belong to the mesh's side: one that an agent of one process left, or a command that root ran, belongs to
// root. Nothing outside of the folder can be meant, and no file that has another name elsewhere.
func (a *agent) giveStore() error {
	dir := filepath.Join(a.config.DataDir, storeName)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("store: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		info, err := root.Lstat(path)
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case !ok || !info.IsDir() && (!info.Mode().IsRegular() || st.Nlink > 1):
			return nil
		case int(st.Uid) == a.who.uid && int(st.Gid) == a.who.gid:
			return nil
		case st.Uid != 0 && path != ".":
			return nil
		}
		return root.Lchown(path, a.who.uid, a.who.gid)
	})
}

// lock waits for what is left of an agent that was killed: its mesh's side ends as soon as it finds out. Where an agent runs, it
// is found at its socket.
func (a *agent) lock() error {
	whole, err := lockFile(filepath.Join(a.config.DataDir, "agent.lock"))
	if err != nil {
		return err
	}
	a.closers = append(a.closers, whole.Close)
	if errors.Is(unix.Flock(int(whole.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK) {
		return nil
	}
	if a.meshLock, err = lockFile(filepath.Join(a.config.DataDir, "mesh.lock")); err != nil {
		return err
	}
	a.closers = append(a.closers, a.meshLock.Close)
	for began := time.Now(); ; {
		err := unix.Flock(int(a.meshLock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Since(began) > lockTime {
			return fmt.Errorf("lock the data folder, %s after what held it was to end: %w", lockTime, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, badInput("data folder: %v", err)
	}
	return f, nil
}
