package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"shoal/executor"
	"shoal/executor/local"
	"shoal/executor/packages"
	"shoal/executor/services"
)

// packageManager is the one that the machine has: the first of these whose command is there, and where none is, PackageKit on
// the bus. Below a root folder it is that of Debian, which can read there.
func packageManager(host *local.Host, root string, run local.Tools, tell packages.Waiting) executor.Packages {
	if root != "" && root != "/" {
		return packages.NewAptBelow(host.Files)
	}
	clock := local.Clock{}
	if p := commandPackages(has, host.Files, run, clock, tell); p != nil {
		return p
	}
	kit := packages.NewPackageKit(local.SystemBus, clock, tell)
	if exists(systemBus) && kit.There(context.Background()) {
		return kit
	}
	return executor.NoPackages{Why: errNoPackages}
}

// systemBus is where the bus of a machine listens.
const systemBus = "/run/dbus/system_bus_socket"

var errNoPackages = errors.New("this machine has no package manager that is known: no apt-get, dnf, zypper, apk or pacman, and no PackageKit")

// commandPackages is a package manager that is used through its commands; nil where there is none.
func commandPackages(has func(tool string) bool, files packages.Files, run packages.Runner, clock packages.Clock, tell packages.Waiting) executor.Packages {
	switch {
	case has("apt-get"):
		return packages.NewApt(files, run, clock, tell)
	case has("dnf"):
		return packages.NewDnf(run, clock, tell)
	case has("zypper"):
		return packages.NewZypper(run, clock, tell)
	case has("apk"):
		return packages.NewApk(run, clock, tell)
	case has("pacman"):
		return packages.NewPacman(run, clock, tell)
	}
	return nil
}

// tellWait says on standard error that another package manager is at work.
func tellWait(w packages.Wait) { fmt.Fprintf(os.Stderr, "shoal: %s\n", w) }

// serviceManager is systemd wherever that is installed, also where it does not run now: to go round it would leave it out of
// step.
func serviceManager(root string, run local.Tools) executor.Services {
	systemd := local.NewSystemd(root)
	switch {
	case root != "" && root != "/", exists("/run/systemd/system"), exists("/lib/systemd/systemd"), exists("/usr/lib/systemd/systemd"):
		return systemd
	case has("rc-service"):
		return services.NewOpenRC(run)
	case has("update-rc.d") && exists("/etc/init.d"):
		return services.NewSysV(run)
	}
	return systemd
}

func has(tool string) bool {
	_, err := exec.LookPath(tool)
	return err == nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
