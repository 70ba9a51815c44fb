package main

import (
	"github.com/spf13/cobra"

	"shoal/executor"
	"shoal/executor/remote"
	"shoal/states"
	"shoal/states/disk"
)

func newApply(t *terminal) *cobra.Command {
	var (
		name, zone, root, data, order string
		inventory                     string
		tags                          []string
		elsewhere                     sshOptions
	)
	cmd := &cobra.Command{
		Use:   "apply TREE",
		Short: "Make this machine match a tree, with no agent and no mesh",
		Long: `Make this machine match a tree, with no agent and no mesh.

The run is one transaction: when a state fails, what was changed is put back (exit status 1; 4 when that was incomplete, and
it says what is left). What a later tree no longer names is undone. shoal plan shows beforehand what would happen.

With --root a folder stands for the machine, to try things out; commands still run on this machine.

With --ssh it is done on other machines, many at a time. This program is copied there (once, by its hash, into ~/.cache/shoal) and
does the work; where that is refused, it is done from here, state by state. The tree stays here. --json then prints a list, and the
exit status is the worst of all.`,
		Example: `  shoal apply mytree --tag role=web --root /tmp/box
  shoal apply mytree --tag role=web
  shoal apply mytree --ssh deploy@web-1 --ssh deploy@web-2 --sudo`,
		Args: cobra.ExactArgs(1),
	}
	hereFlags(cmd, &name, &zone, &tags, &root, &data, &order)
	inventoryFlag(cmd, &inventory)
	sshFlags(cmd, &elsewhere)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOrder(order); err != nil {
			return err
		}
		if elsewhere.wanted() {
			elsewhere.kind, elsewhere.name, elsewhere.zone, elsewhere.tags = remote.Apply, name, zone, tags
			elsewhere.root, elsewhere.data, elsewhere.order, elsewhere.inventory = root, data, order, inventory
			return t.overSSH(cmd.Context(), args[0], elsewhere)
		}
		tree, err := disk.Open(args[0])
		if err != nil {
			return badInput("%v", err)
		}
		node, fleet, err := hereNode(name, zone, tags, root, inventory, tree)
		if err != nil {
			return err
		}
		dir := dataDir(data, root)
		plan, contents, err := compileCached(args[0], tree, states.Input{Node: node, Fleet: fleet, Order: states.Order(order)}, dir)
		if err != nil {
			return err
		}
		if err := makeFolders(root, dir); err != nil {
			return err
		}
		m, err := openMachine(root, dir)
		if err != nil {
			return err
		}
		report := m.engine.Apply(cmd.Context(), plan, contents, executor.RunMeta{Resolver: states.NewLate(tree, plan)})
		if err := m.close(); err != nil {
			return err
		}
		return t.finish(report)
	}
	return cmd
}

// finish prints a run's report and turns its result into the exit status.
func (t *terminal) finish(r executor.Report) error {
	if t.json {
		if err := t.printJSON(r); err != nil {
			return err
		}
	} else {
		t.printReport(r, false)
	}
	if status := resultStatus(r.Result); status != exitDone {
		return &exitError{status: status}
	}
	return nil
}

func newRecover(t *terminal) *cobra.Command {
	var root, data, inventory string
	var elsewhere sshOptions
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Roll back an interrupted run and exit (an agent and apply do that by themselves)",
		Long: `Roll back an interrupted run and exit. An agent does that by itself when it starts, and so does apply before its own run.

With --ssh it is done on other machines, such as one that was worked on with --ssh-mode=plain when the connection broke.`,
		Example: `  shoal recover
  shoal recover --ssh deploy@web-1 --sudo`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&root, "root", "", "the folder that stands for the machine")
	cmd.Flags().StringVar(&data, "data-dir", "", "journal and ledger (default: ROOT"+defaultDataDir+")")
	inventoryFlag(cmd, &inventory)
	sshFlags(cmd, &elsewhere)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if elsewhere.wanted() {
			elsewhere.root, elsewhere.data, elsewhere.inventory = root, data, inventory
			return t.recoverOverSSH(cmd.Context(), elsewhere)
		}
		m, err := openMachine(root, dataDir(data, root))
		if err != nil {
			return err
		}
		report, interrupted, err := m.engine.Recover(cmd.Context())
		if closeErr := m.close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return err
		}
		if !interrupted {
			if t.json {
				return t.printJSON(report)
			}
			t.note("no run was interrupted: nothing to do")
			return nil
		}
		if report.Result == executor.RolledBackRun {
			if t.json {
				return t.printJSON(report)
			}
			t.printReport(report, false)
			return nil // rolling back is what was asked for
		}
		return t.finish(report)
	}
	return cmd
}
