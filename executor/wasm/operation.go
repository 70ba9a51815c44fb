package wasm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"unicode/utf8"

	"shoal/executor"
	"shoal/internal/hostfile"
)

// operation is what a module asks of the host. Op says which of the other fields it reads.
type operation struct {
	Op   string `json:"op"`
	Path string `json:"path"`
	// The bytes of write and differs: one of these.
	Text    *string `json:"text"`
	Data    []byte  `json:"data"`    // base64
	Content string  `json:"content"` // hash of a contents parameter
	URL     string  `json:"url"`     // with sha256, and the most bytes that it may have
	SHA256  string  `json:"sha256"`
	Limit   int64   `json:"limit"`

	Mode   string `json:"mode"`
	Owner  string `json:"owner"`
	Group  string `json:"group"`
	Target string `json:"target"` // of symlink

	Argv  []string `json:"argv"` // of run
	Stdin string   `json:"stdin"`
	Hash  string   `json:"hash"` // of content
	Name  string   `json:"name"` // of user and group
}

// result is what an operation found or did.
type result struct {
	Error *failure `json:"error,omitempty"`

	Exists bool     `json:"exists,omitempty"`
	Kind   string   `json:"kind,omitempty"` // file, folder, symlink, other
	Mode   string   `json:"mode,omitempty"`
	UID    uint32   `json:"uid,omitempty"`
	GID    uint32   `json:"gid,omitempty"`
	Size   int64    `json:"size,omitempty"`
	Text   *string  `json:"text,omitempty"`
	Data   []byte   `json:"data,omitempty"`
	SHA256 string   `json:"sha256,omitempty"`
	Target string   `json:"target,omitempty"`
	Names  []string `json:"names,omitempty"`

	Needed bool   `json:"needed,omitempty"`
	Diff   string `json:"diff,omitempty"`

	Status int    `json:"status,omitempty"`
	Stdout string `json:"stdout,omitempty"`
	Stderr string `json:"stderr,omitempty"`
}

var (
	errLimit   = errors.New("limit")
	errInvalid = errors.New("invalid operation")
)

// operate does one operation, and gives the module its answer.
func (s *session) operate(ctx context.Context, data []byte) []byte {
	var o operation
	var r result
	err := decodeStrict(data, &o)
	if err != nil {
		err = fmt.Errorf("%w: %w", errInvalid, err)
	}
	if s.count++; s.count > maxOperations {
		panic(fmt.Errorf("it asks for more than %d operations", maxOperations))
	}
	if err == nil {
		r, err = s.perform(ctx, o)
	}
	if err != nil {
		r = result{Error: failed(err)}
	}
	answer, err := json.Marshal(r)
	if err != nil || len(answer) > s.limit+s.limit/2 {
		answer, _ = json.Marshal(result{Error: &failure{Code: codeLimit, Message: "the answer is too long (limits.output_mb)"}})
	}
	return answer
}

func failed(err error) *failure {
	var refused *Refused
	var missing_ *executor.Missing
	f := &failure{Code: codeFailed, Message: err.Error()}
	switch {
	case errors.As(err, &refused):
		f.Code = codeDenied
	case errors.As(err, &missing_):
		f.Missing = &missing{Kind: string(missing_.Kind), Name: missing_.Name}
	case errors.Is(err, fs.ErrNotExist):
		f.Code = codeNotFound
	case errors.Is(err, errLimit):
		f.Code = codeLimit
	case errors.Is(err, errInvalid):
		f.Code = codeInvalid
	}
	return f
}

func (s *session) perform(ctx context.Context, o operation) (result, error) {
	g := s.guard
	switch o.Op {
	case "stat":
		return s.stat(o)
	case "read":
		return s.read(o)
	case "readlink":
		target, err := g.Readlink(o.Path)
		return result{Target: target}, err
	case "list":
		names, err := g.ReadDir(o.Path)
		return result{Names: names}, err
	case "content":
		data, err := s.content(ctx, o.Hash)
		return text(data), err
	case "user":
		u, ok, err := g.LookupUser(o.Name)
		return result{Exists: ok, UID: u.UID, GID: u.GID}, err
	case "group":
		group, ok, err := g.LookupGroup(o.Name)
		return result{Exists: ok, GID: group.GID}, err
	case "differs", "write":
		return s.file(ctx, o)
	case "mkdir":
		return s.mkdir(o)
	case "symlink":
		return result{}, g.Symlink(o.Target, o.Path)
	case "remove":
		return result{}, g.Remove(o.Path)
	case "setting":
		return result{}, g.WriteSetting(o.Path, o.bytes())
	case "run":
		return s.run(ctx, o)
	}
	return result{}, fmt.Errorf("%w: there is no %q", errInvalid, o.Op)
}

