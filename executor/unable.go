package executor

import (
	"context"
	"fmt"
	"time"
)

// NoPackages is a machine whose package manager cannot be used, and why.
type NoPackages struct{ Why error }

// Installed implements Packages.
func (n NoPackages) Installed(context.Context, []string) ([]Package, error) {
	return nil, fmt.Errorf("packages: %w", n.Why)
}

// Leftovers implements Packages.
func (n NoPackages) Leftovers(context.Context, []string) ([]string, error) {
	return nil, fmt.Errorf("packages: %w", n.Why)
}

// PurgePackages implements Packages.
func (n NoPackages) PurgePackages(context.Context, []string) error {
	return fmt.Errorf("packages: %w", n.Why)
}

// Available implements Packages.
func (n NoPackages) Available(context.Context, string, string) (string, bool, error) {
	return "", false, fmt.Errorf("packages: %w", n.Why)
}

// SimulatePackages implements Packages.
func (n NoPackages) SimulatePackages(context.Context, []Package, []string) ([]PackageChange, error) {
	return nil, fmt.Errorf("packages: %w", n.Why)
}

// ChangePackages implements Packages.
func (n NoPackages) ChangePackages(context.Context, []Package, []string) error {
	return fmt.Errorf("packages: %w", n.Why)
}

// SetHold implements Packages.
func (n NoPackages) SetHold(context.Context, string, bool) error {
	return fmt.Errorf("packages: %w", n.Why)
}

// RefreshPackages implements Packages.
func (n NoPackages) RefreshPackages(context.Context, string, time.Duration) error {
	return fmt.Errorf("packages: %w", n.Why)
}

// NoServices is a machine with no service manager that can be used, or a folder that stands for one, and why.
type NoServices struct{ Why error }

// Unit implements Services.
func (n NoServices) Unit(context.Context, string) (Unit, error) {
	return Unit{}, fmt.Errorf("services: %w", n.Why)
}

// StartUnit implements Services.
func (n NoServices) StartUnit(context.Context, string) error {
	return fmt.Errorf("services: %w", n.Why)
}

// StopUnit implements Services.
func (n NoServices) StopUnit(context.Context, string) error {
	return fmt.Errorf("services: %w", n.Why)
}

// RestartUnit implements Services.
func (n NoServices) RestartUnit(context.Context, string) error {
	return fmt.Errorf("services: %w", n.Why)
}

// ReloadUnit implements Services.
func (n NoServices) ReloadUnit(context.Context, string) error {
	return fmt.Errorf("services: %w", n.Why)
}

// EnableUnit implements Services.
func (n NoServices) EnableUnit(context.Context, string, bool) error {
	return fmt.Errorf("services: %w", n.Why)
}

// MaskUnit implements Services.
func (n NoServices) MaskUnit(context.Context, string, bool) error {
	return fmt.Errorf("services: %w", n.Why)
}

// ReloadManager implements Services.
func (n NoServices) ReloadManager(context.Context) error {
	return fmt.Errorf("services: %w", n.Why)
}
