package local

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"shoal/executor"
	"shoal/executor/hosttest"
)

// What a machine comes with, a comment and NIS included.
var machineFiles = map[string]string{
	"passwd": "root:x:0:0:root:/root:/bin/bash\n# local\nbroken line\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n" +
		"ann:x:1000:1000:Ann,,,:/home/ann:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n+::::::\n",
	"group":   "root:x:0:\ndaemon:x:1:\nsudo:x:27:ann\nann:x:1000:\nnogroup:x:65534:\n+:::\n",
	"shadow":  "root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\nann:$y$secret:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n",
	"gshadow": "root:*::\ndaemon:*::\nsudo:*::ann\nann:!::\nnogroup:*::\n",
}

func machine(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	etc := filepath.Join(root, "etc")
	if err := os.Mkdir(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range machineFiles {
		mode := fs.FileMode(0o644)
		if strings.HasSuffix(name, "shadow") {
			mode = 0o640
		}
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestAccountsInAnEmptyFolder(t *testing.T) {
	hosttest.AccountsSuite(t, func(t *testing.T) executor.Accounts { return NewAccounts(t.TempDir()) })
}

func TestAccountsOfAMachine(t *testing.T) {
	hosttest.AccountsSuite(t, func(t *testing.T) executor.Accounts { return NewAccounts(machine(t)) })
}

func TestAccountsWithoutShadow(t *testing.T) {
	root := machine(t)
	for _, name := range []string{"shadow", "gshadow"} {
		if err := os.Remove(filepath.Join(root, "etc", name)); err != nil {
			t.Fatal(err)
		}
	}
	putAnn(t, NewAccounts(root), "bob")
	if _, err := os.Lstat(filepath.Join(root, "etc/shadow")); err == nil {
		t.Error("made a shadow file on a machine without")
	}
	if row := grep(t, root, "passwd", "bob"); !strings.HasPrefix(row, "bob:!:") {
		t.Errorf("row %q lets in without a password", row)
	}
}

func putAnn(t *testing.T, a executor.Accounts, name string) {
	t.Helper()
	if err := a.PutUser(t.Context(), executor.User{Name: name, Home: "/home/" + name, Shell: "/bin/sh", Groups: []string{"sudo"}}); err != nil {
		t.Fatal(err)
	}
}

func text(t *testing.T, root, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "etc", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func grep(t *testing.T, root, file, name string) string {
	t.Helper()
	for line := range strings.Lines(text(t, root, file)) {
		if strings.HasPrefix(line, name+":") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// To put a user and take it out again leaves every byte as it was.
func TestAccountsPutAndRemoveRestoreEveryByte(t *testing.T) {
	root := machine(t)
	a := NewAccounts(root)
	putAnn(t, a, "bob")
	if got := grep(t, root, "group", "sudo"); got != "sudo:x:27:ann,bob" {
		t.Errorf("group: %q", got)
	}
	if got := grep(t, root, "gshadow", "sudo"); got != "sudo:*::ann,bob" {
		t.Errorf("gshadow: %q", got)
	}
	if got := grep(t, root, "passwd", "bob"); got != "bob:x:1001:1001::/home/bob:/bin/sh" {
		t.Errorf("passwd: %q", got)
	}
	if got := grep(t, root, "shadow", "bob"); !strings.HasPrefix(got, "bob:!:") || strings.Count(got, ":") != 8 {
		t.Errorf("shadow: %q", got)
	}
	if got := text(t, root, "passwd"); !strings.HasSuffix(got, "\n+::::::\n") {
		t.Errorf("the line of NIS is not the last:\n%s", got)
	}
	for _, err := range []error{a.RemoveUser(t.Context(), "bob"), a.RemoveGroup(t.Context(), "bob")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range machineFiles {
		if got := text(t, root, name); got != want {
			t.Errorf("%s is now\n%s", name, got)
		}
	}
}

func TestAccountsKeepThePassword(t *testing.T) {
	root := machine(t)
	a := NewAccounts(root)
	u, _, err := a.LookupUser("ann")
	if err != nil {
		t.Fatal(err)
	}
	u.Shell = "/bin/zsh"
	if err := a.PutUser(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if got := grep(t, root, "shadow", "ann"); got != "ann:$y$secret:19000:0:99999:7:::" {
		t.Errorf("shadow: %q", got)
	}
}

// A user who was removed comes back with password and ageing, byte by byte.
func TestAccountsBringBackThePassword(t *testing.T) {
	root := machine(t)
	a := NewAccounts(root)
	u, _, err := a.LookupUser("ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.RemoveUser(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	if text(t, root, "shadow") == machineFiles["shadow"] {
		t.Fatal("the password of a user who was removed is still there")
	}
	if err := a.PutUser(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if got := grep(t, root, "shadow", "ann"); got != "ann:$y$secret:19000:0:99999:7:::" {
		t.Errorf("shadow: %q", got)
	}
	u.Shadow = "x\nroot2::0:::::::"
	if a.PutUser(t.Context(), u) == nil {
		t.Error("took a password that is two rows")
	}
}

// The checkers of the distribution have no complaint. They look for a row's group and members on the machine itself, so
// these rows name none but root's.
func TestAccountsPleasePwck(t *testing.T) {
	root := t.TempDir()
	a := NewAccounts(root)
	if err := os.MkdirAll(filepath.Join(root, "home"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := a.PutGroup(t.Context(), executor.Group{Name: "sudo"}); err != nil {
		t.Fatal(err)
	}
	if err := a.PutUser(t.Context(), executor.User{Name: "root", Home: root, Shell: "/bin/sh", Groups: []string{"sudo"}}); err != nil {
		t.Fatal(err)
	}
	bob := executor.User{Name: "bob", UID: 1001, Home: root, Shell: "/bin/sh"}
	for range 2 { // a zero gid is chosen for a new user, and set for an old one
		if err := a.PutUser(t.Context(), bob); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range [][]string{{"pwck", "-r", "passwd", "shadow"}, {"grpck", "-r", "group", "gshadow"}} {
		tool, err := exec.LookPath(c[0])
		if err != nil {
			t.Skipf("no %s on this machine: %v", c[0], err)
		}
		cmd := exec.Command(tool, c[1:]...)
		cmd.Dir = filepath.Join(root, "etc")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", c[0], err, out)
		}
	}
}

func TestAccountsKeepOwnerModeAndXattrs(t *testing.T) {
	root := machine(t)
	shadow := filepath.Join(root, "etc/shadow")
	if os.Geteuid() == 0 {
		if err := os.Chown(shadow, 0, 42); err != nil {
			t.Fatal(err)
		}
	}
	withXattr := unix.Setxattr(shadow, "user.shoal", []byte("kept"), 0) == nil
	before, err := os.Lstat(shadow)
	if err != nil {
		t.Fatal(err)
	}
	putAnn(t, NewAccounts(root), "bob")
	after, err := os.Lstat(shadow)
	if err != nil {
		t.Fatal(err)
	}
	was, is := before.Sys().(*syscall.Stat_t), after.Sys().(*syscall.Stat_t)
	if was.Ino == is.Ino {
		t.Error("edited in place")
	}
	if was.Mode != is.Mode || was.Uid != is.Uid || was.Gid != is.Gid {
		t.Errorf("was %o %d:%d, is %o %d:%d", was.Mode, was.Uid, was.Gid, is.Mode, is.Uid, is.Gid)
	}
	value := make([]byte, 16)
	if n, err := unix.Getxattr(shadow, "user.shoal", value); withXattr && (err != nil || string(value[:n]) != "kept") {
		t.Errorf("xattr %q, %v", value[:max(n, 0)], err)
	}
}

func TestAccountsSeeWhatOthersWrite(t *testing.T) {
	root := machine(t)
	mine, theirs := NewAccounts(root), NewAccounts(root)
	if _, ok, err := mine.LookupUser("bob"); ok || err != nil {
		t.Fatal(ok, err)
	}
	putAnn(t, theirs, "bob")
	if _, ok, err := mine.LookupUser("bob"); !ok || err != nil {
		t.Errorf("the cache is stale: %v, %v", ok, err)
	}
}

func TestAccountsChangedByManyAtOnce(t *testing.T) {
	root := machine(t)
	g, ctx := errgroup.WithContext(t.Context())
	for i := range 12 {
		g.Go(func() error {
			return NewAccounts(root).PutUser(ctx, executor.User{Name: fmt.Sprintf("u%d", i), Home: "/", Shell: "/bin/sh", Groups: []string{"sudo"}})
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	a, ids := NewAccounts(root), map[uint32]bool{}
	for i := range 12 {
		u, ok, err := a.LookupUser(fmt.Sprintf("u%d", i))
		if err != nil || !ok || ids[u.UID] || !slices.Equal(u.Groups, []string{"sudo"}) {
			t.Errorf("u%d: %+v, %v, %v", i, u, ok, err)
		}
		ids[u.UID] = true
	}
}

// Another process that holds the lock of lckpwdf(3) is waited for.
func TestAccountsWaitForTheLock(t *testing.T) {
	root := machine(t)
	pid, release := lockFromAnotherProcess(t, filepath.Join(root, lockFile))
	ctx, cancel := context.WithTimeout(t.Context(), 5*recordPoll)
	defer cancel()
	err := NewAccounts(root).PutGroup(ctx, executor.Group{Name: "x"})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("another program holds it (pid %d, local.test)", pid)) {
		t.Fatalf("with the lock held: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- NewAccounts(root).PutGroup(t.Context(), executor.Group{Name: "x"}) }()
	release()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// lockFromAnotherProcess runs TestLockHelper of this binary, as a lock of a process binds only others.
func lockFromAnotherProcess(t *testing.T, path string) (pid int, release func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockHelper$")
	cmd.Env = append(os.Environ(), "SHOAL_TEST_LOCK="+path)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stdout, make([]byte, len("locked"))); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid, sync.OnceFunc(func() {
		stdin.Close()
		_ = cmd.Wait() // it says PASS into a pipe that nobody reads any more
	})
}

func TestLockHelper(t *testing.T) {
	path := os.Getenv("SHOAL_TEST_LOCK")
	if path == "" {
		t.Skip("runs as a child of TestAccountsWaitForTheLock")
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.FcntlFlock(file.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	fmt.Print("locked")
	_, _ = io.Copy(io.Discard, os.Stdin)
	file.Close()
}

func TestAccountsStayBelowTheirRoot(t *testing.T) {
	outside := machine(t)
	for name, link := range map[string]func(root string) error{
		"etc":    func(root string) error { return os.Symlink(filepath.Join(outside, "etc"), filepath.Join(root, "etc")) },
		"passwd": func(root string) error { return linkPasswd(root, filepath.Join(outside, "etc/passwd")) },
	} {
		root := t.TempDir()
		if err := link(root); err != nil {
			t.Fatal(err)
		}
		if err := NewAccounts(root).PutUser(t.Context(), executor.User{Name: "bob", Home: "/", Shell: "/bin/sh"}); err == nil {
			t.Errorf("%s: wrote through a symlink out of the root", name)
		}
		if got := text(t, outside, "passwd"); got != machineFiles["passwd"] {
			t.Errorf("%s: changed what is outside", name)
		}
	}
}

func linkPasswd(root, target string) error {
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		return err
	}
	return os.Symlink(target, filepath.Join(root, "etc/passwd"))
}

func TestAccountsRefuseWhatBreaksARow(t *testing.T) {
	root := machine(t)
	a := NewAccounts(root)
	for _, u := range []executor.User{
		{Name: "a:b"}, {Name: ""}, {Name: "a\nroot2::0:0::/:/bin/sh"}, {Name: "-x"}, {Name: "+"}, {Name: "a b"}, {Name: strings.Repeat("a", 40)},
		{Name: "bob", Gecos: "x:0"}, {Name: "bob", Home: "/a\nb"}, {Name: "bob", Shell: "/x:y"}, {Name: "bob", Home: "relative"},
	} {
		if a.PutUser(t.Context(), u) == nil {
			t.Errorf("took %+v", u)
		}
	}
	if a.PutGroup(t.Context(), executor.Group{Name: "ok", Members: []string{"x,y:"}}) == nil {
		t.Error("took a member that is two")
	}
	for name, want := range machineFiles {
		if got := text(t, root, name); got != want {
			t.Errorf("%s is now\n%s", name, got)
		}
	}
}

// What a crash before the renames leaves is overwritten, and harms no reader.
func TestAccountsAfterACrash(t *testing.T) {
	root := machine(t)
	stale := filepath.Join(root, "etc/.shoal-new-passwd")
	if err := os.WriteFile(stale, []byte("half a ro"), 0o600); err != nil {
		t.Fatal(err)
	}
	putAnn(t, NewAccounts(root), "bob")
	if _, err := os.Lstat(stale); err == nil {
		t.Error("the staged file is still there")
	}
	if !strings.HasPrefix(text(t, root, "passwd"), "root:x:0:0:") {
		t.Error("what the crash left became the file")
	}
}

// A crash between two renames leaves rows in some files: removing the user cleans all of them.
func TestAccountsRemoveHalfOfAUser(t *testing.T) {
	for _, kept := range [][]string{{"group"}, {"group", "gshadow"}, {"group", "gshadow", "shadow"}} {
		root := machine(t)
		a := NewAccounts(root)
		putAnn(t, a, "bob")
		for _, name := range []string{"group", "gshadow", "shadow", "passwd"} {
			if slices.Contains(kept, name) {
				continue
			}
			if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(machineFiles[name]), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, err := range []error{a.RemoveUser(t.Context(), "bob"), a.RemoveGroup(t.Context(), "bob")} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for name, want := range machineFiles {
			if got := text(t, root, name); got != want {
				t.Errorf("with %v written, %s is now\n%s", kept, name, got)
			}
		}
	}
}

// A deadline that has passed before the lock is free is an error, and no wait.
func TestAccountsCancelled(t *testing.T) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	root := machine(t)
	_, release := lockFromAnotherProcess(t, filepath.Join(root, lockFile))
	defer release()
	if NewAccounts(root).PutGroup(ctx, executor.Group{Name: "x"}) == nil {
		t.Error("changed in spite of the lock")
	}
}
