package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"shoal/executor"
	"shoal/internal/hostfile"
	"shoal/states"
)

// maxTreeEntries is how many entries of a folder on the machine file.tree looks through for what is not in the source.
const maxTreeEntries = 100_000

// maxTreeDiff is how much a plan shows of a tree, in bytes.
const maxTreeDiff = 32 << 10

// Tree is file.tree.
type Tree struct{}

// Function describes it.
func (Tree) Function() states.Function {
	return states.Function{
		Module: "file", Name: "tree",
		Doc: `A folder with all files of a folder of the component, at any depth. What else is in it stays, unless purge is set. A file that leaves the source stays too without purge, until the state itself leaves the tree. Folders come with the files in them: an empty one is not carried.

Example:
  site:
    file.tree:
      path: /srv/www
      source: files/site
      render: true
      purge: true
      exclude: [uploads, "*.bak"]
      owner: www-data`,
		Params: []states.Param{
			hostfile.PathParam("where the folder is"),
			{Name: "source", Type: states.Folder, Required: true, Doc: fmt.Sprintf("the folder in the component; at most %d files and %d MiB", states.MaxFolderFiles, states.MaxFolderBytes>>20)},
			{Name: "render", Type: states.Bool, Default: false, Doc: "files ending in .j2 (Jinja2) or .tmpl (Go) are rendered, and lose that ending"},
			{Name: "purge", Type: states.Bool, Default: false, Doc: "remove what is in the folder and not in the source; undone as all else is"},
			{Name: "exclude", Type: states.Strings, Doc: "shell patterns of what is neither copied nor purged: without a slash a name at any depth, with one a path from the folder"},
			{Name: "mode", Type: states.Mode, Doc: "permissions of all files; when not given 0755 for what is executable in the source, 0644 for the rest"},
			{Name: "folder_mode", Type: states.Mode, Doc: "permissions of all folders; when not given 0755 for new ones, and others are left alone"},
			{Name: "owner", Type: states.String, Needs: states.ResourceUser, Doc: "user name or number for all of it; left as it is when not given, root's for what is new"},
			{Name: "group", Type: states.String, Needs: states.ResourceGroup, Doc: "group name or number for all of it; left as it is when not given, root's for what is new"},
		},
		Outputs: []states.Output{
			{Name: "path", Type: states.Path, Doc: "where the folder is"},
			{Name: "files", Type: states.Int, Doc: "how many files of the source there are"},
			{Name: "changed", Type: states.Bool, Doc: "whether this run changed it"},
		},
		CheckDoc: "One lstat for each file that is as it was when its hash was last read; with purge the folder is listed.",
		UndoDoc:  fmt.Sprintf("All that it changed or removed is restored, up to %d MiB and %d entries (beyond, the plan says that it is irreversible); what it made is removed.", hostfile.MaxKept>>20, hostfile.MaxKeptEntries),
		Validate: func(p map[string]any) error {
			exclude, _ := executor.Params(p).Strings("exclude")
			return checkPatterns(exclude)
		},
	}
}

func checkPatterns(patterns []string) error {
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return fmt.Errorf("exclude: %q is not a pattern", pattern)
		}
	}
	return nil
}

// excluded: the path or a folder above it fits a pattern.
func excluded(patterns []string, rel string) bool {
	for at := rel; at != "."; at = path.Dir(at) {
		for _, pattern := range patterns {
			subject := at
			if !strings.Contains(pattern, "/") {
				subject = path.Base(at)
			}
			if ok, _ := path.Match(strings.Trim(pattern, "/"), subject); ok {
				return true
			}
		}
	}
	return false
}

// treeAim is what the parameters come to: folders (each before what is in it) and files.
type treeAim struct {
	root    string
	missing error
	purge   bool
	exclude []string
	folders []*hostfile.Folder
	files   []*hostfile.Target
	wanted  map[string]bool // paths of folders (true) and files (false)
}

func treeOf(h executor.Host, c executor.Contents, p executor.Params) (*treeAim, error) {
	plain, err := plainTarget(h, p)
	if err != nil {
		return nil, err
	}
	sources, err := hostfile.Sources(p, "source")
	if err != nil {
		return nil, err
	}
	a := &treeAim{root: plain.Path, missing: plain.Missing, wanted: map[string]bool{}}
	a.purge, _ = p.Bool("purge")
	a.exclude, _ = p.Strings("exclude")
	folder := plain.Wanted
	folder.Mode = nil
	if s := p.String("folder_mode"); s != "" {
		mode, err := hostfile.ParseMode(s)
		if err != nil {
			return nil, err
		}
		folder.Mode = &mode
	}
	a.addFolder(a.root, folder)
	for _, s := range sources {
		if excluded(a.exclude, s.Path) {
			continue
		}
		t := &hostfile.Target{Path: path.Join(a.root, s.Path), Wanted: plain.Wanted}
		if t.Mode == nil {
			t.Mode = &s.Mode
		}
		t.HoldContent(c, s.Content)
		a.addFolder(path.Dir(t.Path), folder)
		a.files = append(a.files, t)
		a.wanted[t.Path] = false
	}
	return a, nil
}

