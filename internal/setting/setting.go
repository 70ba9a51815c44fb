// Package setting is what the modules for settings of the machine share: such a setting stands in files, which hold over a
// boot, and is live in what runs now. Each of them says what its files hold and how to read and set what is live; how that
// is compared, done and taken back is here.
package setting

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"syscall"

	"shoal/executor"
	"shoal/internal/codec"
	"shoal/states"
)

// Live is the part of a setting that ends with the machine's run, as a text that Set understands again.
type Live struct {
	// Label is what the diff calls it.
	Label string
	// Read returns what is live now; an *executor.Missing where nothing can be yet.
	Read func(ctx context.Context, h executor.Host, p executor.Params) (now string, err error)
	// Want is what is to be live, given what is and whether a file is to change.
	Want func(h executor.Host, p executor.Params, now string, filesChange bool) string
	// Set takes what is live from one to the other.
	Set func(ctx context.Context, h executor.Host, p executor.Params, from, to string) error
	// Lost, unless nil, says why what is live now cannot be brought back once it is changed; empty: it can.
	Lost func(now, next string) string
}

// Module is a function made of files and, unless Live is nil, of a live part. Below --root only the files count: what runs
// is the machine's, which is not to change.
type Module struct {
	About states.Function
	// Paths are those that Want may name, as far as parameters alone tell.
	Paths func(p executor.Params) []string
	// Want says what the files are to hold. It may read the host.
	Want func(h executor.Host, p executor.Params) ([]Want, error)
	Live *Live
	// Merge, unless nil, takes back one state's part of a file that several states write.
	Merge func(now, before []byte, p executor.Params) []byte
	// After, unless nil and below --root, runs when a file was changed, and when that was taken back. There it is a help: its error is not one.
	After func(ctx context.Context, h executor.Host, p executor.Params) error
	// Outputs beside "changed".
	Outputs func(p executor.Params, wants []Want) map[string]any
}

// Changed is the output that every setting has.
var Changed = states.Output{Name: "changed", Type: states.Bool, Doc: "Whether this run changed it."}

// Function implements executor.Module.
func (m Module) Function() states.Function { return m.About }

