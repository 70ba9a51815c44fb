// Package local is the executor's Host on this machine, below a root folder where one is given, and what a run keeps on
// its disk: journal, ledger, old contents, hash cache and lock.
package local

import (
	"shoal/executor"
	"shoal/internal/fetch"
)

// Options of a Host.
type Options struct {
	// Root is the folder that stands for /; empty or "/": the machine itself.
	Root string
	// DataDir holds the hash cache; empty: none is kept beyond this process.
	DataDir string
}

// Host is this machine. Packages, Services and Accounts may be replaced before use, by fakes or by those of another
// package manager.
type Host struct {
	*Files
	*Commands
	executor.Packages
	executor.Services
	executor.Accounts
	executor.Fetcher
}

var _ executor.Host = (*Host)(nil)

// New opens the machine. Close it.
func New(o Options) (*Host, error) {
	files, err := newFiles(o)
	if err != nil {
		return nil, err
	}
	return &Host{Files: files, Commands: newCommands(files), Fetcher: NewFetcher(files, fetch.NewClient())}, nil
}

// Close releases the root folder.
func (h *Host) Close() error { return h.Files.Close() }
