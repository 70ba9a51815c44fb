package sshdtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Layered is a server that is the machine itself, with a layer in memory over some of its folders: what is changed there is gone
// with the server, and the machine knows nothing of it. setup is a script that runs with the layers in place.
func Layered(t testing.TB, setup string, folders ...string) Options {
	t.Helper()
	Need(t, "unshare", "mount")
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: a server with a machine of its own needs root")
	}
	dir := t.TempDir()
	return Options{Setup: fmt.Sprintf(`mount -t tmpfs -o mode=755 none %[1]s
for f in %[2]s; do mkdir -p "%[1]s$f/u" "%[1]s$f/w"; mount -t overlay overlay -o "lowerdir=$f,upperdir=%[1]s$f/u,workdir=%[1]s$f/w" "$f"; done
%[3]s`, dir, strings.Join(folders, " "), setup)}
}

// Path is where a file of the server's machine is seen from here, while the server runs.
func (s *Server) Path(name string) string {
	return filepath.Join(fmt.Sprintf("/proc/%d/root", s.Pid()), name)
}

// ownDpkg takes a copy of dpkg's database while no other is at work on it: what shows through the layer would change with the
// machine's own packages.
const ownDpkg = `for i in $(seq 100); do rm -rf /var/lib/dpkg.own; cp -a /var/lib/dpkg /var/lib/dpkg.own; [ -z "$(ls /var/lib/dpkg.own/updates)" ] && break; sleep 0.2; done
rm -rf /var/lib/dpkg; mv /var/lib/dpkg.own /var/lib/dpkg
`

// Repository makes a repository of apt in a folder, of empty packages shoal-leaf 1.0 and 2.0, and the script of a setup that has
// this one alone.
func Repository(t testing.TB) (setup string) {
	t.Helper()
	Need(t, "apt-get", "dpkg-deb", "dpkg-scanpackages")
	dir := t.TempDir()
	return fmt.Sprintf(ownDpkg+`rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*; mkdir -p /etc/apt/sources.list.d /var/shoal-test-repo; cd /var/shoal-test-repo
echo 'APT::Sandbox::User "root";' >/etc/apt/apt.conf.d/99shoal-test
for v in 1.0 2.0; do mkdir -p %[1]s/$v/DEBIAN %[1]s/$v/etc; echo x >%[1]s/$v/etc/shoal-leaf.conf; echo /etc/shoal-leaf.conf >%[1]s/$v/DEBIAN/conffiles
printf 'Package: shoal-leaf\nVersion: %%s\nArchitecture: all\nMaintainer: none\nDescription: a test\n' $v >%[1]s/$v/DEBIAN/control
dpkg-deb --build --root-owner-group %[1]s/$v . >/dev/null; done
dpkg-scanpackages --multiversion . >Packages 2>/dev/null
echo 'deb [trusted=yes] file:/var/shoal-test-repo ./' >/etc/apt/sources.list.d/shoal-test.list
apt-get update -qq >/dev/null`, dir)
}
