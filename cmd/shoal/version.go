package main

import (
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"shoal/ring"
)

// version is set by the linker; a plain go build shows the commit that the toolchain recorded.
var version = "0.1.0-dev"

// formats are the versions of what lies on disks and travels between nodes.
var formats = map[string]int{"revision": 1, "manifest": 1, "message": 1, "journal": 1, "ledger": 1}

func newVersion(t *terminal) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Version, commit, formats and placement",
		Args:  inputArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			placement := ring.NewToken(nil).Version()
			if t.json {
				return t.printJSON(map[string]any{"version": version, "commit": commit(), "formats": formats, "placement": placement})
			}
			t.printf("shoal %s (commit %s)\n", version, commit())
			t.printf("formats: revision 1, manifest 1, message 1, journal 1, ledger 1\nplacement: %s\n", placement)
			return nil
		},
	}
}

func commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return s.Value[:12]
			}
		}
	}
	return "unknown"
}

func newMan(*terminal) *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the man pages into a folder",
		Example: `  shoal man /usr/local/share/man/man1`,
		Args:    inputArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			return doc.GenManTree(cmd.Root(), &doc.GenManHeader{Title: "SHOAL", Section: "1", Source: "shoal " + version}, args[0])
		},
	}
}
