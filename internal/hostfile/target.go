package hostfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"shoal/executor"
	"shoal/states"
)

// Target is one regular file as it is to be. Nothing is changed in place: new contents are staged beside it, validated, and
// renamed over it.
type Target struct {
	Wanted
	Path string
	// Hash and Size of the new contents; an empty Hash leaves alone what is there, and makes a missing file empty.
	Hash string
	Size int64
	// Load opens the contents; it is called only where they are written or shown.
	Load func(ctx context.Context) ([]byte, error)
	// Open is used in the place of Load for contents that are too large to be held in memory; nil: Load is.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// Fetch, in place of Load, has the host download the contents. Their Size is then UnknownSize.
	Fetch *executor.Request
	// Validate is a shell command that is run on the staged file, {path} its name; empty: none.
	Validate string
	// Mode is that of a new file where Wanted says nothing; 0: DefaultFileMode.
	NewMode fs.FileMode
	// Secret: no diff may show the contents.
	Secret bool
}

// UnknownSize is the Size of contents that are known by their hash alone.
const UnknownSize = -1

// maxHeld is the most bytes of contents that are read into memory; nothing larger is shown in a diff.
const maxHeld = executor.MaxDiffInput

// streams says that the contents go to their place piece by piece.
func (t *Target) streams() bool { return t.Open != nil && t.Size > maxHeld }

// validateOutput is how much of what a validation says is kept, in bytes.
const validateOutput = 4 << 10

// ValidateParam is the parameter that Target.Validate comes from.
func ValidateParam() states.Param {
	return states.Param{Name: "validate", Type: states.String, Doc: "a shell command that is run on the new file before it is moved into place; {path} is its name; a status other than 0 fails the state"}
}

// Outputs are what Target's methods return.
func Outputs() []states.Output {
	return []states.Output{
		{Name: "path", Type: states.Path, Doc: "where the file is"},
		{Name: "sha256", Type: states.String, Doc: "hash of what it holds, in hexadecimal"},
		{Name: "changed", Type: states.Bool, Doc: "whether this run changed it"},
	}
}

// Holding sets contents that are known.
func (t *Target) Holding(data []byte) {
	t.Hash, t.Size = HashOf(data), int64(len(data))
	t.Load = func(context.Context) ([]byte, error) { return data, nil }
}

func (t *Target) newMode() fs.FileMode {
	if t.NewMode != 0 {
		return t.NewMode
	}
	return DefaultFileMode
}

// Check compares type, hash, mode and owner.
func (t *Target) Check(ctx context.Context, h executor.Host) (executor.Change, error) {
	st, err := Look(h, t.Path)
	if err != nil {
		return executor.Change{}, err
	}
	hash, fresh, err := t.compare(h, st)
	if err != nil {
		return executor.Change{}, err
	}
	change := executor.Change{Outputs: t.outputs(hash, false)}
	if st != nil && !fresh {
		change.Diff = t.Diff(*st)
	}
	change.Needed = fresh || change.Diff != ""
	if !change.Needed {
		return change, t.Missing
	}
	if err := Writable(h, t.Path); err != nil {
		return executor.Change{}, err
	}
	if fresh {
		if change.Diff, err = t.describe(ctx, h, st); err != nil {
			return executor.Change{}, err
		}
	}
	change.Outputs["changed"] = true
	return change, t.Missing
}

// Differs says whether anything is to change, without opening the contents.
func (t *Target) Differs(h executor.Host) (bool, error) {
	st, err := Look(h, t.Path)
	if err != nil {
		return false, err
	}
	_, fresh, err := t.compare(h, st)
	return fresh || err == nil && t.Diff(*st) != "", err
}

// WriteAll stages all of ts that differ, makes them durable with one sync, and moves them into place.
func WriteAll(ctx context.Context, h executor.Host, ts []*Target) (err error) {
	staged := make([]string, len(ts))
	defer func() {
		for _, name := range staged {
			if name != "" {
				_ = h.Remove(name) // swept by the rollback where this fails
			}
		}
	}()
	for i, t := range ts {
		if staged[i], err = t.Stage(ctx, h); err != nil {
			return err
		}
	}
	if err := h.SyncFiles(); err != nil {
		return err
	}
	for i, t := range ts {
		if staged[i] == "" {
			continue
		}
		if _, err := t.Place(ctx, h, staged[i]); err != nil {
			return err
		}
		staged[i] = ""
	}
	return nil
}

