package fake

import (
	"context"
	"errors"
	"slices"

	"shoal/executor"
)

// Host is a machine in memory.
type Host struct {
	*Files
	*Commands
	*Packages
	*Services
	*Accounts
	*Web
}

var _ executor.Host = (*Host)(nil)

// New makes an empty machine: the root folder, and root.
func New() *Host {
	h := &Host{Files: NewFiles(), Commands: &Commands{}, Packages: NewPackages(), Services: NewServices(), Accounts: NewAccounts()}
	h.Web = NewWeb(h.Files)
	h.UnitFiles = func() []string { return UnitFiles(h) }
	return h
}

// UnitFiles lists what an administrator's folder of units holds, for Services.UnitFiles.
func UnitFiles(files executor.Files) []string {
	names, err := files.ReadDir("/etc/systemd/system")
	if err != nil {
		return nil // no folder, no units
	}
	return slices.DeleteFunc(names, func(name string) bool { return executor.UnitName(name) != name })
}

// Commands plays processes.
type Commands struct {
	// Exec runs a command; nil: see exec.
	Exec func(executor.Command) (executor.Exit, error)
}

// Path is the same: commands see what files see.
func (c *Commands) Path(name string) string { return name }

// Run calls Exec.
func (c *Commands) Run(ctx context.Context, cmd executor.Command) (executor.Exit, error) {
	if ctx.Err() != nil {
		return executor.Exit{}, context.Cause(ctx)
	}
	if len(cmd.Argv) == 0 {
		return executor.Exit{}, errors.New("run: empty command")
	}
	if c.Exec == nil {
		return exec(cmd), nil
	}
	return c.Exec(cmd)
}
