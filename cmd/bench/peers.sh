#!/bin/sh
# Runs the measurements in a throw-away root: an overlay of the machine's own, in mount and pid namespaces of this process.
#   $1 a folder for the overlay   $2 this program   $3 the shoal binary   $4 how many files   $5 who
set -e
root="$1/root"
mkdir -p "$1/upper" "$1/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$root/opt/bench" "$root/run/lock"
cp "$2" "$root/opt/bench/bench"
cp "$3" "$root/opt/bench/shoal"
[ ! -e /etc/resolv.conf ] || cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
# No service is started here.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 HOME=/root
chroot "$root" apt-get update -qq >/dev/null || true
status=0
chroot "$root" /opt/bench/bench -only peers -shoal /opt/bench/shoal -peer-files "$4" -peers "$5" || status=$?
exit "$status"
