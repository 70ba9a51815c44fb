package main

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

// modules is the one list of what states may say.
func modules() []executor.Module {
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

// functions describes the modules to the compiler.
func functions() []states.Function {
	var all []states.Function
	for _, m := range modules() {
		all = append(all, m.Function())
	}
	return all
}