func (a *treeAim) addFolder(name string, wanted hostfile.Wanted) {
	if _, has := a.wanted[name]; has {
		return
	}
	a.wanted[name] = true
	if name != a.root {
		a.addFolder(path.Dir(name), wanted)
	}
	a.folders = append(a.folders, &hostfile.Folder{Path: name, Wanted: wanted})
}

// Keeps implements executor.Keeper.
func (Tree) Keeps(p executor.Params) []string {
	sources, err := hostfile.Sources(p, "source")
	if err != nil {
		return nil // the check says so
	}
	exclude, _ := p.Strings("exclude")
	purge, _ := p.Bool("purge")
	folders := map[string]bool{p.String("path"): true}
	var out []string
	for _, s := range sources {
		if excluded(exclude, s.Path) {
			continue
		}
		name := path.Join(p.String("path"), s.Path)
		out = append(out, name)
		for dir := path.Dir(name); !folders[dir]; dir = path.Dir(dir) {
			folders[dir] = true
			out = append(out, dir)
		}
	}
	if purge {
		for dir := range folders {
			out = append(out, dir+"/")
		}
	}
	return out
}

// treeChange is what has to be done, in this order.
type treeChange struct {
	blockers []string // what stands where something of another kind is to be
	folders  []*hostfile.Folder
	files    []*hostfile.Target
	surplus  []string
	diff     strings.Builder
}

func (c *treeChange) needed() bool {
	return len(c.blockers)+len(c.folders)+len(c.files)+len(c.surplus) > 0
}

func (c *treeChange) say(format string, args ...any) {
	if c.diff.Len() < maxTreeDiff {
		if fmt.Fprintf(&c.diff, format, args...); c.diff.Len() >= maxTreeDiff {
			c.diff.WriteString("… the rest is not shown\n")
		}
	}
}