// compare says whether the file has to be written anew, and what it holds afterwards.
func (t *Target) compare(h executor.Host, st *executor.Stat) (hash string, fresh bool, err error) {
	switch {
	case st == nil:
		if t.Hash == "" {
			return HashOf(nil), true, nil
		}
		return t.Hash, true, nil
	case st.Mode.IsDir():
		return "", false, fmt.Errorf("%s is a folder", t.Path)
	case st.Mode&fs.ModeSymlink != 0:
		if t.Hash == "" {
			return "", false, fmt.Errorf("%s is a symlink, and there are no contents to put in its place", t.Path)
		}
		return t.Hash, true, nil
	case !st.Mode.IsRegular():
		return "", false, fmt.Errorf("%s is %s", t.Path, KindName(st.Mode))
	case t.Hash == "":
		now, err := h.Hash(t.Path, *st) // for the outputs: what is there stays
		return now, false, err
	case t.Size != UnknownSize && st.Size != t.Size:
		return t.Hash, true, nil
	}
	now, err := h.Hash(t.Path, *st)
	return t.Hash, now != t.Hash, err
}

func (t *Target) outputs(hash string, changed bool) map[string]any {
	out := map[string]any{"path": t.Path, "changed": changed}
	if hash != "" {
		out["sha256"] = strings.TrimPrefix(hash, "sha256:")
	}
	return out
}

// describe is the diff of a file that is written anew.
func (t *Target) describe(ctx context.Context, h executor.Host, st *executor.Stat) (string, error) {
	if t.Secret {
		return t.describeSecret(st), nil
	}
	if t.Fetch != nil {
		return t.describeFetch(st), nil
	}
	if t.streams() {
		return t.describeLarge(st), nil
	}
	data, err := t.load(ctx)
	if err != nil {
		return "", err
	}
	if st == nil {
		return executor.TextDiff(t.Path, nil, data) + t.Created("file", t.newMode()), nil
	}
	if !st.Mode.IsRegular() {
		return "it is " + KindName(st.Mode) + "\n" + executor.TextDiff(t.Path, nil, data), nil
	}
	if st.Size > maxHeld {
		return fmt.Sprintf("%s: %d -> %d bytes, too long to show\n", t.Path, st.Size, len(data)) + t.Diff(*st), nil
	}
	old, err := h.ReadFile(t.Path)
	if err != nil {
		return "", err
	}
	return executor.TextDiff(t.Path, old, data) + t.Diff(*st), nil
}

func (t *Target) describeSecret(st *executor.Stat) string {
	if st == nil {
		return "contents: secret\n" + t.Created("file", t.newMode())
	}
	return "contents: secret\n" + t.Diff(*st)
}

func (t *Target) describeLarge(st *executor.Stat) string {
	switch {
	case st == nil:
		return fmt.Sprintf("%s: 0 -> %d bytes, too long to show\n", t.Path, t.Size) + t.Created("file", t.newMode())
	case !st.Mode.IsRegular():
		return "it is " + KindName(st.Mode) + fmt.Sprintf("\n%s: 0 -> %d bytes, too long to show\n", t.Path, t.Size)
	}
	return fmt.Sprintf("%s: %d -> %d bytes, too long to show\n", t.Path, st.Size, t.Size) + t.Diff(*st)
}

func (t *Target) describeFetch(st *executor.Stat) string {
	diff := fmt.Sprintf("%s: fetch what has the hash %s\n", t.Path, t.Hash)
	if st == nil || !st.Mode.IsRegular() {
		return diff + t.Created("file", t.newMode())
	}
	return diff + t.Diff(*st)
}

func (t *Target) load(ctx context.Context) ([]byte, error) {
	if t.Load == nil {
		return nil, nil
	}
	return t.Load(ctx)
}

// Stage is Prepare for a file that is known to differ; where only its owner and mode do, they are set, and nothing is staged.
func (t *Target) Stage(ctx context.Context, h executor.Host) (staged string, err error) {
	if t.Missing != nil {
		return "", t.Missing
	}
	if staged, err = t.Prepare(ctx, h); err != nil || staged != "" {
		return staged, err
	}
	st, err := h.Lstat(t.Path)
	if err != nil {
		return "", err
	}
	return "", h.SetMeta(t.Path, t.Over(&st, t.newMode(), IDs{}))
}

