package doccheck

import (
	"shoal/executor"
	"shoal/executor/module/cmd"
	"shoal/executor/module/cron"
	"shoal/executor/module/file"
	"shoal/executor/module/group"
	"shoal/executor/module/hostname"
	"shoal/executor/module/kmod"
	"shoal/executor/module/mount"
	"shoal/executor/module/pkg"
	"shoal/executor/module/pkgrepo"
	"shoal/executor/module/service"
	"shoal/executor/module/sshkey"
	"shoal/executor/module/sysctl"
	"shoal/executor/module/timer"
	"shoal/executor/module/timezone"
	"shoal/executor/module/user"
	"shoal/states"
)

// node is the one that the page's trees are compiled for.
var node = states.Node{Name: "web-1", Zone: "a", Tags: map[string]string{
	"role": "web", "dc": "fra", "os.name": "debian", "os.version": "12", "os.hostname": "web-1",
	"hw.arch": "amd64", "hw.cpus": "2", "hw.memory_mb": "4096",
}}

// functions are those of the binary: cmd/shoal/modules.go has the same list.
func functions() []states.Function {
	var all []states.Function
	for _, some := range [][]executor.Module{
		file.Modules(), cmd.Modules(), pkg.Modules(), service.Modules(), user.Modules(), group.Modules(),
		pkgrepo.Modules(), sysctl.Modules(), kmod.Modules(), mount.Modules(), hostname.Modules(), timezone.Modules(), sshkey.Modules(),
		cron.Modules(), timer.Modules(),
	} {
		for _, m := range some {
			all = append(all, m.Function())
		}
	}
	return all
}