// compare finds what differs. Contents are opened for the diff only, and only when c is there.
func (a *treeAim) compare(ctx context.Context, h executor.Host, show bool) (*treeChange, error) {
	out := &treeChange{}
	if a.purge {
		seen := 0
		if _, err := a.list(h, a.root, out, &seen); err != nil {
			return nil, err
		}
	}
	for _, f := range a.folders {
		diff := "new folder\n"
		if !a.blocked(out, f.Path) {
			var err error
			if diff, err = f.Differs(h); err != nil {
				return nil, err
			}
		}
		if diff != "" {
			out.folders = append(out.folders, f)
			out.say("%s: %s", f.Path, diff)
		}
	}
	for _, t := range a.files {
		if err := a.compareFile(ctx, h, t, out, show); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (a *treeAim) compareFile(ctx context.Context, h executor.Host, t *hostfile.Target, out *treeChange, show bool) error {
	if a.blocked(out, t.Path) {
		out.files = append(out.files, t)
		out.say("%s: new file\n", t.Path)
		return nil
	}
	different, err := t.Differs(h)
	if err != nil || !different {
		return err
	}
	out.files = append(out.files, t)
	if !show || out.diff.Len() >= maxTreeDiff {
		return nil
	}
	change, err := t.Check(ctx, h)
	var missing *executor.Missing
	if err != nil && !errors.As(err, &missing) {
		return err
	}
	out.say("%s", change.Diff)
	return nil
}

// blocked: the path is, or is within, something that is removed first.
func (a *treeAim) blocked(out *treeChange, name string) bool {
	return slices.ContainsFunc(out.blockers, func(b string) bool { return name == b || hostfile.Within(b, name) })
}

// list finds what is in a folder and not wanted there. kept: something in it is excluded, so that it has to stay.
func (a *treeAim) list(h executor.Host, dir string, out *treeChange, seen *int) (kept bool, err error) {
	st, err := hostfile.Look(h, dir)
	if err != nil || st == nil || !st.Mode.IsDir() {
		return false, err
	}
	names, err := h.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, n := range names {
		if *seen++; *seen > maxTreeEntries {
			return false, fmt.Errorf("%s holds more than %d entries, too many to purge", a.root, maxTreeEntries)
		}
		keeps, err := a.listEntry(h, path.Join(dir, n), out, seen)
		if err != nil {
			return false, err
		}
		kept = kept || keeps
	}
	return kept, nil
}

func (a *treeAim) listEntry(h executor.Host, name string, out *treeChange, seen *int) (kept bool, err error) {
	if excluded(a.exclude, strings.TrimPrefix(name, a.root+"/")) {
		return true, nil
	}
	st, err := h.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // gone meanwhile
	}
	if err != nil {
		return false, err
	}
	folder, wanted := a.wanted[name]
	at := len(out.surplus)
	if st.Mode.IsDir() {
		if kept, err = a.list(h, name, out, seen); err != nil || wanted && folder {
			return kept, err
		}
		if kept && !wanted {
			return true, nil // its surplus alone goes
		}
		if kept {
			return true, fmt.Errorf("%s is a folder that holds what is excluded, and is to be a file", name)
		}
		out.surplus = out.surplus[:at] // all of it goes at once
	} else if wanted && !folder && (st.Mode.IsRegular() || st.Mode&fs.ModeSymlink != 0) {
		return false, nil
	}
	out.say("remove %s %s\n", hostfile.KindName(st.Mode), name)
	if wanted {
		out.blockers = append(out.blockers, name)
	} else {
		out.surplus = append(out.surplus, name)
	}
	return false, nil
}

func (a *treeAim) outputs(changed bool) map[string]any {
	return map[string]any{"path": a.root, "files": int64(len(a.files)), "changed": changed}
}

// Check compares every file, and with purge what else is there.
func (Tree) Check(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (executor.Change, error) {
	a, err := treeOf(h, c, p)
	if err != nil {
		return executor.Change{}, err
	}
	todo, err := a.compare(ctx, h, true)
	if err != nil {
		return executor.Change{}, err
	}
	change := executor.Change{Needed: todo.needed(), Diff: todo.diff.String(), Outputs: a.outputs(todo.needed())}
	if change.Needed {
		if err := hostfile.Writable(h, a.root); err != nil {
			return executor.Change{}, err
		}
	}
	return change, a.missing
}

// Capture keeps what is at every path that changes, and what is purged with all that is in it.
func (Tree) Capture(ctx context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	a, err := treeOf(h, nil, p)
	if err != nil {
		return executor.Undo{}, err
	}
	todo, err := a.compare(ctx, h, false)
	if err != nil {
		return executor.Undo{}, err
	}
	var items []hostfile.Item
	var stages []string
	for _, name := range slices.Concat(todo.blockers, todo.surplus) {
		items = append(items, hostfile.Item{Path: name, Deep: true})
	}
	for _, f := range todo.folders {
		if !slices.Contains(todo.blockers, f.Path) {
			items = append(items, hostfile.Item{Path: f.Path})
		}
	}
	for _, t := range todo.files {
		if !slices.Contains(todo.blockers, t.Path) {
			items = append(items, hostfile.Item{Path: t.Path})
		}
		stages = append(stages, t.Path)
	}
	u, err := hostfile.CaptureAll(h, items)
	u.Stages = append(u.Stages, stages...)
	return u, err
}

// Apply clears the way, stages all files, makes them durable with one sync, moves them into place, and removes the rest.
func (Tree) Apply(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (map[string]any, error) {
	a, err := treeOf(h, c, p)
	if err != nil {
		return nil, err
	}
	if a.missing != nil {
		return nil, a.missing
	}
	todo, err := a.compare(ctx, h, false)
	if err != nil {
		return nil, err
	}
	if err := removeAll(h, todo.blockers); err != nil {
		return nil, err
	}
	for _, f := range todo.folders {
		if err := f.Apply(h); err != nil {
			return nil, err
		}
	}
	if err := hostfile.WriteAll(ctx, h, todo.files); err != nil {
		return nil, err
	}
	return a.outputs(true), removeAll(h, todo.surplus)
}

func removeAll(h executor.Host, names []string) error {
	for _, name := range names {
		st, err := hostfile.Look(h, name)
		if err != nil {
			return err
		}
		if st == nil {
			continue
		}
		if err := hostfile.RemoveTree(h, name, st); err != nil {
			return err
		}
	}
	return nil
}

// Revert puts back what Capture saw.
func (Tree) Revert(_ context.Context, h executor.Host, _ executor.Params, u executor.Undo) error {
	return hostfile.RevertAll(h, u)
}

// RevertDiff says what Revert would change.
func (Tree) RevertDiff(_ context.Context, h executor.Host, _ executor.Params, u executor.Undo) string {
	return hostfile.RevertAllDiff(h, u)
}

// Join adds what a later source was the first to touch.
func (Tree) Join(first, later []byte) ([]byte, error) { return hostfile.JoinAll(first, later) }
