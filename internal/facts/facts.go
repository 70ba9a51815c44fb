// Package facts makes the tags that say what a machine is from what the machine itself says, whoever has read that.
package facts

import (
	"strconv"
	"strings"
)

// Source is what a machine says of itself. What could not be read is empty.
type Source struct {
	Arch      string // as Go names it
	Hostname  string
	CPUs      int
	OSRelease []byte // os-release(5)
	Meminfo   []byte // /proc/meminfo of proc(5)
}

// Tags are os.name, os.version, os.hostname, hw.arch, hw.cpus and hw.memory_mb. A fact that is not known is absent.
func (s Source) Tags() map[string]string {
	tags := map[string]string{}
	put := func(name, value string) {
		if value != "" {
			tags[name] = value
		}
	}
	put("hw.arch", s.Arch)
	put("os.hostname", s.Hostname)
	if s.CPUs > 0 {
		put("hw.cpus", strconv.Itoa(s.CPUs))
	}
	release := assignments(s.OSRelease)
	put("os.name", release["ID"])
	put("os.version", release["VERSION_ID"])
	if mb := memoryMB(s.Meminfo); mb > 0 {
		put("hw.memory_mb", strconv.FormatUint(mb, 10))
	}
	return tags
}

// assignments parses what a shell would take for such.
func assignments(data []byte) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			out[key] = strings.Trim(value, `"'`)
		}
	}
	return out
}

// memoryMB is MemTotal in MiB, 0 when unknown.
func memoryMB(meminfo []byte) uint64 {
	for line := range strings.Lines(string(meminfo)) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == "MemTotal:" {
			kb, _ := strconv.ParseUint(fields[1], 10, 64)
			return kb >> 10
		}
	}
	return 0
}
