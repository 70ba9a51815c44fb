#!/bin/sh
# Installs what the tests use beside Go, where this is root on Debian. Elsewhere it says what is missing: the tests that
# need it are skipped, and say so.
set -eu

command -v go >/dev/null || { echo "prepare: Go 1.26 or newer is needed: put it into PATH" >&2; exit 1; }

# command:package. A systemd of the tests' own runs in namespaces; packages of their own are built with dpkg-deb, and for dnf,
# which runs here with a database of its own, with rpmbuild. zypper, pacman-package-manager and libarchive-tools are tried where
# they are there.
wanted="git:git gcc:gcc dbus-daemon:dbus-daemon systemctl:systemd unshare:util-linux mount:mount dpkg-deb:dpkg pwck:passwd nft:nftables ip:iproute2 tc:iproute2 nsenter:util-linux make:make /usr/sbin/sshd:openssh-server sudo:sudo getfattr:attr openssl:openssl perl:perl-base dnf:dnf rpmbuild:rpm createrepo_c:createrepo-c dpkg-scanpackages:dpkg-dev"
missing=""
for pair in $wanted; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
done
# The service that is started by the bus has no command of its own.
[ -e /usr/share/dbus-1/system-services/org.freedesktop.PackageKit.service ] || missing="$missing packagekit"
# Headers for the race detector.
[ -e /usr/include/stdlib.h ] || missing="$missing libc6-dev"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "prepare: installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of words
    apt-get install -qq -y --no-install-recommends $missing >/dev/null
else
    echo "prepare: not root on Debian; without$missing some tests are skipped" >&2
fi
