package fake

import (
	"context"
	"errors"

	"shoal/executor"
)

// Host is a machine in memory.
type Host struct {
	*Files
	*Commands
	*Packages
	*Services
	*Accounts
}

var _ executor.Host = (*Host)(nil)

// New makes an empty machine: the root folder, and root.
func New() *Host {
	return &Host{Files: NewFiles(), Commands: &Commands{}, Packages: NewPackages(), Services: NewServices(), Accounts: NewAccounts()}
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
