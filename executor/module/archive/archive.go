// Package archive is the module archive: what an archive holds, in a folder of its own.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"shoal/executor"
	"shoal/internal/hostfile"
	"shoal/states"
)

// Modules are the functions of this package.
func Modules() []executor.Module { return []executor.Module{Extracted{}} }

// Extracted is archive.extracted.
type Extracted struct{}

// Function describes it.
func (Extracted) Function() states.Function {
	params := []states.Param{
		{Name: "path", Type: states.Path, Required: true, Provides: states.ResourcePath, Doc: "the symlink to the folder that holds what was in the archive"},
		{Name: "contents", Type: states.Contents, Doc: "an archive of the component: source:"},
		{Name: "from", Type: states.Path, Needs: states.ResourcePath, Doc: "an archive on the machine"},
	}
	params = append(params, hostfile.FetchParams(false)...)
	return states.Function{
		Module: "archive", Name: "extracted",
		Doc: fmt.Sprintf(`What an archive holds: tar, plain or with gzip, bzip2, xz or zstd, or zip, told by its first bytes. It is unpacked beside its place, into PATH.versions/VERSION, and when it is whole PATH becomes a symlink to it, in one step; going back is one step too. Older versions stay until the state leaves the tree. An archive whose paths or symlinks lead out of the folder is refused, as is one with devices, more than %d entries, or more than %d MiB. Of modes the permissions are kept, setuid and the like are not.

Example:
  app:
    archive.extracted:
      path: /srv/app
      url: https://example.org/app-1.4.tar.gz
      sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      strip_components: 1
      owner: app`, maxEntries, int64(maxTotal)>>20),
		Params: append(params,
			states.Param{Name: "strip_components", Type: states.Int, Default: 0, Doc: "how many leading folders of each path are left out"},
			states.Param{Name: "owner", Type: states.String, Needs: states.ResourceUser, Doc: "user name or number of all that is unpacked; root when not given"},
			states.Param{Name: "group", Type: states.String, Needs: states.ResourceGroup, Doc: "group name or number of all that is unpacked; root when not given"},
		),
		Outputs: []states.Output{
			{Name: "path", Type: states.Path, Doc: "the symlink"},
			{Name: "version", Type: states.String, Doc: "name of the version: it tells archive and parameters from others"},
			{Name: "folder", Type: states.Path, Doc: "the folder that holds the version"},
			{Name: "changed", Type: states.Bool, Doc: "whether this run changed it"},
		},
		CheckDoc: "The symlink is read and the version's folder looked for; what is in the folder is not compared, and the network is not asked.",
		UndoDoc:  "The symlink is restored as it was; a version that was unpacked is removed with all that is in its folder.",
		Validate: validate,
	}
}

func validate(params map[string]any) error {
	p := executor.Params(params)
	sources := 0
	for _, name := range []string{"contents", "from", "url"} {
		if p[name] != nil {
			sources++
		}
	}
	if sources != 1 {
		return errors.New("needs one of source, from and url")
	}
	if n, _ := p.Int("strip_components"); n < 0 || n > maxDepth {
		return fmt.Errorf("strip_components: must be from 0 to %d", maxDepth)
	}
	if p["url"] != nil {
		_, err := hostfile.RequestOf(p, 0)
		return err
	}
	if p["headers"] != nil {
		return errors.New("headers belong to url")
	}
	if p["sha256"] != nil {
		_, err := hostfile.ParseHash(p.String("sha256"))
		return err
	}
	return nil
}

// aim is where the archive is and what comes of it.
type aim struct {
	hostfile.Version
	wanted  hostfile.Wanted
	strip   int
	hash    string
	say     string
	content *states.Content
	from    string
	request *executor.Request
}

