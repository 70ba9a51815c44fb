#!/bin/sh
# Becomes a systemd of its own for TestSystemd: as the first process of new pid, mount, uts and ipc namespaces, with a cgroup
# namespace whose root is the cgroup named by $1, and with what it may write to on file systems of its own.
set -e
if [ "$2" != inside ]; then
	for h in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
		if [ -d "$h/$1" ]; then echo 0 >"$h/$1/cgroup.procs"; fi
	done
	exec unshare --cgroup "$0" "$1" inside
fi
mount --make-rprivate /
mount -t proc proc /proc
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
	umount /sys/fs/cgroup/systemd
	mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
	if [ -d /sys/fs/cgroup/unified ]; then
		umount /sys/fs/cgroup/unified
		mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
	fi
fi
for dir in /run /tmp /var/log /var/tmp /etc/systemd/system; do mount -t tmpfs tmpfs "$dir"; done
mkdir -p /run/lock /run/dbus /run/systemd/system
cd /etc/systemd/system
ln -s /dev/null systemd-journald-dev-log.socket # it would make /dev/log, and /dev is the machine's
ln -s /dev/null systemd-journald-audit.socket
cat >shoal.target <<U
[Unit]
DefaultDependencies=no
Wants=dbus.socket dbus.service systemd-journald.service
After=dbus.service systemd-journald.service
U
cat >dbus.socket <<U
[Unit]
DefaultDependencies=no
[Socket]
ListenStream=/run/dbus/system_bus_socket
U
cat >dbus.service <<U
[Unit]
DefaultDependencies=no
Requires=dbus.socket
[Service]
Type=notify
ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation
U
export container=shoal
exec /usr/lib/systemd/systemd --system --unit=shoal.target --log-target=console --show-status=no
