package main

import (
	"fmt"
	"os"
	"os/exec"
	"time"

	"shoal/executor"
	"shoal/executor/local"
	"shoal/executor/packages"
	"shoal/executor/services"
)

// packageManager is the one that the machine has. Below a root folder it is that of Debian, which can read there.
func packageManager(root string) executor.Packages {
	if root != "" && root != "/" || has("apt-get") {
		return local.NewApt(root)
	}
	switch {
	case has("dnf"):
		return packages.NewDnf(local.Tools{}, local.Clock{}, tellWait)
	case has("zypper"):
		return packages.NewZypper(local.Tools{}, local.Clock{})
	case has("apk"):
		return packages.NewApk(local.Tools{}, local.Clock{})
	case has("pacman"):
		return packages.NewPacman(local.Tools{}, local.Clock{}, tellWait)
	}
	return local.NewApt(root) // whose errors say that there is none
}

// tellWait says on standard error that another package manager is at work.
func tellWait(argv []string, since time.Duration) {
	fmt.Fprintf(os.Stderr, "shoal: %s waits for another package manager (%s)\n", argv[0], since.Round(time.Second))
}

// serviceManager is systemd wherever that is installed, also where it does not run now: to go round it would leave it out of
// step.
func serviceManager(root string) executor.Services {
	systemd := local.NewSystemd(root)
	switch {
	case root != "" && root != "/", exists("/run/systemd/system"), exists("/lib/systemd/systemd"), exists("/usr/lib/systemd/systemd"):
		return systemd
	case has("rc-service"):
		return services.NewOpenRC(local.Tools{})
	case has("update-rc.d") && exists("/etc/init.d"):
		return services.NewSysV(local.Tools{})
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
