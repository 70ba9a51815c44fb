package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"shoal/mesh"
	"shoal/mesh/api"
	"shoal/store"
)

func newLog(t *terminal) *cobra.Command {
	var (
		env    string
		staged bool
	)
	cmd := &cobra.Command{Use: "log", Short: "The history of an environment, newest last", Args: cobra.NoArgs}
	connect := nodeFlag(cmd)
	cmd.Flags().StringVar(&env, "env", "production", "the environment")
	cmd.Flags().BoolVar(&staged, "staged", false, "what waits at the node that answers, until enough of the mesh can be reached")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client := connect()
		list := history
		if staged {
			list = waiting
		}
		log, err := list(cmd.Context(), client, env)
		if err != nil || t.json {
			return orJSON(t, log, err)
		}
		if len(log) == 0 {
			t.note("%s", map[bool]string{false: "nothing has been pushed to " + env + " yet", true: "nothing is staged here"}[staged])
			return nil
		}
		var rows [][]string
		for _, r := range log {
			rows = append(rows, []string{fmt.Sprint(r.Version), r.Revision.Short(), r.Time.Local().Format(time.DateTime), r.Author, string(r.Kind), firstLine(r.Message)})
		}
		t.table([]string{"VERSION", "REVISION", "TIME", "AUTHOR", "KIND", "MESSAGE"}, rows)
		return nil
	}
	return cmd
}

// history is an environment's log; empty when nothing was ever pushed to it.
func history(ctx context.Context, client *api.Client, env string) ([]mesh.RevisionInfo, error) {
	log, err := client.Log(ctx, env)
	var e *api.Error
	if errors.As(err, &e) && e.Kind == api.NotFound {
		return []mesh.RevisionInfo{}, nil
	}
	return log, err
}

// waiting are the staged revisions of an environment.
func waiting(ctx context.Context, client *api.Client, env string) ([]mesh.RevisionInfo, error) {
	all, err := client.Staged(ctx)
	list := []mesh.RevisionInfo{}
	for _, r := range all {
		if r.Env == env {
			list = append(list, r)
		}
	}
	return list, err
}

func newShow(t *terminal) *cobra.Command {
	var env string
	cmd := &cobra.Command{
		Use:   "show REV",
		Short: "One revision: who, when, and its files (REV is a version or a revision's hash)",
		Args:  cobra.ExactArgs(1),
	}
	connect := nodeFlag(cmd)
	cmd.Flags().StringVar(&env, "env", "production", "the environment")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client := connect()
		info, manifest, err := findRevision(cmd.Context(), client, env, args[0])
		if err != nil {
			return err
		}
		if t.json {
			return t.printJSON(struct {
				mesh.RevisionInfo
				Files []fileInfo `json:"files"`
			}{info, filesOf(manifest)})
		}
		t.printf("%s version %d\n  revision  %s\n  parent    %s\n  author    %s\n  time      %s\n  message   %s\n\n",
			info.Env, info.Version, info.Revision, parentText(info.Parent), info.Author, info.Time.Local().Format(time.DateTime), info.Message)
		var rows [][]string
		for _, f := range filesOf(manifest) {
			rows = append(rows, []string{f.Mode, bytesText(f.Size), f.Path})
		}
		t.table([]string{"MODE", "SIZE", "PATH"}, rows)
		return nil
	}
	return cmd
}

type fileInfo struct {
	Path string `json:"path"`
	Mode string `json:"mode"`
	Size int64  `json:"size"`
}

func filesOf(m store.Manifest) []fileInfo {
	files := []fileInfo{}
	for _, e := range m.Entries {
		files = append(files, fileInfo{e.Path, fmt.Sprintf("%04o", e.Mode), e.Size})
	}
	return files
}

// findRevision looks up what a person wrote: a version, or the beginning of a hash of six digits or more.
func findRevision(ctx context.Context, client *api.Client, env, ref string) (mesh.RevisionInfo, store.Manifest, error) {
	log, err := history(ctx, client, env)
	if err != nil {
		return mesh.RevisionInfo{}, store.Manifest{}, err
	}
	digits := strings.TrimPrefix(ref, "sha256:")
	version, numeric := strconv.ParseUint(strings.TrimPrefix(ref, "v"), 10, 64)
	for _, r := range log {
		full := strings.TrimPrefix(r.Revision.String(), "sha256:")
		if numeric == nil && r.Version == version || len(digits) >= 6 && strings.HasPrefix(full, digits) {
			manifest, err := store.OpenManifest(ctx, r.Manifest, client.Get)
			return r, manifest, err
		}
	}
	return mesh.RevisionInfo{}, store.Manifest{}, badInput("%s has no revision %q; shoal log lists them", env, ref)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func parentText(h store.Hash) string {
	if h.IsZero() {
		return "none"
	}
	return h.String()
}
