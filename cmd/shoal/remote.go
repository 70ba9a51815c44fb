package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"shoal/executor"
	"shoal/executor/local"
	"shoal/executor/packages"
	"shoal/executor/remote"
)

// newRemote is what apply --ssh starts on the other machine. It is for no person: it speaks on its standard input and output.
func newRemote() *cobra.Command {
	var root, data string
	cmd := &cobra.Command{Use: "remote", Hidden: true, Args: inputArgs(cobra.NoArgs)}
	cmd.Flags().StringVar(&root, "root", "", "the folder that stands for the machine")
	cmd.Flags().StringVar(&data, "data-dir", "", "journal and ledger")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		// When the operator is gone there is still a run to be rolled back: writing to nobody must not end it.
		signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP)
		hello := remote.Hello{Version: version, Facts: local.Facts(root)}
		in, out := os.Stdin, os.Stdout
		return remote.Work(cmd.Context(), in, io.Writer(out), hello, func(ctx context.Context, j remote.Job) (executor.Report, bool, error) {
			return workOn(ctx, j, root, dataDir(data, root))
		})
	}
	return cmd
}

// workOn does one job on this machine.
func workOn(ctx context.Context, j remote.Job, root, dir string) (report executor.Report, found bool, err error) {
	open := func() (*machine, func() error, error) {
		m, err := openMachineFor(root, dir, func(w packages.Wait) { j.Note(w.String()) })
		if err != nil {
			return nil, nil, err
		}
		return m, m.close, nil
	}
	switch j.Kind {
	case remote.Check:
		open = func() (*machine, func() error, error) { return checkMachine(root, dir) }
	case remote.Apply:
		if err := makeFolders(root, dir); err != nil {
			return report, false, err
		}
	}
	m, done, err := open()
	if err != nil {
		return report, false, err
	}
	switch j.Kind {
	case remote.Check:
		report = m.engine.Check(ctx, j.Plan, j.Contents, j.Meta)
	case remote.Apply:
		report = m.engine.Apply(ctx, j.Plan, j.Contents, j.Meta)
	case remote.Recover:
		report, found, err = m.engine.Recover(ctx)
	}
	if closeErr := done(); err == nil {
		err = closeErr
	}
	return report, found, err
}
