package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"shoal/executor"
	"shoal/executor/local"
	"shoal/executor/packages"
	"shoal/executor/wasm"
	"shoal/internal/datafile"
)

// machine is this host, or the folder that stands for it, with what a run keeps on its disk.
type machine struct {
	host   *local.Host
	data   *local.Data
	loader *wasm.Loader
	engine *executor.Engine
}

// openMachine opens the host below root, with its journal and ledger in dataDir. It makes nothing: a plan leaves no trace.
func openMachine(root, dataDir string) (*machine, error) {
	return openMachineFor(root, dataDir, tellWait)
}

// openMachineFor tells somebody when another package manager is waited for.
func openMachineFor(root, dataDir string, tell packages.Waiting) (*machine, error) {
	host, err := local.New(local.Options{Root: root, DataDir: dataDir})
	if err != nil {
		return nil, err
	}
	tools := local.Tools{Lock: filepath.Join(dataDir, datafile.Tools)}
	host.Packages = packageManager(host, root, tools, tell)
	host.Services = serviceManager(root, tools)
	host.Accounts = local.NewAccounts(root)
	data := local.OpenData(dataDir)
	loader := &wasm.Loader{CacheDir: compiledDir(dataDir)}
	return &machine{host: host, data: data, loader: loader, engine: &executor.Engine{
		Host: host, Modules: executor.Catalogue(modules()...), Loader: loader,
		Journal: data, Ledger: data, Vault: data, Lock: data, Clock: local.Clock{}, Outlived: tools.Outlived, Workers: 2 * runtime.NumCPU(),
	}}, nil
}

// compiledDir is where compiled extension modules are kept: in a data folder that is there already, since a plan makes none.
func compiledDir(dataDir string) string {
	if _, err := os.Stat(dataDir); err != nil {
		return ""
	}
	return filepath.Join(dataDir, "compiled")
}

// makeFolders makes the folder that stands for the machine, and the data folder below it, which is for its owner alone.
func makeFolders(root, dataDir string) error {
	if root != "" {
		if err := os.MkdirAll(root, 0o755); err != nil {
			return badInput("root folder: %v", err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(dataDir), 0o755); err != nil {
		return badInput("data folder: %v", err)
	}
	if err := os.Mkdir(dataDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return badInput("data folder: %v", err)
	}
	return nil
}

// checkMachine is openMachine for a plan. A root folder that is not there yet is looked at as the empty folder that apply
// would make.
func checkMachine(root, dataDir string) (m *machine, done func() error, err error) {
	if _, err := os.Lstat(root); root == "" || !errors.Is(err, fs.ErrNotExist) {
		m, err := openMachine(root, dataDir)
		if err != nil {
			return nil, nil, err
		}
		return m, m.close, nil
	}
	empty, err := os.MkdirTemp("", "shoal-plan-")
	if err != nil {
		return nil, nil, err
	}
	if m, err = openMachine(empty, filepath.Join(empty, "data")); err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(empty))
	}
	return m, func() error { return errors.Join(m.close(), os.RemoveAll(empty)) }, nil
}

func (m *machine) close() error { return errors.Join(m.loader.Close(), m.data.Close(), m.host.Close()) }
