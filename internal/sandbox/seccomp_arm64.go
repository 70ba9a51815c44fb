package sandbox

import "golang.org/x/sys/unix"

const arch = unix.AUDIT_ARCH_AARCH64

// forbiddenHere are the calls that only this architecture has.
var forbiddenHere = []uint32{unix.SYS_KEXEC_FILE_LOAD}
