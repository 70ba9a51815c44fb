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
