package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// self is the running binary, also when its file was replaced meanwhile, and where a user without rights may not look.
const self = "/proc/self/exe"

// Become replaces the process, which must be root, by args of the same binary as another user: without groups, capabilities
// or the way to get any, and without open files from number files on. It returns only when that failed. The rights of Linux belong to threads, and the new program begins with
// those of the thread that calls it, so that none is forgotten.
func Become(uid, gid, files int, args, env []string) error {
	if uid <= 0 || gid <= 0 {
		return fmt.Errorf("become user %d, group %d: not one without rights", uid, gid)
	}
	if err := unix.CloseRange(uint(files), ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close what was inherited: %w", err)
	}
	runtime.LockOSThread() // never unlocked: a thread that cannot go on must not go back
	for c := uintptr(0); ; c++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) && c > 0 {
			break // no more of them
		}
		if err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	for _, step := range []struct {
		what string
		call uintptr
		args [3]uintptr
	}{
		{"give up groups", unix.SYS_SETGROUPS, [3]uintptr{}},
		{"change the group", unix.SYS_SETRESGID, [3]uintptr{uintptr(gid), uintptr(gid), uintptr(gid)}},
		{"change the user", unix.SYS_SETRESUID, [3]uintptr{uintptr(uid), uintptr(uid), uintptr(uid)}},
	} {
		if _, _, errno := syscall.RawSyscall(step.call, step.args[0], step.args[1], step.args[2]); errno != 0 {
			return fmt.Errorf("%s: %w", step.what, errno)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	return fmt.Errorf("start as user %d: %w", uid, syscall.Exec(self, args, env))
}

// Confine ends what Become began, in the new program: it makes sure that there are no rights, and lets the kernel refuse all calls that
// the mesh's side has no use for, on every thread.
func Confine() error {
	if os.Getuid() == 0 || os.Geteuid() == 0 {
		return errors.New("confine: still root")
	}
	var head = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	for _, d := range data {
		if d.Effective|d.Permitted|d.Inheritable != 0 {
			return errors.New("confine: there are capabilities left")
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("confine: no new privileges: %w", err)
	}
	// No core dump shows the key, and no other process of this user looks into the memory.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	program := filter()
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	// With TSYNC the filter, and that there are no new privileges, is put on all threads in one step.
	_, _, errno := syscall.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return fmt.Errorf("confine: seccomp: %w", errno)
	}
	return nil
}
