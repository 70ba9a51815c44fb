// Package file holds the functions that make files, folders and symlinks what they should be. None of them changes a file
// in place, and each puts back what was there.
package file

import (
	"context"

	"shoal/executor"
	"shoal/internal/hostfile"
)

// Modules are all functions of this package.
func Modules() []executor.Module {
	return []executor.Module{Managed{}, Directory{}, Symlink{}, Absent{}, Edit{}, Tree{}, Assemble{}}
}

// capture, revert and revertDiff are those of all functions about one path, so that one can take over from another.
func capture(h executor.Host, p executor.Params, deep, bare bool) (executor.Undo, error) {
	name, err := hostfile.PathOf(p)
	if err != nil {
		return executor.Undo{}, err
	}
	return hostfile.Capture(h, name, deep, bare)
}

func revert(_ context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	name, err := hostfile.PathOf(p)
	if err != nil {
		return err
	}
	return hostfile.Revert(h, name, u)
}

func revertDiff(h executor.Host, p executor.Params, u executor.Undo) string {
	name, err := hostfile.PathOf(p)
	if err != nil {
		return ""
	}
	return hostfile.RevertDiff(h, name, u)
}
