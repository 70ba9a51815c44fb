package local

import (
	"os"
	"path/filepath"
	"runtime"

	"shoal/internal/facts"
)

// Facts reads what a machine is, once, as tags. The os-release(5) is that of the root folder, where it has one.
func Facts(root string) map[string]string {
	s := facts.Source{Arch: runtime.GOARCH, CPUs: runtime.NumCPU()}
	s.Hostname, _ = os.Hostname() // a fact that cannot be read is absent
	var err error
	if s.OSRelease, err = os.ReadFile(filepath.Join(root, "/etc/os-release")); err != nil || len(s.OSRelease) == 0 {
		s.OSRelease, _ = os.ReadFile("/etc/os-release")
	}
	s.Meminfo, _ = os.ReadFile("/proc/meminfo")
	return s.Tags()
}