func aimOf(h executor.Host, p executor.Params) (*aim, error) {
	name, err := hostfile.PathOf(p)
	if err != nil {
		return nil, err
	}
	wanted, err := hostfile.WantedMeta(h, p)
	if err != nil {
		return nil, err
	}
	n, _ := p.Int("strip_components")
	a := &aim{Version: hostfile.Version{Path: name}, wanted: wanted, strip: int(n)}
	if err := a.source(h, p); err != nil {
		return nil, err
	}
	if sum := p.String("sha256"); sum != "" {
		want, err := hostfile.ParseHash(sum)
		if err != nil {
			return nil, err
		}
		if a.hash != want {
			return nil, fmt.Errorf("%s has the hash %s, not %s", a.say, a.hash, want)
		}
	}
	a.ID = hostfile.ID(a.hash, strconv.Itoa(a.strip), wanted.Owner, wanted.Group)
	return a, nil
}

func (a *aim) source(h executor.Host, p executor.Params) error {
	if c, ok := p["contents"].(states.Content); ok {
		a.content, a.hash, a.say = &c, c.Hash, c.From
		return nil
	}
	if a.from = p.String("from"); a.from == "" {
		r, err := hostfile.RequestOf(p, maxArchive)
		if err != nil {
			return err
		}
		a.request, a.hash, a.say = r, r.Hash, "what is fetched"
		return nil
	}
	a.say = a.from
	st, err := hostfile.Look(h, a.from)
	switch {
	case err != nil:
		return err
	case st == nil:
		return &executor.Missing{Kind: states.ResourcePath, Name: a.from}
	case !st.Mode.IsRegular() || st.Size > maxArchive:
		return fmt.Errorf("%s is no regular file of at most %d MiB", a.from, maxArchive>>20)
	}
	a.hash, err = h.Hash(a.from, *st)
	return err
}

// Check looks whether the symlink points to the version.
func (Extracted) Check(_ context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	guarded := p.String("from") != "" // an earlier state may change the archive
	a, err := aimOf(h, p)
	if err != nil {
		return executor.Change{Needed: true, Guarded: guarded, Diff: "extract " + p.String("path") + "\n"}, err
	}
	change, err := a.Change(h, fmt.Sprintf("unpack %s (%s) into %s", a.say, a.hash, a.Folder()))
	if err != nil {
		return executor.Change{}, err
	}
	change.Guarded = guarded
	if !change.Needed {
		return change, nil
	}
	return change, a.wanted.Missing
}

// Capture keeps the symlink.
func (Extracted) Capture(_ context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	a, err := aimOf(h, p)
	if err != nil {
		return executor.Undo{}, err
	}
	return a.Capture(h)
}

