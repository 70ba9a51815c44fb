// Package builtin is the one list of what states may say without an extension: every module that is part of shoal.
package builtin

import (
	"shoal/executor"
	"shoal/executor/module/archive"
	cmdmodule "shoal/executor/module/cmd"
	"shoal/executor/module/cron"
	"shoal/executor/module/download"
	"shoal/executor/module/file"
	"shoal/executor/module/git"
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

// Modules are all of them.
func Modules() []executor.Module {
	var all []executor.Module
	for _, some := range [][]executor.Module{
		file.Modules(), cmdmodule.Modules(), pkg.Modules(), service.Modules(), user.Modules(), group.Modules(), sshkey.Modules(),
		cron.Modules(), timer.Modules(), download.Modules(), archive.Modules(), git.Modules(),
		pkgrepo.Modules(), sysctl.Modules(), kmod.Modules(), mount.Modules(), hostname.Modules(), timezone.Modules(),
	} {
		all = append(all, some...)
	}
	return all
}

// Functions describes the modules to the compiler.
func Functions() []states.Function {
	var all []states.Function
	for _, m := range Modules() {
		all = append(all, m.Function())
	}
	return all
}
