package file

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"shoal/executor"
)

// Limits of an edit: what one computes is held in memory.
const (
	maxEdited = 16 << 20 // bytes of the file
	maxEdits  = 1000     // of one state
)

// edits is what file.edit does to a text, in the order of the fields. It is pure: a text in, a text out.
type edits struct {
	remove  []*regexp.Regexp
	replace []replacement
	keys    []keyEdit
	lines   []lineEdit
	blocks  []blockEdit
}

type replacement struct {
	match *regexp.Regexp
	with  string
}

// lineEdit ensures one line.
type lineEdit struct {
	line          string
	match         *regexp.Regexp // the last line that it matches is replaced
	after, before *regexp.Regexp // where a new line goes: the last match of after, the first of before
	atStart       bool
}

// blockEdit ensures or removes lines between two marker lines.
type blockEdit struct {
	lineEdit
	begin, end string
	content    []string
	absent     bool
}

// parseEdits reads the parameters.
func parseEdits(p executor.Params) (e edits, err error) {
	for _, item := range asList(p["remove"]) {
		re, err := pattern("remove", item)
		if err != nil {
			return e, err
		}
		e.remove = append(e.remove, re)
	}
	for _, item := range asList(p["replace"]) {
		r, err := parseReplacement(item)
		if err != nil {
			return e, err
		}
		e.replace = append(e.replace, r)
	}
	if e.keys, err = parseKeys(p); err != nil {
		return e, err
	}
	if e.lines, err = parseLines(p); err != nil {
		return e, err
	}
	for _, item := range asList(p["block"]) {
		b, err := parseBlock(item)
		if err != nil {
			return e, err
		}
		e.blocks = append(e.blocks, b)
	}
	return e, e.check()
}

func (e edits) check() error {
	switch n := len(e.remove) + len(e.replace) + len(e.keys) + len(e.lines) + len(e.blocks); {
	case n == 0:
		return errors.New("needs one of line, remove, replace, block and keys")
	case n > maxEdits:
		return fmt.Errorf("more than %d edits", maxEdits)
	}
	seen := map[string]bool{}
	for _, b := range e.blocks {
		if seen[b.begin] {
			return fmt.Errorf("block: two have the marker %q", b.begin)
		}
		seen[b.begin] = true
	}
	return nil
}

// asList lets one thing stand for a list of one.
func asList(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	}
	return []any{v}
}

func pattern(name string, v any) (*regexp.Regexp, error) {
	s, ok := v.(string)
	if !ok || s == "" {
		return nil, fmt.Errorf("%s: wants a regular expression in quotes", name)
	}
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return re, nil
}

// fields reads a map of strings with known keys.
func fields(what string, v any, known ...string) (map[string]string, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: wants a map of %s", what, strings.Join(known, ", "))
	}
	out := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		s, ok := m[key].(string)
		switch {
		case !slices.Contains(known, key):
			return nil, fmt.Errorf("%s: unknown key %q; there are %s", what, key, strings.Join(known, ", "))
		case !ok:
			return nil, fmt.Errorf("%s: %s must be a string", what, key)
		}
		out[key] = s
	}
	return out, nil
}

func parseReplacement(v any) (r replacement, err error) {
	f, err := fields("replace", v, "match", "with")
	if err != nil {
		return r, err
	}
	re, err := pattern("replace: match", "(?m)"+f["match"])
	if f["match"] == "" {
		return r, errors.New("replace: needs match")
	}
	return replacement{match: re, with: f["with"]}, err
}

// parseLines reads line: a string with match, after, before and at beside it, or a list of strings and of maps.
func parseLines(p executor.Params) (all []lineEdit, err error) {
	var beside []string
	for _, key := range []string{"match", "after", "before", "at"} {
		if p.String(key) != "" {
			beside = append(beside, key)
		}
	}
	items := asList(p["line"])
	if _, single := p["line"].(string); !single && len(beside) > 0 {
		return nil, fmt.Errorf("%s belongs to a single line; in a list write {line: …, %s: …}", beside[0], beside[0])
	}
	for _, item := range items {
		f := map[string]string{}
		switch v := item.(type) {
		case string:
			f["line"] = v
			if len(items) == 1 {
				for _, key := range beside {
					f[key] = p.String(key)
				}
			}
		default:
			if f, err = fields("line", item, "line", "match", "after", "before", "at"); err != nil {
				return nil, err
			}
		}
		e, err := newLine("line", f)
		if err != nil {
			return nil, err
		}
		if e.line == "" || strings.ContainsAny(e.line, "\n\r") {
			return nil, errors.New("line: must be one line of text")
		}
		all = append(all, e)
	}
	return all, nil
}

func newLine(what string, f map[string]string) (e lineEdit, err error) {
	e.line = f["line"]
	for key, re := range map[string]**regexp.Regexp{"match": &e.match, "after": &e.after, "before": &e.before} {
		if f[key] == "" {
			continue
		}
		if *re, err = pattern(what+": "+key, f[key]); err != nil {
			return e, err
		}
	}
	if e.after != nil && e.before != nil {
		return e, fmt.Errorf("%s: after and before exclude each other", what)
	}
	switch f["at"] {
	case "", "end":
	case "start":
		e.atStart = true
	default:
		return e, fmt.Errorf("%s: at must be start or end, not %q", what, f["at"])
	}
	return e, nil
}

