package ssh_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"shoal/executor"
	"shoal/executor/hosttest"
	"shoal/internal/sshdtest"
)

// TestAccounts: the suite that the machine itself passes.
func TestAccounts(t *testing.T) {
	needRoot(t)
	m := machine(t, sshdtest.Start(t, sshdtest.Options{}))
	hosttest.AccountsSuite(t, func(t *testing.T) executor.Accounts { return host(t, m, t.TempDir(), "/nowhere") })
}

// etc is a folder that stands for a machine, with the files of its accounts.
func etc(t *testing.T) (root, dir string) {
	t.Helper()
	root = t.TempDir()
	dir = filepath.Join(root, "etc")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"passwd": "root:x:0:0::/root:/bin/sh\n# mine\n", "group": "root:x:0:\n", "shadow": "root:*:1::::::\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return root, dir
}

// TestAccountsKeepWhatTheyReplace: owner, mode and extended attributes of a file, comments, and no gshadow where there is none; and
// nothing lies about.
func TestAccountsKeepWhatTheyReplace(t *testing.T) {
	needRoot(t)
	sshdtest.Need(t, "getfattr")
	root, dir := etc(t)
	shadow := filepath.Join(dir, "shadow")
	if err := os.Chown(shadow, 0, 42); err != nil {
		t.Fatal(err)
	}
	attrs := unix.Setxattr(shadow, "user.shoal", []byte("kept"), 0) == nil
	h := host(t, machine(t, sshdtest.Start(t, sshdtest.Options{})), root, "/nowhere")
	if err := h.PutUser(t.Context(), executor.User{Name: "ann", Home: "/home/ann", Shell: "/bin/sh"}); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(shadow, &st); err != nil || st.Mode&0o7777 != 0o640 || st.Gid != 42 {
		t.Errorf("%+v, %v", st, err)
	}
	value := make([]byte, 8)
	if n, err := unix.Getxattr(shadow, "user.shoal", value); attrs && (err != nil || string(value[:n]) != "kept") {
		t.Errorf("attribute %q, %v", value[:max(n, 0)], err)
	}
	if err := h.RemoveUser(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "passwd")); err != nil || string(data) != "root:x:0:0::/root:/bin/sh\n# mine\n" {
		t.Errorf("%q, %v", data, err)
	}
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if !strings.HasPrefix(e.Name(), ".pwd") && !strings.Contains("passwd group shadow", e.Name()) {
			t.Errorf("left %s", e.Name())
		}
	}
}

// TestAccountLock: who has the lock of the account tools, of either kind, is named; one of a program that is dead is none; and
// the tools of the system respect ours.
func TestAccountLock(t *testing.T) {
	needRoot(t)
	sshdtest.Need(t, "groupadd")
	root, dir := etc(t)
	h := host(t, machine(t, sshdtest.Start(t, sshdtest.Options{})), root, "/nowhere")
	try := func(wanted string) (unlock func()) {
		t.Helper()
		unlock, holder, err := h.TryAccountLock(t.Context())
		if err != nil || holder != wanted || (unlock == nil) != (wanted != "") {
			t.Fatalf("held by %q, %v, wanted %q", holder, err, wanted)
		}
		return unlock
	}
	holder := exec.Command("sleep", "1000")
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = holder.Process.Kill() // it may be over
		_ = holder.Wait()
	})
	link := filepath.Join(dir, "group.lock")
	if err := os.WriteFile(link, []byte(strconv.Itoa(holder.Process.Pid)+"\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	try(fmt.Sprintf("pid %d (sleep)", holder.Process.Pid))
	_ = holder.Process.Kill()
	_ = holder.Wait() // it was killed
	unlock := try("")
	groupadd := []string{"groupadd", "--prefix", root, "staff"}
	if out, err := exec.Command("timeout", append([]string{"2"}, groupadd...)...).CombinedOutput(); err == nil {
		t.Errorf("groupadd did not wait: %s", out)
	}
	unlock()
	if out, err := exec.Command(groupadd[0], groupadd[1:]...).CombinedOutput(); err != nil {
		t.Errorf("groupadd: %v, %s", err, out)
	}
	file, err := os.OpenFile(filepath.Join(dir, ".pwd.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.FcntlFlock(file.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	if unlock, holder, err := h.TryAccountLock(t.Context()); unlock != nil || err != nil || !strings.HasPrefix(holder, fmt.Sprintf("pid %d (", os.Getpid())) {
		t.Errorf("held by %q, %v", holder, err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	try("")()
	left, err := filepath.Glob(filepath.Join(dir, "[a-z]*.lock"))
	if err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
