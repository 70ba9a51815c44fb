package sshdtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// User is that of WithUser, Password what sudo takes from it.
const (
	User     = "shoaltest"
	Password = "the password"
)

// WithUser is a server with a user of its own, whose home is a file system of its own with these mount options: all in the
// server's mount namespace, so that the machine knows nothing of it. sudoers is a line of sudoers(5).
func WithUser(t testing.TB, sudoers, homeOptions string) Options {
	t.Helper()
	Need(t, "unshare", "sudo", "openssl")
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: a server with users of its own needs root")
	}
	hash, err := exec.Command("openssl", "passwd", "-6", Password).Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for file, add := range map[string]string{
		"passwd": User + ":x:4711:4711::/srv/home:/bin/sh\n", "group": User + ":x:4711:\n",
		"shadow": User + ":" + strings.TrimSpace(string(hash)) + ":19000:0:99999:7:::\n", "sudoers": sudoers + "\n",
	} {
		data := []byte("root ALL=(ALL:ALL) ALL\n")
		if file != "sudoers" {
			if data, err = os.ReadFile("/etc/" + file); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, file), append(data, add...), 0o440); err != nil {
			t.Fatal(err)
		}
	}
	return Options{Setup: fmt.Sprintf(`chmod 644 %[1]s/passwd %[1]s/group
for f in passwd group shadow sudoers; do mount --bind %[1]s/$f /etc/$f; done
mount -t tmpfs -o mode=755 none /srv
mkdir /srv/home
mount -t tmpfs -o mode=700,uid=4711,gid=4711%[2]s none /srv/home`, dir, homeOptions)}
}
