package ssh

import "testing"

// FuzzStat: lines that the shell of a machine printed, which may be in wrong hands.
func FuzzStat(f *testing.F) {
	f.Add("81a4 0 0 12 1700000000.5 1700000000.5 1 2 /etc/x")
	f.Add("")
	f.Fuzz(func(t *testing.T, line string) {
		if st, err := parseStat(line); err == nil && st.Size < 0 {
			t.Errorf("%q has %d bytes", line, st.Size)
		}
	})
}

// FuzzXattrs: what getfattr of a machine printed, which may be in wrong hands.
func FuzzXattrs(f *testing.F) {
	f.Add("# file: /etc/x\nuser.a=0x00ff\nsecurity.capability=0x\nuser.b\\040c=0x41\n")
	f.Add("user.a")
	f.Fuzz(func(t *testing.T, said string) {
		attrs, err := parseXattrs(said)
		size := 0
		for _, value := range attrs {
			size += len(value)
		}
		if err == nil && 2*size > len(said) {
			t.Errorf("%d bytes out of %d digits", size, len(said))
		}
	})
}
