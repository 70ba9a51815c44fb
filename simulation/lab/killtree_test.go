package lab_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shoal/simulation/lab"
)

// machineBefore is what people had on the machine: nothing of it is shoal's.
const machineBefore = `
# Below the host's disk is a machine on which others may be installing something right now.
for d in /var/lib/dpkg /var/lib/apt; do cp -a $d $d.own && rm -rf $d && mv $d.own $d; done
rm -rf /var/lib/dpkg/updates/* && dpkg --configure -a
mkdir -p /etc/kt/tree.d /srv/kt/old/deep /srv/kt/mnt /usr/local/kt
printf 'the first line\nport=1\n# end\n' >/etc/kt/edited
printf '[main]\nuser = one\n\n[other]\nx = 1\n' >/etc/kt/keys.ini
printf 'people wrote this\n' >/etc/kt/people && chmod 0640 /etc/kt/people
printf 'mine\n' >/etc/kt/tree.d/mine && chmod 0600 /etc/kt/tree.d/mine
printf 'a\n' >/srv/kt/old/a && printf 'b\n' >/srv/kt/old/deep/b && chmod 4755 /srv/kt/old/deep/b && ln -s ../a /srv/kt/old/deep/link
printf 'loose\n' >/etc/kt/loose && chmod 0666 /etc/kt/loose
printf 'to go\n' >/etc/kt/gone
mkdir -m 0711 /srv/kt/open && chown 7:8 /srv/kt/open
touch -d '2001-02-03 04:05:06.789' /etc/kt/people /etc/kt/edited /etc/kt/gone /srv/kt/old/a
groupadd -g 4100 kt-old && groupadd -g 4101 kt-gone
useradd -m -u 4100 -g kt-old -G kt-gone -s /bin/sh kt-ann && useradd -m -u 4101 -g kt-old kt-eve
for s in kt-a kt-c; do printf '[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/$s.service; done
systemctl daemon-reload && systemctl enable --now kt-a kt-c
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/preferences.d/* && mkdir /etc/apt/sources.list.d
echo 'deb [trusted=yes] file:/srv/repo ./' >/etc/apt/sources.list.d/kt.list
apt-get update -qq && apt-get install -qq -y kt-lib=1.0 kt-old kt-held
`

