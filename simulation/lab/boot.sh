#!/bin/sh
# Becomes the first process of a host of the lab. It runs in new pid, mount, uts, ipc and network namespaces, and gets:
#   $1 the cgroup that is to be the host's root
#   $2 the folder with the host's disk (upper, work) and its mount point (root)
#   $3 the host's name
#   $4 the layer between its disk and the machine
set -e
if [ "$5" != inside ]; then
	for h in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
		if [ -d "$h/$1" ]; then echo 0 >"$h/$1/cgroup.procs"; fi
	done
	exec unshare --cgroup /bin/sh -c "$(cat /proc/self/fd/3)" boot "$1" "$2" "$3" "$4" inside
fi
mount --make-rprivate /
root="$2/root"
mount -t overlay overlay -o "lowerdir=$4:/,upperdir=$2/upper,workdir=$2/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"

# Settings of the kernel belong to the whole machine, but for those of the network: a host writes to a copy.
for part in kernel vm fs; do
	copy="$2/sysctl/$part"
	mkdir -p "$copy"
	cp -rn --no-preserve=all "$root/proc/sys/$part/." "$copy" 2>/dev/null || true
	mount --bind "$copy" "$root/proc/sys/$part"
done
# The names are the host's own.
for name in hostname domainname; do
	mount --bind "/proc/sys/kernel/$name" "$root/proc/sys/kernel/$name"
done

mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
for node in null zero full random urandom tty; do
	touch "$root/dev/$node"
	mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root/run/lock"

if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
	mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
	mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
	mkdir "$root/sys/fs/cgroup/systemd" "$root/sys/fs/cgroup/unified"
	mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
	mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified" 2>/dev/null || rmdir "$root/sys/fs/cgroup/unified"
fi

hostname "$3"
ip link set lo up
cd "$root"
# The old root stays below /run for as long as it takes to leave it.
mkdir run/old
pivot_root . run/old
umount -l /run/old
rmdir /run/old
exec 3>&-
export container=shoal-lab
exec /usr/lib/systemd/systemd --system --unit=lab.target --log-target=journal --show-status=no
