# Waits until the process that made the lab is gone, then removes the lab's folders $1 and $3 and its cgroups $2-*.
trap '' INT TERM HUP
cat >/dev/null
tries=0
while [ $tries -lt 100 ]; do
	left=""
	for group in /sys/fs/cgroup/systemd/"$2"-* /sys/fs/cgroup/unified/"$2"-* /sys/fs/cgroup/"$2"-*; do
		[ -d "$group" ] || continue
		find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
		[ ! -d "$group" ] || left="$left $group"
	done
	[ -n "$left" ] || break
	tries=$((tries + 1))
	sleep 0.1
done
rm -rf --one-file-system "$1" "$3"
[ -z "$left" ] || { echo "lab: still there:$left" >&2; exit 1; }