// stages are the paths that Apply stages files for. The folders above are among them: a file is staged above its folder while that is not
// there yet, and a run that is killed right after it made the folder leaves the staged file up there.
func (m Module) stages(p executor.Params) []string {
	var all []string
	for _, name := range m.Paths(p) {
		for ; name != "/" && name != "."; name = path.Dir(name) {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

// survey is what there is beside what is to be.
type survey struct {
	wants     []Want
	files     string // their diff
	now, want string // live
	missing   error
}

func (m Module) look(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (s survey, err error) {
	if s.wants, err = m.Want(h, p); err != nil && !isMissing(err) {
		return s, err
	}
	s.missing = err
	if s.files, err = diffAll(ctx, h, c, s.wants); err != nil || !m.live(h) {
		return s, err
	}
	if s.now, err = m.Live.Read(ctx, h, p); err != nil {
		if !isMissing(err) {
			return s, err
		}
		s.missing = err
		return s, nil
	}
	s.want = m.Live.Want(h, p, s.now, s.files != "")
	return s, nil
}

func isMissing(err error) bool {
	var missing *executor.Missing
	return errors.As(err, &missing)
}

func (m Module) live(h executor.Host) bool { return m.Live != nil && Real(h) }

// Real: the host is a machine, and not a folder that stands for one.
func Real(h executor.Host) bool { return h.Path("/") == "/" }

func (s survey) needed() bool { return s.files != "" || s.now != s.want }

// Check implements executor.Module.
func (m Module) Check(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (executor.Change, error) {
	s, err := m.look(ctx, h, c, p)
	if err != nil {
		return executor.Change{}, err
	}
	change := executor.Change{Needed: s.needed() || s.missing != nil, Diff: s.files}
	if s.now != s.want {
		change.Diff += fmt.Sprintf("%s: %s -> %s\n", m.Live.Label, orNone(s.now), orNone(s.want))
	}
	if s.files != "" && m.Live != nil && !Real(h) {
		change.Diff += m.Live.Label + ": left alone below --root\n"
	}
	if s.missing != nil {
		change.Diff += s.missing.Error() + " yet\n"
	}
	change.Outputs = m.outputs(p, s.wants, change.Needed)
	return change, s.missing
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (m Module) outputs(p executor.Params, wants []Want, changed bool) map[string]any {
	out := map[string]any{"changed": changed}
	if m.Outputs != nil {
		for name, v := range m.Outputs(p, wants) {
			out[name] = v
		}
	}
	return out
}

// unread are the contents of the tree for a Capture, which is given none: their diff is not looked at.
type unread struct{}

func (unread) Bytes(context.Context, states.Content) ([]byte, error) { return nil, nil }

// before is what Revert needs.
type before struct {
	Files []kept `cbor:"1,keyasint"`
	// Live is what was live; WasLive is false where nothing was read.
	Live    string `cbor:"2,keyasint,omitempty"`
	WasLive bool   `cbor:"3,keyasint,omitempty"`
}

// Capture implements executor.Module.
func (m Module) Capture(ctx context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	s, err := m.look(ctx, h, unread{}, p)
	if err != nil {
		return executor.Undo{}, err
	}
	files, undo, err := capture(h, s.wants, m.Paths(p))
	if err != nil || !undo.Reversible {
		return undo, err
	}
	b := before{Files: files, Live: s.now, WasLive: m.live(h) && s.missing == nil}
	if b.WasLive && s.now != s.want && m.Live.Lost != nil {
		undo.Why = m.Live.Lost(s.now, s.want)
		undo.Reversible = undo.Why == ""
	}
	undo.Stages = m.stages(p)
	undo.Data, err = codec.Marshal(b)
	return undo, err
}

// Apply implements executor.Module.
func (m Module) Apply(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (map[string]any, error) {
	s, err := m.look(ctx, h, c, p)
	if err == nil {
		err = s.missing
	}
	if err != nil {
		return nil, err
	}
	if err := applyAll(ctx, h, c, s.wants); err != nil {
		return nil, err
	}
	if s.now != s.want {
		if err := m.Live.Set(ctx, h, p, s.now, s.want); err != nil {
			return nil, err
		}
	}
	if s.files != "" && m.After != nil && Real(h) {
		if err := m.After(ctx, h, p); err != nil {
			return nil, err
		}
	}
	return m.outputs(p, s.wants, true), nil
}

// Revert implements executor.Module. What is live comes first, as the files may be what holds it.
func (m Module) Revert(ctx context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	var b before
	if err := codec.Unmarshal(u.Data, &b); err != nil {
		return err
	}
	var liveErr error
	if b.WasLive && m.live(h) {
		now, err := m.Live.Read(ctx, h, p)
		if err == nil && now != b.Live {
			err = m.Live.Set(ctx, h, p, now, b.Live)
		}
		if !isMissing(err) {
			liveErr = err
		}
	}
	// Files that can be put back are, whatever is live.
	if err := revertAll(ctx, h, p, b.Files, u, m.Merge); err != nil {
		return errors.Join(liveErr, err)
	}
	if m.After != nil && liveErr == nil && Real(h) {
		_ = m.After(ctx, h, p)
	}
	return liveErr
}

// read returns what a file holds; nil when there is none.
func read(h executor.Host, path string) ([]byte, error) {
	data, err := h.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if data == nil && err == nil {
		data = []byte{}
	}
	return data, err
}

// Read returns what a file holds, and whether it is there.
func Read(h executor.Host, path string) (data []byte, there bool, err error) {
	data, err = read(h, path)
	return data, data != nil, err
}

// Run runs a command of the system that is to succeed.
func Run(ctx context.Context, h executor.Host, argv ...string) error {
	exit, err := h.Run(ctx, executor.Command{Argv: argv, Limit: commandOutput})
	if err != nil {
		return err
	}
	if exit.Status != 0 {
		return fmt.Errorf("%s: status %d: %s", argv[0], exit.Status, said(exit))
	}
	return nil
}

// commandOutput is how much of a failing command's output is shown, in bytes.
const commandOutput = 4 << 10

func said(exit executor.Exit) string {
	if len(exit.Stderr) > 0 {
		return string(exit.Stderr)
	}
	return string(exit.Stdout)
}