// attribute gives a file what no shell here can: an extended attribute and an access list.
func attribute(t *testing.T, path string) {
	t.Helper()
	if err := unix.Lsetxattr(path, "user.note", []byte("people's"), 0); err != nil {
		t.Fatal(err)
	}
	// user::rw-, user:7:r--, group::r--, mask::r--, other::---
	acl := []byte{2, 0, 0, 0}
	for _, entry := range [][2]uint32{{1 | 6<<16, ^uint32(0)}, {2 | 4<<16, 7}, {4 | 4<<16, ^uint32(0)}, {0x10 | 4<<16, ^uint32(0)}, {0x20, ^uint32(0)}} {
		for _, n := range entry {
			acl = append(acl, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
		}
	}
	if err := unix.Lsetxattr(path, "system.posix_acl_access", acl, 0); err != nil {
		t.Fatal(err)
	}
}

// deb is a small package.
type deb struct {
	name, version, depends string
	files                  map[string]string
	conffiles              []string
}

var daemon = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"

var debs = []deb{
	{name: "kt-lib", version: "1.0", files: map[string]string{"usr/share/kt-lib/data": "one\n"}},
	{name: "kt-lib", version: "2.0", files: map[string]string{"usr/share/kt-lib/data": "two\n", "usr/share/kt-lib/more": "more\n"}},
	{name: "kt-app", version: "1.0", depends: "kt-lib (>= 2.0), kt-dep", files: map[string]string{"usr/share/kt-app/data": "app\n", "etc/kt-app.conf": "packaged\n"}, conffiles: []string{"/etc/kt-app.conf"}},
	{name: "kt-dep", version: "1.0", files: map[string]string{"usr/share/kt-dep/data": "dep\n"}},
	{name: "kt-old", version: "1.0", files: map[string]string{"usr/share/kt-old/data": "old\n"}},
	{name: "kt-held", version: "1.0", files: map[string]string{"usr/share/kt-held/data": "held\n"}},
	{name: "kt-daemon", version: "1.0", files: map[string]string{"lib/systemd/system/kt-daemon.service": daemon}},
}

// repository builds the packages and their index on the host.
func repository(t *testing.T, h *lab.Host) {
	t.Helper()
	work := t.TempDir()
	for _, d := range debs {
		tree := filepath.Join(work, d.name+"-"+d.version)
		files := map[string]string{"DEBIAN/control": fmt.Sprintf(
			"Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: for a test\n", d.name, d.version)}
		if d.depends != "" {
			files["DEBIAN/control"] += "Depends: " + d.depends + "\n"
		}
		for _, name := range d.conffiles {
			files["DEBIAN/conffiles"] += name + "\n"
		}
		for name, text := range d.files {
			files[name] = text
		}
		for name, text := range files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(tree, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(tree, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := exec.Command("dpkg-deb", "--build", "--root-owner-group", tree, work).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := os.RemoveAll(tree); err != nil {
			t.Fatal(err)
		}
	}
	index := exec.Command("dpkg-scanpackages", "--multiversion", ".")
	index.Dir = work
	packages, err := index.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(work, "Packages"), packages, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(h.Path("/srv/repo"), os.DirFS(work)); err != nil {
		t.Fatal(err)
	}
}

// firstTree is what shoal owns on the machine before the run that is killed.
var firstTree = map[string]string{
	"site.yaml": "targets:\n  - on: \"*\"\n    components: [kt]\n",
	"components/kt/states.yaml": `states:
  motd:
    file.managed: {path: /etc/kt/motd, content: "the first\n", mode: "0644"}
  leaves:
    file.managed: {path: /srv/kt/leaves/file, content: "to leave\n"}
  leaves-folder:
    file.directory: {path: /srv/kt/folder, mode: "0700"}
  leaves-link:
    file.symlink: {path: /etc/kt/leaves, target: motd}
  link:
    file.symlink: {path: /etc/kt/link, target: motd}
  leaves-cron:
    cron.present: {name: kt-leaves, command: /bin/true, schedule: "@daily"}
  leaves-group:
    group.present: {name: kt-leaves, gid: 4200}
  leaves-package:
    pkg.installed: {name: kt-daemon}
  leaves-service:
    service.running: {name: kt-daemon, enabled: true}
    require: [leaves-package]
  conf:
    file.managed: {path: /etc/kt/b.conf, content: "one\n"}
  unit:
    file.managed: {path: /etc/systemd/system/kt-b.service, content: "[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/true\n[Install]\nWantedBy=multi-user.target\n"}
  service:
    service.running: {name: kt-b, enabled: false}
    require: [unit]
`,
}

// secondTree is what the killed run makes: states of all kinds.
var secondTree = map[string]string{
	"site.yaml":                         "targets:\n  - on: \"*\"\n    components: [kt]\n",
	"components/kt/templates/t.j2":      "name {{ vars.name }}\n{% for n in [1, 2, 3] %}n {{ n }}\n{% endfor %}",
	"components/kt/defaults.yaml":       "name: kt\n",
	"components/kt/files/tree/one":      "one\n",
	"components/kt/files/tree/sub/two":  "two\n",
	"components/kt/files/frag/10-first": "first\n",
	"components/kt/files/frag/20-last":  "last\n",
	"components/kt/files/big":           strings.Repeat("0123456789abcdef\n", 20000),
	"components/kt/states.yaml": `states:
  motd:
    file.managed: {path: /etc/kt/motd, content: "the second\n", mode: "0600"}
  template:
    file.managed: {path: /etc/kt/deep/er/template, template: templates/t.j2, owner: "7", group: "8", mode: "0640"}
  big:
    file.managed: {path: /srv/kt/big, source: files/big}
  people:
    file.managed: {path: /etc/kt/people, content: "shoal's\n"}
  loose:
    file.managed: {path: /etc/kt/loose, mode: "0600"}
  edited:
    file.edit: {path: /etc/kt/edited, line: {line: "port=2", match: "^port="}, block: {name: kt, content: "in a block\n"}}
  keys:
    file.edit: {path: /etc/kt/keys.ini, keys: {main: {user: two, new: "1"}, other: {x: null}}}
  assembled:
    file.assemble: {path: /etc/kt/assembled, source: files/frag}
  tree:
    file.tree: {path: /etc/kt/tree.d, source: files/tree, purge: true}
  folder:
    file.directory: {path: /srv/kt/new/folder, mode: "2750", owner: "7"}
  in-folder:
    file.managed: {path: /srv/kt/new/folder/file, content: "inside\n"}
    require: [folder]
  open:
    file.directory: {path: /srv/kt/open, mode: "0755", owner: root, group: root}
  link:
    file.symlink: {path: /etc/kt/link, target: people}
  new-link:
    file.symlink: {path: /srv/kt/here, target: new/folder}
  gone:
    file.absent: {path: /etc/kt/gone}
  old:
    file.absent: {path: /srv/kt/old}
  unpacked:
    archive.extracted: {path: /usr/local/kt/app, source: files/app.tar}
  made:
    cmd.run: {shell: "mkdir -p /srv/kt/made && echo made >/srv/kt/made/file", creates: /srv/kt/made/file}
    undo: unmade
  unmade:
    lazy: true
    cmd.run: {shell: "rm -rf /srv/kt/made"}
  marked:
    cmd.run: {shell: "echo marked >>/etc/kt/marked", unless: "grep -q marked /etc/kt/marked"}
    undo: unmarked
  unmarked:
    lazy: true
    cmd.run: {shell: "rm -f /etc/kt/marked"}
  library:
    pkg.installed: {name: kt-lib, version: "2.0"}
  app:
    pkg.installed: {name: kt-app}
    require: [library]
  app-conf:
    file.managed: {path: /etc/kt-app.conf, content: "shoal's\n"}
    require: [app]
  old-package:
    pkg.removed: {name: kt-old}
  held:
    pkg.installed: {name: kt-held, hold: true}
  repository:
    pkgrepo.managed: {name: kt-second, uris: ["file:/srv/repo"], suites: ["./"], trusted: true}
  web-group:
    group.present: {name: kt-web, gid: 4300}
  bob:
    user.present: {name: kt-bob, uid: 4300, group: kt-web, groups: [kt-old], home: /home/kt-bob, create_home: false}
    require: [web-group]
  ann:
    user.present: {name: kt-ann, shell: /bin/bash, gecos: Ann, groups: [kt-web]}
    require: [web-group]
  ann-key:
    ssh_key.present: {user: kt-ann, key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ+gJmWxBwOZlmd4Ew2Vb2o1yRzH4xGJ1bVwDqHk0aZb ann"}
    require: [ann]
  eve:
    user.absent: {name: kt-eve}
  gone-group:
    group.absent: {name: kt-gone}
    require: [ann]
  job:
    cron.present: {name: kt-job, command: /bin/true, schedule: "5 4 * * *"}
  timer:
    timer.present: {name: kt-timer, on_calendar: "*-*-01 03:00:00", argv: [/bin/true]}
  conf:
    file.managed: {path: /etc/kt/b.conf, content: "two\n"}
    notify: [reload]
  unit:
    file.managed: {path: /etc/systemd/system/kt-b.service, content: "[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/true\nEnvironment=X=2\n[Install]\nWantedBy=multi-user.target\n"}
  service:
    service.running: {name: kt-b, enabled: true}
    require: [unit]
    listen: [unit]
  reload:
    lazy: true
    service.reloaded: {name: kt-b}
    after: [service]
  stopped:
    service.stopped: {name: kt-a, enabled: false}
  masked:
    service.disabled: {name: kt-c}
  forwarding:
    sysctl.present: {name: net.ipv4.ip_forward, value: 1}
  zone:
    timezone.set: {name: Asia/Tokyo}
  mounted:
    mount.mounted: {path: /srv/kt/mnt, device: tmpfs, type: tmpfs, options: [mode=0700]}
  row:
    mount.present: {path: /srv/kt/data, device: LABEL=kt-data, type: ext4, options: [noauto]}
  name:
    hostname.set: {name: kt-renamed}
`,
}

// archived is a tar with a folder, a file and a link.
func archived(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	when := time.Unix(1e9, 0)
	for _, f := range []tar.Header{
		{Name: "app/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: when},
		{Name: "app/run", Typeflag: tar.TypeReg, Mode: 0o755, Size: 10, ModTime: when},
		{Name: "app/link", Typeflag: tar.TypeSymlink, Linkname: "run", ModTime: when},
	} {
		if err := w.WriteHeader(&f); err != nil {
			t.Fatal(err)
		}
		if f.Size > 0 {
			if _, err := w.Write([]byte("#!/bin/sh\n")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
