package local

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// Facts reads what a machine is, once, as tags: os.name and os.version (os-release), os.hostname, hw.arch (as Go names
// it), hw.cpus and hw.memory_mb. A fact that cannot be read is absent.
func Facts(root string) map[string]string {
	facts := map[string]string{
		"hw.arch": runtime.GOARCH,
		"hw.cpus": strconv.Itoa(runtime.NumCPU()),
	}
	if name, err := os.Hostname(); err == nil {
		facts["os.hostname"] = name
	}
	release := osRelease(root)
	if len(release) == 0 {
		release = osRelease("/")
	}
	for fact, key := range map[string]string{"os.name": "ID", "os.version": "VERSION_ID"} {
		if v := release[key]; v != "" {
			facts[fact] = v
		}
	}
	if mb := memoryMB(); mb > 0 {
		facts["hw.memory_mb"] = strconv.FormatUint(mb, 10)
	}
	return facts
}

// osRelease parses the shell-like assignments of os-release(5).
func osRelease(root string) map[string]string {
	data, err := os.ReadFile(filepath.Join(root, "/etc/os-release"))
	if err != nil {
		return nil
	}
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			out[key] = strings.Trim(value, `"'`)
		}
	}
	return out
}

// memoryMB is MemTotal of proc(5) in MiB, 0 when unknown.
func memoryMB() uint64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for scanner := bufio.NewScanner(bytes.NewReader(data)); scanner.Scan(); {
		fields := strings.Fields(scanner.Text())
		if len(fields) >= 2 && fields[0] == "MemTotal:" {
			kb, _ := strconv.ParseUint(fields[1], 10, 64)
			return kb >> 10
		}
	}
	return 0
}