// Prepare stages the new file beside the old one, with the owner, mode and extended attributes that it is to have.
func (t *Target) Prepare(ctx context.Context, h executor.Host) (string, error) {
	st, err := Look(h, t.Path)
	if err != nil {
		return "", err
	}
	if _, fresh, err := t.compare(h, st); err != nil || !fresh {
		return "", err
	}
	return t.stage(ctx, h, st)
}

func (t *Target) stage(ctx context.Context, h executor.Host, st *executor.Stat) (staged string, err error) {
	if t.Missing != nil {
		return "", t.Missing
	}
	var data []byte
	if t.Fetch == nil && !t.streams() {
		if data, err = t.load(ctx); err != nil {
			return "", err
		}
	}
	if st != nil && !st.Mode.IsRegular() {
		st = nil // of a symlink nothing is kept
	}
	meta := t.Over(st, t.newMode(), Self(h))
	if st != nil {
		if meta.Xattrs, err = h.Xattrs(t.Path); err != nil {
			return "", err
		}
	}
	if t.Fetch != nil {
		return h.Fetch(ctx, *t.Fetch, t.Path, meta)
	}
	if t.streams() {
		return t.stageOpen(ctx, h, meta)
	}
	return h.Stage(t.Path, data, meta)
}

func (t *Target) stageOpen(ctx context.Context, h executor.Host, meta executor.Meta) (string, error) {
	in, err := t.Open(ctx)
	if err != nil {
		return "", err
	}
	defer in.Close() // it was only read
	return executor.StageFrom(h, t.Path, in, meta)
}

// Apply writes the file, or changes what only its owner and mode lack.
func (t *Target) Apply(ctx context.Context, h executor.Host) (map[string]any, error) {
	if t.Missing != nil {
		return nil, t.Missing
	}
	st, err := Look(h, t.Path)
	if err != nil {
		return nil, err
	}
	hash, fresh, err := t.compare(h, st)
	if err != nil {
		return nil, err
	}
	if !fresh {
		return t.outputs(hash, true), h.SetMeta(t.Path, t.Over(st, t.newMode(), IDs{}))
	}
	staged, err := t.stage(ctx, h, st)
	if err != nil {
		return nil, err
	}
	if err := h.SyncFiles(); err != nil {
		return nil, err
	}
	return t.Place(ctx, h, staged)
}

// Place validates the staged file and moves it into place.
func (t *Target) Place(ctx context.Context, h executor.Host, staged string) (map[string]any, error) {
	if err := t.validate(ctx, h, staged); err != nil {
		_ = h.Remove(staged) // swept by the rollback where this fails
		return nil, err
	}
	hash := t.Hash
	if hash == "" {
		hash = HashOf(nil)
	}
	return t.outputs(hash, true), Move(h, staged, t.Path)
}

// PlaceComputed is Place for contents that depend on what the file held: where it was changed after Prepare, what was staged
// then is thrown away.
func (t *Target) PlaceComputed(ctx context.Context, h executor.Host, staged string) (map[string]any, error) {
	st, err := h.Lstat(staged)
	if err != nil {
		return nil, err
	}
	hash, err := h.Hash(staged, st)
	if err != nil {
		return nil, err
	}
	if hash == t.Hash {
		return t.Place(ctx, h, staged)
	}
	if err := h.Remove(staged); err != nil {
		return nil, err
	}
	return t.Apply(ctx, h)
}

// Move renames a staged file to name, and makes the folders above only where the first try shows that they are not there.
func Move(h executor.Host, staged, name string) error {
	err := h.Rename(staged, name)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := MakeParents(h, name); err != nil {
		return err
	}
	return h.Rename(staged, name)
}

func (t *Target) validate(ctx context.Context, h executor.Host, staged string) error {
	if t.Validate == "" {
		return nil
	}
	quoted := "'" + strings.ReplaceAll(h.Path(staged), "'", `'\''`) + "'"
	script := strings.ReplaceAll(t.Validate, "{path}", quoted)
	exit, err := h.Run(ctx, executor.Command{Argv: []string{"/bin/sh", "-c", script}, Limit: validateOutput})
	if err != nil {
		return fmt.Errorf("validate: %w", err)
	}
	if exit.Status != 0 {
		said := strings.TrimSpace(string(exit.Stderr) + string(exit.Stdout))
		return fmt.Errorf("validate: %s: status %d: %s", t.Validate, exit.Status, said)
	}
	return nil
}