func parseBlock(v any) (b blockEdit, err error) {
	f, err := fields("block", v, "name", "content", "state", "comment", "after", "before", "at")
	if err != nil {
		return b, err
	}
	if b.lineEdit, err = newLine("block", f); err != nil {
		return b, err
	}
	name, comment := f["name"], "#"
	if f["comment"] != "" {
		comment = f["comment"]
	}
	if name == "" || strings.ContainsAny(name+comment, "\n\r") {
		return b, errors.New("block: needs a name of one line")
	}
	b.begin, b.end = comment+" BEGIN shoal "+name, comment+" END shoal "+name
	if text := strings.TrimSuffix(f["content"], "\n"); text != "" {
		b.content = strings.Split(text, "\n")
	}
	switch f["state"] {
	case "", "present":
	case "absent":
		b.absent = true
	default:
		return b, fmt.Errorf("block: state must be present or absent, not %q", f["state"])
	}
	if slices.Contains(b.content, b.begin) || slices.Contains(b.content, b.end) {
		return b, errors.New("block: its content holds its own marker")
	}
	return b, nil
}

// creates says whether a file that is not there would come to hold something.
func (e edits) creates() bool {
	return len(e.lines) > 0 || slices.ContainsFunc(e.keys, func(k keyEdit) bool { return !k.absent }) ||
		slices.ContainsFunc(e.blocks, func(b blockEdit) bool { return !b.absent })
}

// text is a file as lines without their ends.
type text struct {
	lines []string
	eol   string
	ended bool // the last line has an end
}

func readText(data []byte) text {
	t := text{eol: "\n", ended: true}
	if len(data) == 0 {
		return t
	}
	s := string(data)
	t.ended = strings.HasSuffix(s, "\n")
	t.lines = strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	if strings.Count(s, "\r\n") == strings.Count(s, "\n") && strings.Contains(s, "\r\n") {
		t.eol = "\r\n"
		for i := range t.lines {
			t.lines[i] = strings.TrimSuffix(t.lines[i], "\r")
		}
	}
	return t
}

func (t *text) bytes() []byte {
	if len(t.lines) == 0 {
		return nil
	}
	s := strings.Join(t.lines, t.eol)
	if t.ended {
		s += t.eol
	}
	return []byte(s)
}

func (t *text) insert(at int, lines ...string) {
	if at == len(t.lines) {
		t.ended = true
	}
	t.lines = slices.Insert(t.lines, at, lines...)
}

// apply computes the new text, and makes sure that doing it again changes nothing.
func (e edits) apply(data []byte) ([]byte, error) {
	once, err := e.once(data)
	if err != nil {
		return nil, err
	}
	twice, err := e.once(once)
	if err != nil {
		return nil, err
	}
	if string(twice) != string(once) {
		return nil, errors.New("these edits never come to rest: a second run would change the file again")
	}
	return once, nil
}

func (e edits) once(data []byte) ([]byte, error) {
	t := readText(data)
	if len(e.remove) > 0 {
		t.lines = slices.DeleteFunc(t.lines, func(line string) bool {
			return slices.ContainsFunc(e.remove, func(re *regexp.Regexp) bool { return re.MatchString(line) })
		})
	}
	if len(e.replace) > 0 {
		s := t.bytes()
		for _, r := range e.replace {
			if s = r.match.ReplaceAll(s, []byte(r.with)); len(s) > maxEdited {
				return nil, fmt.Errorf("replace: makes more than %d MiB", maxEdited>>20)
			}
		}
		t = readText(s)
	}
	for _, k := range e.keys {
		k.apply(&t)
	}
	for _, l := range e.lines {
		l.apply(&t)
	}
	for _, b := range e.blocks {
		if err := b.apply(&t); err != nil {
			return nil, err
		}
	}
	return t.bytes(), nil
}

func (l lineEdit) apply(t *text) {
	if l.match != nil {
		for i, line := range slices.Backward(t.lines) {
			if l.match.MatchString(line) {
				t.lines[i] = l.line
				return
			}
		}
	}
	if !slices.Contains(t.lines, l.line) {
		t.insert(l.place(t), l.line)
	}
}

// place is where something new goes.
func (l lineEdit) place(t *text) int {
	if l.after != nil {
		for i, line := range slices.Backward(t.lines) {
			if l.after.MatchString(line) {
				return i + 1
			}
		}
	}
	if l.before != nil {
		if i := slices.IndexFunc(t.lines, l.before.MatchString); i >= 0 {
			return i
		}
	}
	if l.atStart {
		return 0
	}
	return len(t.lines)
}

func (b blockEdit) apply(t *text) error {
	begin, end := slices.Index(t.lines, b.begin), slices.Index(t.lines, b.end)
	if (begin < 0) != (end < 0) || end < begin {
		return fmt.Errorf("block: one of the lines %q and %q is missing or out of order", b.begin, b.end)
	}
	if begin >= 0 {
		t.lines = slices.Delete(t.lines, begin, end+1)
	}
	if b.absent {
		return nil
	}
	if begin < 0 {
		begin = b.place(t)
	}
	t.insert(begin, slices.Concat([]string{b.begin}, b.content, []string{b.end})...)
	return nil
}