// Prepare fetches the archive.
func (Extracted) Prepare(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (string, error) {
	a, err := aimOf(h, p)
	if err != nil || a.request == nil {
		return "", err
	}
	if _, made, err := a.State(h); err != nil || made {
		return "", err
	}
	return a.fetch(ctx, h)
}

func (a *aim) fetch(ctx context.Context, h executor.Host) (string, error) {
	me := hostfile.Self(h)
	return h.Fetch(ctx, *a.request, a.Path, executor.Meta{Mode: 0o600, UID: me.UID, GID: me.GID})
}

// Apply unpacks the archive and swaps the symlink.
func (Extracted) Apply(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (map[string]any, error) {
	a, err := aimOf(h, p)
	if err != nil {
		return nil, err
	}
	return a.apply(ctx, h, c, "")
}

// ApplyStaged is Apply with the archive that Prepare fetched.
func (Extracted) ApplyStaged(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params, staged string) (map[string]any, error) {
	a, err := aimOf(h, p)
	if err != nil {
		return nil, err
	}
	return a.apply(ctx, h, c, staged)
}

func (a *aim) apply(ctx context.Context, h executor.Host, c executor.Contents, staged string) (map[string]any, error) {
	if a.wanted.Missing != nil {
		return nil, a.wanted.Missing
	}
	err := a.Make(h, func(folder string) error {
		data, err := a.load(ctx, h, c, &staged)
		if err != nil {
			return err
		}
		return a.unpack(ctx, h, data, folder)
	})
	if staged != "" {
		err = errors.Join(err, h.Remove(staged))
	}
	if err != nil {
		return nil, err
	}
	return a.Outputs(true), nil
}

func (a *aim) load(ctx context.Context, h executor.Host, c executor.Contents, staged *string) (data []byte, err error) {
	switch {
	case a.content != nil:
		if a.content.Size > maxArchive {
			return nil, fmt.Errorf("%s has more than %d MiB", a.say, maxArchive>>20)
		}
		return c.Bytes(ctx, *a.content)
	case a.request == nil:
		data, err = h.ReadFile(a.from)
	default:
		if *staged == "" {
			if *staged, err = a.fetch(ctx, h); err != nil {
				return nil, err
			}
		}
		data, err = h.ReadFile(*staged)
	}
	if err == nil && hostfile.HashOf(data) != a.hash {
		return nil, fmt.Errorf("%s changed while it was read", a.say)
	}
	return data, err
}

// unpack makes everything new in a folder that holds nothing else.
func (a *aim) unpack(ctx context.Context, h executor.Host, data []byte, folder string) error {
	u := unpacking{h: h, root: folder, meta: a.wanted.Over(nil, 0, hostfile.Self(h)), folders: map[string]fs.FileMode{".": hostfile.DefaultFolderMode}}
	err := read(data, a.strip, func(e entry) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return u.entry(e)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", a.say, err)
	}
	return u.finish()
}

type unpacking struct {
	h       executor.Host
	root    string
	meta    executor.Meta          // the owner of all
	folders map[string]fs.FileMode // as they are to be in the end: one may be closed to its own owner
}

func (u *unpacking) entry(e entry) error {
	name := path.Join(u.root, e.path)
	if e.mode.IsDir() {
		if err := u.folder(e.path); err != nil {
			return err
		}
		u.folders[e.path] = e.mode.Perm()
		return nil
	}
	if err := u.folder(path.Dir(e.path)); err != nil {
		return err
	}
	meta := u.meta
	meta.Mtime = e.mtime
	if e.mode&fs.ModeSymlink != 0 {
		if err := u.h.Symlink(e.target, name); err != nil {
			return err
		}
		return u.h.SetMeta(name, meta)
	}
	data, err := u.bytes(e)
	if err != nil {
		return err
	}
	meta.Mode = e.mode.Perm()
	if e.hard {
		st, err := u.h.Lstat(path.Join(u.root, e.target))
		if err != nil {
			return err
		}
		meta.Mode = st.Mode.Perm()
	}
	staged, err := u.h.Stage(name, data, meta)
	if err != nil {
		return err
	}
	return u.h.Rename(staged, name)
}

func (u *unpacking) bytes(e entry) ([]byte, error) {
	if e.hard {
		return u.h.ReadFile(path.Join(u.root, e.target))
	}
	r, err := e.open()
	if err != nil {
		return nil, err
	}
	if c, ok := r.(io.Closer); ok {
		defer c.Close()
	}
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%q has more than %d MiB", e.path, maxFile>>20)
	}
	return data, err
}

// folder makes a folder and those above it.
func (u *unpacking) folder(rel string) error {
	if _, made := u.folders[rel]; made {
		return nil
	}
	if err := u.folder(path.Dir(rel)); err != nil {
		return err
	}
	u.folders[rel] = hostfile.DefaultFolderMode
	meta := u.meta
	meta.Mode = hostfile.DefaultFolderMode
	return u.h.Mkdir(path.Join(u.root, rel), meta)
}

// finish gives the folders their modes, the deepest first.
func (u *unpacking) finish() error {
	names := make([]string, 0, len(u.folders))
	for rel := range u.folders {
		names = append(names, rel)
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(b, a) })
	for _, rel := range names {
		meta := u.meta
		meta.Mode = u.folders[rel]
		if meta.Mode == hostfile.DefaultFolderMode && rel != "." {
			continue
		}
		if err := u.h.SetMeta(path.Join(u.root, rel), meta); err != nil {
			return err
		}
	}
	return nil
}

// Revert puts back what Capture saw.
func (Extracted) Revert(_ context.Context, h executor.Host, _ executor.Params, u executor.Undo) error {
	return hostfile.RevertVersion(h, u)
}

// RevertDiff says what Revert would change.
func (Extracted) RevertDiff(_ context.Context, h executor.Host, _ executor.Params, u executor.Undo) string {
	return hostfile.RevertVersionDiff(h, u)
}
