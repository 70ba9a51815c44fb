package main

import (
	"bytes"
	"context"
	"io/fs"
	"slices"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"shoal/executor"
	"shoal/mesh/api"
	"shoal/states"
	"shoal/store"
)

func newDiff(t *terminal) *cobra.Command {
	var env string
	cmd := &cobra.Command{
		Use:   "diff REV REV",
		Short: "What changed between two revisions of an environment",
		Long: `What changed between two revisions of an environment, file by file. REV is a version, or the first six digits or more of a
revision's hash; shoal log lists both. Of a secret it shows that it changed, and not what it is.`,
		Example: `  shoal diff 41 42`,
		Args:    cobra.ExactArgs(2),
	}
	connect := nodeFlag(cmd)
	cmd.Flags().StringVar(&env, "env", "production", "the environment")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		changes, err := diffRevisions(cmd.Context(), connect(), env, args[0], args[1])
		if err != nil || t.json {
			return orJSON(t, changes, err)
		}
		for _, c := range changes {
			t.printf("%s %s\n%s", t.paint(bold, c.Change), c.Path, t.paintDiff(c.Diff))
		}
		if len(changes) == 0 {
			t.printf("no difference\n")
		}
		return nil
	}
	return cmd
}

// fileChange is one file that differs between two trees.
type fileChange struct {
	Path   string `json:"path"`
	Change string `json:"change"` // added | removed | modified
	Diff   string `json:"diff"`
}

func diffRevisions(ctx context.Context, client *api.Client, env, from, to string) ([]fileChange, error) {
	_, before, err := findRevision(ctx, client, env, from)
	if err != nil {
		return nil, err
	}
	_, after, err := findRevision(ctx, client, env, to)
	if err != nil {
		return nil, err
	}
	old, now := store.OpenTree(ctx, before, client.Get), store.OpenTree(ctx, after, client.Get)
	changes := []fileChange{}
	mask := states.NewMask(append(states.SecretsOf(old), states.SecretsOf(now)...))
	for _, path := range unionPaths(before, after) {
		a, inOld := entryOf(before, path)
		b, inNow := entryOf(after, path)
		change := "modified"
		switch {
		case inOld && inNow && slices.Equal(a.Chunks, b.Chunks) && a.Mode == b.Mode:
			continue
		case !inOld:
			change = "added"
		case !inNow:
			change = "removed"
		}
		diff, err := diffFiles(path, old, now, inOld, inNow)
		if err != nil {
			return nil, err
		}
		changes = append(changes, fileChange{path, change, mask.Text(diff)})
	}
	return changes, nil
}

func unionPaths(manifests ...store.Manifest) []string {
	var paths []string
	for _, m := range manifests {
		for _, e := range m.Entries {
			paths = append(paths, e.Path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

func entryOf(m store.Manifest, path string) (store.Entry, bool) {
	for _, e := range m.Entries {
		if e.Path == path {
			return e, true
		}
	}
	return store.Entry{}, false
}

func diffFiles(path string, old, now fs.FS, inOld, inNow bool) (string, error) {
	var a, b []byte
	var err error
	if inOld {
		if a, err = fs.ReadFile(old, path); err != nil {
			return "", err
		}
	}
	if inNow {
		if b, err = fs.ReadFile(now, path); err != nil {
			return "", err
		}
	}
	if !utf8.Valid(a) || !utf8.Valid(b) || bytes.IndexByte(a, 0) >= 0 || bytes.IndexByte(b, 0) >= 0 {
		return "binary files differ\n", nil
	}
	return executor.ShownDiff(path, a, b, states.HideMarked(a), states.HideMarked(b)), nil
}
