package ssh

import (
	"context"
	"fmt"
	"time"

	"shoal/executor"
)

// noPackages is a machine whose package manager is not used from here.
type noPackages struct{}

func (noPackages) Installed(context.Context, []string) ([]executor.Package, error) {
	return nil, fmt.Errorf("packages: %w", ErrNeedsProgram)
}

func (noPackages) Leftovers(context.Context, []string) ([]string, error) {
	return nil, fmt.Errorf("packages: %w", ErrNeedsProgram)
}

func (noPackages) PurgePackages(context.Context, []string) error {
	return fmt.Errorf("packages: %w", ErrNeedsProgram)
}

func (noPackages) Available(context.Context, string, string) (string, bool, error) {
	return "", false, fmt.Errorf("packages: %w", ErrNeedsProgram)
}

func (noPackages) SimulatePackages(context.Context, []executor.Package, []string) ([]executor.PackageChange, error) {
	return nil, fmt.Errorf("packages: %w", ErrNeedsProgram)
}

func (noPackages) ChangePackages(context.Context, []executor.Package, []string) error {
	return fmt.Errorf("packages: %w", ErrNeedsProgram)
}

func (noPackages) SetHold(context.Context, string, bool) error {
	return fmt.Errorf("packages: %w", ErrNeedsProgram)
}

func (noPackages) RefreshPackages(context.Context, string, time.Duration) error {
	return fmt.Errorf("packages: %w", ErrNeedsProgram)
}

// noServices is a machine with no service manager that is used from here, or a folder that stands for one.
type noServices struct{}

func (noServices) Unit(context.Context, string) (executor.Unit, error) {
	return executor.Unit{}, fmt.Errorf("services: %w", ErrNeedsProgram)
}

func (noServices) StartUnit(context.Context, string) error {
	return fmt.Errorf("services: %w", ErrNeedsProgram)
}

func (noServices) StopUnit(context.Context, string) error {
	return fmt.Errorf("services: %w", ErrNeedsProgram)
}

func (noServices) RestartUnit(context.Context, string) error {
	return fmt.Errorf("services: %w", ErrNeedsProgram)
}

func (noServices) ReloadUnit(context.Context, string) error {
	return fmt.Errorf("services: %w", ErrNeedsProgram)
}

func (noServices) EnableUnit(context.Context, string, bool) error {
	return fmt.Errorf("services: %w", ErrNeedsProgram)
}

func (noServices) MaskUnit(context.Context, string, bool) error {
	return fmt.Errorf("services: %w", ErrNeedsProgram)
}

func (noServices) ReloadManager(context.Context) error {
	return fmt.Errorf("services: %w", ErrNeedsProgram)
}

// noFetcher: what a machine fetches it fetches by itself, and a shell has no tool for it that is everywhere.
type noFetcher struct{}

func (noFetcher) Fetch(context.Context, executor.Request, string, executor.Meta) (string, error) {
	return "", fmt.Errorf("fetch: %w", ErrNeedsProgram)
}
