package states

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// tree reads a state tree and remembers what it read, since many nodes may be compiled from it.
type tree struct {
	fsys   fs.FS
	texts  map[string]*textFile
	hashes map[string]hashedFile
	found  map[string]bool // what exists has been asked
}

type textFile struct {
	data  []byte
	err   error
	lines []int // offsets of the lines' beginnings, made when first asked for
}

type hashedFile struct {
	hash string
	size int64
	err  error
}

func newTree(fsys fs.FS) *tree {
	return &tree{fsys: fsys, texts: map[string]*textFile{}, hashes: map[string]hashedFile{}, found: map[string]bool{}}
}

// open refuses what is not a regular file of at most limit bytes.
func (t *tree) open(name string, limit int64) (fs.File, int64, error) {
	f, err := t.fsys.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = errors.New("is a folder, not a file")
	case !info.Mode().IsRegular():
		err = errors.New("is not a regular file")
	case info.Size() > limit:
		err = tooLarge(limit)
	default:
		return f, info.Size(), nil
	}
	return nil, 0, errors.Join(err, f.Close())
}

func tooLarge(limit int64) error { return fmt.Errorf("is larger than %s", sizeText(limit)) }

func sizeText(n int64) string {
	if n >= 1<<30 && n%(1<<30) == 0 {
		return fmt.Sprintf("%d GiB", n>>30)
	}
	if n >= 1<<20 && n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}

// read returns a small file whole.
func (t *tree) read(name string, limit int64) ([]byte, error) {
	if f, ok := t.texts[name]; ok {
		return f.data, f.err
	}
	data, err := t.readAll(name, limit)
	t.texts[name] = &textFile{data: data, err: err}
	return data, err
}

func (t *tree) readAll(name string, limit int64) ([]byte, error) {
	f, size, err := t.open(name, limit)
	if err != nil {
		return nil, err
	}
	data := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	_, err = data.ReadFrom(io.LimitReader(f, limit+1))
	if err = errors.Join(err, f.Close()); err == nil && int64(data.Len()) > limit {
		err = tooLarge(limit)
	}
	return data.Bytes(), err
}

// hash returns a file's "sha256:…" and size, without holding its bytes.
func (t *tree) hash(name string) (string, int64, error) {
	if h, ok := t.hashes[name]; ok {
		return h.hash, h.size, h.err
	}
	var h hashedFile
	f, _, err := t.open(name, MaxFileBytes)
	if err == nil {
		sum := sha256.New()
		h.size, err = io.Copy(sum, io.LimitReader(f, MaxFileBytes+1))
		if err = errors.Join(err, f.Close()); err == nil && h.size > MaxFileBytes {
			err = tooLarge(MaxFileBytes)
		}
		h.hash = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	}
	h.err = err
	t.hashes[name] = h
	return h.hash, h.size, h.err
}

func (t *tree) exists(name string) bool {
	_, err := fs.Stat(t.fsys, name)
	return err == nil
}