func (o operation) bytes() []byte {
	if o.Text != nil {
		return []byte(*o.Text)
	}
	return o.Data
}

// text is data as text, where it is that.
func text(data []byte) result {
	if utf8.Valid(data) {
		said := string(data)
		return result{Text: &said}
	}
	return result{Data: data}
}

func (s *session) stat(o operation) (result, error) {
	st, err := s.guard.Lstat(o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return result{}, nil
	}
	if err != nil {
		return result{}, err
	}
	r := result{Exists: true, Kind: "other", Mode: hostfile.FormatMode(st.Mode), UID: st.UID, GID: st.GID, Size: st.Size}
	switch {
	case st.Mode.IsRegular():
		r.Kind = "file"
	case st.Mode.IsDir():
		r.Kind = "folder"
	case st.Mode&fs.ModeSymlink != 0:
		r.Kind = "symlink"
	}
	return r, nil
}

func (s *session) read(o operation) (result, error) {
	st, err := s.guard.Lstat(o.Path)
	if err != nil {
		return result{}, err
	}
	if !st.Mode.IsRegular() {
		return result{}, fmt.Errorf("read %s: it is %s", o.Path, hostfile.KindName(st.Mode))
	}
	if st.Size > int64(s.limit) {
		return result{}, fmt.Errorf("read %s: %w: it has %d bytes (limits.output_mb)", o.Path, errLimit, st.Size)
	}
	data, err := s.guard.ReadFile(o.Path)
	if err != nil {
		return result{}, err
	}
	r := text(data)
	r.SHA256 = hostfile.HashOf(data)[len("sha256:"):]
	return r, nil
}

// content opens what a contents parameter names, and nothing else.
func (s *session) content(ctx context.Context, hash string) ([]byte, error) {
	c, ok := s.named[hash]
	if !ok || s.contents == nil {
		return nil, fmt.Errorf("%w: none of its parameters names the contents %q", errInvalid, hash)
	}
	if c.Size > int64(s.limit) {
		return nil, fmt.Errorf("contents: %w: they have %d bytes (limits.output_mb)", errLimit, c.Size)
	}
	return s.contents.Bytes(ctx, c)
}

// file compares a file with what it is to be, or makes it so.
func (s *session) file(ctx context.Context, o operation) (result, error) {
	params := executor.Params{}
	for name, v := range map[string]string{"mode": o.Mode, "owner": o.Owner, "group": o.Group} {
		if v != "" {
			params[name] = v
		}
	}
	wanted, err := hostfile.WantedMeta(s.guard, params)
	if err != nil {
		return result{}, fmt.Errorf("%w: %w", errInvalid, err)
	}
	t := &hostfile.Target{Wanted: wanted, Path: o.Path}
	switch {
	case o.URL != "":
		if t.Fetch, err = hostfile.RequestOf(executor.Params{"url": o.URL, "sha256": o.SHA256}, o.Limit); err != nil {
			return result{}, fmt.Errorf("%w: %w", errInvalid, err)
		}
		t.Hash, t.Size = t.Fetch.Hash, hostfile.UnknownSize
	case o.Content != "":
		data, err := s.content(ctx, o.Content)
		if err != nil {
			return result{}, err
		}
		t.Holding(data)
		t.Secret = s.named[o.Content].Secret
	case o.Text != nil || o.Data != nil:
		t.Holding(o.bytes())
	}
	change, err := t.Check(ctx, s.guard)
	if err != nil {
		return result{}, err
	}
	r := result{Needed: change.Needed, Diff: change.Diff}
	if o.Op == "write" && change.Needed {
		_, err = t.Apply(ctx, s.guard)
	}
	return r, err
}

func (s *session) mkdir(o operation) (result, error) {
	mode := fs.FileMode(hostfile.DefaultFolderMode)
	if o.Mode != "" {
		var err error
		if mode, err = hostfile.ParseMode(o.Mode); err != nil {
			return result{}, fmt.Errorf("%w: %w", errInvalid, err)
		}
	}
	uid, gid := s.guard.Self()
	return result{}, s.guard.Mkdir(o.Path, executor.Meta{Mode: fs.ModeDir | mode, UID: uid, GID: gid})
}

func (s *session) run(ctx context.Context, o operation) (result, error) {
	exit, err := s.guard.Run(ctx, executor.Command{Argv: o.Argv, Stdin: []byte(o.Stdin), Limit: s.limit / 2})
	if err != nil {
		return result{}, err
	}
	return result{Status: exit.Status, Stdout: toText(exit.Stdout), Stderr: toText(exit.Stderr)}, nil
}

func toText(data []byte) string {
	if utf8.Valid(data) {
		return string(data)
	}
	return string([]rune(string(data)))
}
