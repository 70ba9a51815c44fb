package main

import (
	"context"
	"io/fs"
	"time"

	"shoal/executor"
	"shoal/executor/local"
	"shoal/states"
)

// machine is this host, or the folder that stands for it, with what a run keeps on its disk.
type machine struct {
	host   *local.Host
	engine *executor.Engine
}

// openMachine opens the host below root with its journal and ledger in dataDir. readOnly is for a plan: nothing is made.
func openMachine(root, dataDir string, readOnly bool) (*machine, error) {
	host, err := local.New(local.Options{Root: root, DataDir: dataDir, ReadOnly: readOnly})
	if err != nil {
		return nil, err
	}
	return &machine{host: host, engine: executor.NewEngine(host, modules(), host.Keep(), time.Now)}, nil
}

func (m *machine) close() error { return m.host.Close() }

// contents opens what a plan names: rendered bytes of the plan itself, or a file of the tree.
func contents(plan *states.Plan, tree fs.FS) executor.Contents {
	return executor.PlanContents(plan, tree)
}

// apply runs plan whole.
func (m *machine) apply(ctx context.Context, plan *states.Plan, tree fs.FS, of executor.Of) executor.Report {
	return m.engine.Apply(ctx, plan, contents(plan, tree), of)
}
