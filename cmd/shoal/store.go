package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"shoal/store"
	"shoal/store/badger"
)

func newStore(t *terminal) *cobra.Command {
	cmd := &cobra.Command{Use: "store", Short: "Back up and restore what a node keeps of the mesh", Args: cobra.NoArgs}
	cmd.AddCommand(newStoreExport(t), newStoreImport(t))
	for _, c := range cmd.Commands() {
		c.Args = inputArgs(c.Args)
	}
	return cmd
}

// storeFlags name a data folder as the agent's flags do.
func storeFlags(cmd *cobra.Command) func() string {
	var root, dataDir string
	cmd.Flags().StringVar(&root, "root", "", "a folder, `DIR`, that stands for the machine")
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "the agent's data folder (default: ROOT"+defaultDataDir+")")
	return func() string {
		return filepath.Join(cmp.Or(dataDir, filepath.Join(cmp.Or(root, "/"), defaultDataDir)), "store")
	}
}

func newStoreExport(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export FILE",
		Short: "Write all that a stopped agent keeps of the mesh into a file",
		Long: `Write all that a stopped agent keeps of the mesh into a file: objects, heads, records, reports, with a checksum.

The node's key and its place in the mesh are not in it; copy node.key and standing from the data folder beside it. Nor are
journal and ledger, which belong to the machine.`,
		Args: cobra.ExactArgs(1),
	}
	dir := storeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := os.Stat(dir()); err != nil {
			return badInput("no store: %v", err)
		}
		kv, err := openStore(t, dir())
		if err != nil {
			return err
		}
		pairs, damaged, err := exportTo(cmd.Context(), kv, args[0])
		if err = errors.Join(err, kv.Close()); err != nil {
			return err
		}
		t.note("%d records and objects in %s", pairs, args[0])
		if damaged > 0 {
			t.note("%d damaged objects were left out; the mesh has copies", damaged)
		}
		return nil
	}
	return cmd
}

// exportTo writes beside the file and renames, so that the name never stands for half of an archive.
func exportTo(ctx context.Context, kv store.KV, name string) (pairs, damaged int, err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".shoal-export-")
	if err != nil {
		return 0, 0, badInput("%v", err)
	}
	pairs, damaged, err = store.Export(ctx, kv, f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return pairs, damaged, err
}

func newStoreImport(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Fill the empty store of a stopped agent from a file",
		Long: `Fill the empty store of a stopped agent from a file that store export wrote. The file is verified before anything is written.

What the node promised as an acceptor after the export is not in it: to its peers it is a disk that went back in time. So
import only what was exported just before, or where the node is to be a new one.`,
		Args: cobra.ExactArgs(1),
	}
	dir := storeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := os.Open(args[0])
		if err != nil {
			return badInput("%v", err)
		}
		defer f.Close() // it was only read
		if err := os.MkdirAll(filepath.Dir(dir()), 0o700); err != nil {
			return badInput("data folder: %v", err)
		}
		_, before := os.Stat(dir())
		kv, err := openStore(t, dir())
		if err != nil {
			return err
		}
		pairs, err := store.Import(cmd.Context(), kv, f)
		if err = errors.Join(err, kv.Close()); err != nil {
			if errors.Is(before, fs.ErrNotExist) { // what this command made alone
				err = errors.Join(err, os.RemoveAll(dir()))
			}
			return badInput("%v", err)
		}
		t.note("%d records and objects from %s", pairs, args[0])
		return nil
	}
	return cmd
}

func openStore(t *terminal, dir string) (store.KV, error) {
	kv, err := badger.Open(badger.Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(t.err, nil))})
	if err != nil {
		return nil, badInput("%v\n    the agent must be stopped", err)
	}
	return kv, nil
}
