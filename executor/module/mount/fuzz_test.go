package mount

import "testing"

// FuzzAt: a mount as the kernel writes it; names are what users made them.
func FuzzAt(f *testing.F) {
	f.Add("/dev/sda1 / ext4 rw,relatime 0 0")
	f.Add(`/dev/sda1 /mnt/a\040b ext4 rw 0 0`)
	f.Fuzz(func(_ *testing.T, line string) { parseAt(line) })
}
