// Package lab runs real hosts on one machine: each has a systemd as its first process, in pid, mount, uts, ipc, cgroup and
// network namespaces of its own, an overlay of the machine's root file system as its disk, and an address on a bridge that
// only the lab knows. It needs root on Linux. What a host does to its disk, packages, services and network stays in the
// lab, and nothing of the lab outlives the process that started it, not even when that is killed: the kernel ends what is in
// the namespaces, and a janitor that waits for the end of the process removes the folders and cgroups.
//
//	the process ──┬── keeper: a network namespace with the bridge
//	              ├── janitor: removes folders and cgroups when the process is gone
//	              ├── host a: systemd, eth0 ──┐
//	              └── host b: systemd, eth0 ──┴── bridge
//
// Settings of the kernel that namespaces do not hold (all of /proc/sys but net) are copies, to which a host may write what it
// likes. There is no way out of the bridge: packages come from what apt has fetched before (see Fetch).
package lab
