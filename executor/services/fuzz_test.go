package services

import "testing"

// FuzzOutputs: what the service managers print.
func FuzzOutputs(f *testing.F) {
	f.Add("Runlevel: default\n sshd [ started ]\n", "sshd")
	f.Add("lrwxrwxrwx 1 root root 14 Jan 1 S01ssh -> ../init.d/ssh\n", "ssh")
	f.Fuzz(func(t *testing.T, text, name string) {
		if n := len(parseRunlevel(text)); n > len(text) {
			t.Errorf("%d names in %d bytes", n, len(text))
		}
		parseLinks(text, name)
	})
}