// list names the entries of a folder, for suggestions; nothing when there is none.
func (t *tree) list(dir string) []string {
	entries, err := fs.ReadDir(t.fsys, dir)
	if err != nil {
		return nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

// line is the text of a line of a file that was read, or nothing.
func (t *tree) line(p Place) string {
	f, ok := t.texts[p.File]
	if !ok || f.err != nil || p.Line < 1 {
		return ""
	}
	if f.lines == nil {
		f.lines = lineStarts(f.data)
	}
	if p.Line > len(f.lines) {
		return ""
	}
	rest := f.data[f.lines[p.Line-1]:]
	line, _, _ := bytes.Cut(rest[:min(len(rest), maxShownLine+1)], []byte("\n"))
	if len(line) > maxShownLine {
		line = line[:maxShownLine]
	}
	return strings.TrimRight(string(line), "\r")
}

// offset is where a place of a file that was read is in its bytes.
func (t *tree) offset(p Place) int {
	if t.line(p) == "" {
		return 0
	}
	return t.texts[p.File].lines[p.Line-1] + p.Column - 1
}

// maxShownLine is how much of a line a problem shows.
const maxShownLine = 400

func lineStarts(data []byte) []int {
	starts := []int{0}
	for i, b := range data {
		if b == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}

// within resolves a path as a tree writes it, relative to base, and refuses one that leaves the tree.
func within(base, name string) (string, error) {
	switch {
	case name == "":
		return "", errors.New(`"" is an empty path`)
	case path.IsAbs(name):
		return "", fmt.Errorf("%q leaves the tree: a path in a tree is relative", name)
	case strings.ContainsAny(name, "\\\x00"):
		return "", fmt.Errorf("%q is not a path: it holds a backslash or a NUL", name)
	}
	clean := path.Join(base, name)
	if !fs.ValidPath(clean) || clean == "." {
		return "", fmt.Errorf("%q leaves the tree", name)
	}
	return clean, nil
}

// collector gathers problems, each once.
type collector struct {
	tree     *tree
	problems Problems
	seen     map[string]bool
	rendered map[string][]byte // what a templated states file rendered to: its places count there
	left     int
	calls    int // of add, repeated problems too
}

// hopeless is true when so much is wrong that looking for more helps nobody.
func (c *collector) hopeless() bool { return c.calls > 50*MaxProblems }

func newCollector(t *tree) *collector {
	return &collector{tree: t, seen: map[string]bool{}, rendered: map[string][]byte{}}
}

func (c *collector) add(p Place, hint, format string, args ...any) {
	c.calls++
	problem := Problem{Place: p, Message: fmt.Sprintf(format, args...), Hint: hint}
	key := p.String() + "\x00" + problem.Message
	if c.seen[key] {
		return
	}
	if len(c.problems) >= MaxProblems {
		c.left++
		return
	}
	c.seen[key] = true
	if p.Line > 0 {
		problem.Source = c.tree.line(p)
		if text, ok := c.tree.texts[p.File]; ok {
			problem.marked(text.data)
		}
	}
	if data, ok := c.rendered[p.File]; ok && p.Line > 0 {
		c.fromRendered(&problem, data)
	}
	c.problems = append(c.problems, problem)
}

// fromRendered moves a place in rendered text to the line of the template that reads the same, where there is exactly one;
// else it shows the rendered line.
func (c *collector) fromRendered(p *Problem, data []byte) {
	lines := strings.Split(string(data), "\n")
	if p.Place.Line > len(lines) {
		return
	}
	text := strings.TrimRight(lines[p.Place.Line-1], "\r")
	found := 0
	template, ok := c.tree.texts[p.Place.File]
	if !ok {
		return
	}
	for i, line := range strings.Split(string(template.data), "\n") {
		if strings.TrimRight(line, "\r") == text {
			if found != 0 {
				found = -1
				break
			}
			found = i + 1
		}
	}
	p.Source = text
	p.marked(data)
	if found > 0 {
		p.Place.Line = found
		return
	}
	if found = likely(string(template.data), text); found > 0 {
		p.Message += fmt.Sprintf(" (this is line %d of the rendered text, made by line %d of the template)", p.Place.Line, found)
		p.Place.Line = found
		return
	}
	p.Message += fmt.Sprintf(" (in line %d of the rendered text)", p.Place.Line)
}

// include takes over what another collector has gathered.
func (c *collector) include(other *collector) {
	c.calls += other.calls
	c.left += other.left
	for _, p := range other.problems {
		key := p.Place.String() + "\x00" + p.Message
		switch {
		case c.seen[key]:
		case len(c.problems) >= MaxProblems:
			c.left++
		default:
			c.seen[key] = true
			c.problems = append(c.problems, p)
		}
	}
}

var templateTag = regexp.MustCompile(`\{\{.*?\}\}|\{%.*?%\}`)

// likely is the one line of a template with tags that could have made a line of text; 0 where there is none, or more.
func likely(template, text string) int {
	found := 0
	for i, line := range strings.Split(template, "\n") {
		literals := templateTag.Split(strings.TrimRight(line, "\r"), -1)
		if len(literals) < 2 || strings.TrimSpace(strings.Join(literals, "")) == "" || len(literals) > 50 {
			continue
		}
		for j := range literals {
			literals[j] = regexp.QuoteMeta(literals[j])
		}
		if re, err := regexp.Compile("^" + strings.Join(literals, ".*") + "$"); err == nil && re.MatchString(text) {
			if found > 0 {
				return 0
			}
			found = i + 1
		}
	}
	return found
}

func (c *collector) addAll(errs []placedError) {
	for _, e := range errs {
		c.add(e.place, e.hint, "%s", e.message)
	}
}

// sorted returns all problems in the order of their places.
func (c *collector) sorted() Problems {
	slices.SortStableFunc(c.problems, func(a, b Problem) int {
		return comparePlaces(a.Place, b.Place)
	})
	if c.left > 0 {
		return append(c.problems, Problem{Message: fmt.Sprintf("and %d more problems", c.left)})
	}
	return c.problems
}

func comparePlaces(a, b Place) int {
	if d := strings.Compare(a.File, b.File); d != 0 {
		return d
	}
	if a.Line != b.Line {
		return a.Line - b.Line
	}
	return a.Column - b.Column
}

// reason is an error without the name of the file, which the place has already.
func reason(err error) string {
	var pe *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist"
	case errors.As(err, &pe):
		return pe.Err.Error()
	}
	return err.Error()
}
