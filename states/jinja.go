package states

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
	"github.com/nikolalohinski/gonja/v2/parser"
)

// jinja renders Jinja2 templates: each is parsed once. As Ansible has it, the newline after a block tag is removed and the
// one at the end of the file is kept; unlike both, undefined is always an error. A template sees the scope and the files of
// the tree (include, import, extends), and neither clock nor dice.
type jinja struct {
	lib       *Catalogue
	env       *exec.Environment
	config    *config.Config
	templates map[string]jinjaTemplate
	budget    *budget
	failed    *placedError // what is wrong with an included file
	reads     map[string]templateReads
	testNames []string
}

type jinjaTemplate struct {
	t       *exec.Template
	err     *placedError
	mutates bool // it may change a map or list that it was given
	reads   *reads
}

func newJinja(l *Catalogue) *jinja {
	j := &jinja{lib: l, templates: map[string]jinjaTemplate{}, budget: &budget{}}
	j.config = config.New()
	j.config.StrictUndefined = true
	j.config.TrimBlocks = true
	j.config.KeepTrailingNewline = true
	globals := map[string]any{}
	for _, name := range []string{"cycler", "joiner", "namespace"} {
		if f, ok := builtins.GlobalFunctions.Get(name); ok {
			globals[name] = f
		}
	}
	globals["none"], globals["None"] = nil, nil
	globals["range"] = j.budget.rangeFunction
	globals["dict"] = j.budget.dictFunction
	globals[fleetFunction] = j.fleetInJinja
	j.env = &exec.Environment{
		Context:           exec.NewContext(globals),
		Filters:           jinjaFilters(j.budget),
		Tests:             jinjaTests(j.budget),
		ControlStructures: j.structures(),
		Methods:           jinjaMethods(j.budget),
	}
	for _, name := range strings.Fields(jinjaTestNames) {
		if j.env.Tests.Exists(name) {
			j.testNames = append(j.testNames, name)
		}
	}
	return j
}

// jinjaTestNames are the tests that there are, for suggestions.
const jinjaTestNames = `all any boolean callable contains defined divisibleby eq equalto escaped even false falsy filter float ge
	greaterthan gt in integer iterable le lessthan lower lt mapping match ne none number odd regex sameas search sequence string
	subset superset test true truthy undefined upper version version_compare`

// mutating finds what a template could change its variables with; those get a copy.
var mutating = regexp.MustCompile(`\b(update|pop|append|setdefault|clear|reverse|attr|include|import|extends|from)\b|\bset\s+\w+\s*[.\[]`)

func (j *jinja) parse(name string) jinjaTemplate {
	if t, ok := j.templates[name]; ok {
		return t
	}
	var t jinjaTemplate
	data, err := j.lib.tree.read(name, MaxTemplateBytes)
	if err == nil {
		err = guarded(func() error {
			if err := checkNesting(string(pythonEscapes(data)), j.config); err != nil {
				return err
			}
			var err error
			t.t, err = exec.NewTemplate("/"+name, j.config, treeLoader{j, name, 0}, j.env)
			if err == nil {
				j.budget.guard(t.t.Root(), name)
			}
			return err
		})
		t.mutates = mutating.Match(data)
		t.reads = readsOfJinja(string(pythonEscapes(data)), j.config)
	}
	if err != nil {
		t.err = j.problem(name, err, nil)
	}
	j.templates[name] = t
	return t
}

func (j *jinja) render(name string, s *scope) ([]byte, *placedError) {
	j.budget.reset()
	t := j.parse(name)
	if t.err != nil {
		return nil, t.err
	}
	j.note(name, map[string]bool{})
	data := s.templateData()
	if t.mutates {
		data = deepCopy(data).(map[string]any)
	}
	j.budget.reset()
	j.failed = nil
	out := limitedBuffer{limit: MaxRenderedBytes}
	err := guarded(func() error { return t.t.Execute(&out, exec.NewContext(data)) })
	if err == nil {
		err = j.budget.err
	}
	if j.failed != nil {
		return nil, j.failed
	}
	if err != nil {
		return nil, j.problem(name, err, s)
	}
	return out.Bytes(), nil
}

// note tells what a template may read, with all that it includes.
func (j *jinja) note(name string, seen map[string]bool) {
	if seen[name] {
		return
	}
	seen[name] = true
	noted := &j.lib.noting.reads
	t := j.parse(name)
	if t.err != nil || t.reads == nil {
		noted.everything = true
		return
	}
	noted.add(t.reads)
	for _, include := range t.reads.includes {
		found, err := treeLoader{j, name, 0}.Resolve(include)
		if err != nil {
			noted.everything = true
			return
		}
		j.note(found[1:], seen)
	}
}

// guarded turns a panic of a template engine into an error: they panic on a division by zero, for one.
func guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("cannot be evaluated: %v", r)
		}
	}()
	return f()
}

func deepCopy(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, item := range v {
			m[k] = deepCopy(item)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = deepCopy(item)
		}
		return list
	}
	return v
}

// limitedBuffer refuses to grow beyond its limit.
type limitedBuffer struct {
	bytes.Buffer
	limit int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.limit {
		return 0, fmt.Errorf("renders to more than %s", sizeText(int64(b.limit)))
	}
	return b.Buffer.Write(p)
}

func (b *limitedBuffer) WriteString(s string) (int, error) { return b.Write([]byte(s)) }

// ReadFrom keeps io.Copy from going around the limit.
func (b *limitedBuffer) ReadFrom(r io.Reader) (int64, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(b.limit)+1))
	if err != nil {
		return 0, err
	}
	n, err := b.Write(data)
	return int64(n), err
}

// treeLoader finds what a template includes: beside the template, else in its component's folder.
type treeLoader struct {
	j     *jinja
	from  string
	depth int // includes within each other
}

// Read reads what Resolve found, or what an extends names as it is written.
func (l treeLoader) Read(name string) (io.Reader, error) {
	name, err := l.path(name)
	if err != nil {
		return nil, err
	}
	data, err := l.j.lib.tree.read(name, MaxTemplateBytes)
	if err != nil {
		return nil, fmt.Errorf("%s %s", name, reason(err))
	}
	if err := l.j.budget.read(len(data)); err != nil {
		return nil, err
	}
	data = pythonEscapes(data)
	if l.depth > 0 || name != l.from { // parse has checked the template itself
		if err := checkNesting(string(data), l.j.config); err != nil {
			return nil, err
		}
	}
	return bytes.NewReader(data), nil
}

// path is the path in the tree: of a name from Resolve what follows its slash.
func (l treeLoader) path(name string) (string, error) {
	found, ok := strings.CutPrefix(name, "/")
	if !ok {
		var err error
		if name, err = l.Resolve(name); err != nil {
			return "", err
		}
		found = name[1:]
	}
	return found, nil
}

// Resolve finds a name as a template writes it. It marks what it found with a slash, since gonja resolves some names and
// others not.
func (l treeLoader) Resolve(name string) (string, error) {
	beside, err := within(path.Dir(l.from), name)
	if err != nil {
		return "", &includeError{err}
	}
	if l.j.lib.tree.exists(beside) {
		return "/" + beside, nil
	}
	parts := strings.SplitN(l.from, "/", 3)
	if len(parts) == 3 && parts[0] == "components" {
		if below, err := within(parts[0]+"/"+parts[1], name); err == nil && l.j.lib.tree.exists(below) {
			return "/" + below, nil
		}
	}
	return "", &includeError{fmt.Errorf("%s does not exist", beside)}
}

// includeError is an include that names nothing. gonja flattens it to text, so the text is marked.
type includeError struct{ err error }

const includeFailed = "include: "

func (e *includeError) Error() string { return includeFailed + e.err.Error() }

func (l treeLoader) Inherit(from string) (loaders.Loader, error) {
	if l.depth >= maxCalls {
		return nil, &includeError{fmt.Errorf("more than %d files within each other", maxCalls)}
	}
	found, err := l.path(from)
	if err != nil {
		return nil, err
	}
	return treeLoader{l.j, found, l.depth + 1}, nil
}

var (
	jinjaLine    = regexp.MustCompile(`(?i)at line (\d+)`)
	jinjaMissing = []*regexp.Regexp{
		regexp.MustCompile(`attribute '([^']*)' not found`),
		regexp.MustCompile(`item ''?([^']*?)''? not found`),
		regexp.MustCompile(`Unable to evaluate name "([^"]*)"`),
	}
	jinjaFilter = regexp.MustCompile(`(?i)filter '([^']*)' not found|unknown filter:? '?([\w.]+)`)
	jinjaTest   = regexp.MustCompile(`(?i)test '([^']*)' not found`)
	jinjaTag    = regexp.MustCompile(`ControlStructure '(\w+)' not found`)
	extendsTag  = regexp.MustCompile(`\{%[-+]?\s*extends\b`)
	jinjaMethod = regexp.MustCompile(`unknown method '(\w+)' for`)
)

// problem finds place, message and hint in gonja's error: the place is that of the mark that evaluation came to last.
func (j *jinja) problem(name string, err error, s *scope) *placedError {
	text := err.Error()
	p := placedError{place: Place{File: name}}
	var syntax *parser.SyntaxError
	if errors.As(err, &syntax) {
		if unclosed := j.unclosed(name); unclosed != nil {
			return unclosed
		}
	}
	if syntax != nil && syntax.Line > 0 {
		return j.syntaxProblem(p, syntax)
	}
	if at := j.budget.at; at > 0 {
		p.place = j.budget.places[at-1]
	} else {
		for _, m := range jinjaLine.FindAllStringSubmatch(text, -1) {
			if n, err := strconv.Atoi(m[1]); err == nil && n > 0 {
				p.place.Line, p.place.Column = n, 1
			}
		}
	}
	for _, re := range jinjaMissing {
		if m := re.FindStringSubmatch(text); m != nil {
			p.message = fmt.Sprintf("undefined variable %q", m[1])
			if s != nil {
				p.hint = suggest(m[1], s.names())
			}
			if m[1] == "states" {
				p.message, p.hint = outputsUnknown, outputsHint
			}
			p.place = j.wordNear(p.place, m[1])
			if p.hint == "" && j.isTag(p.place) {
				p.hint = fmt.Sprintf("this node has no such tag; tags.%s is defined asks whether it has", m[1])
			}
			return &p
		}
	}
	for _, unknown := range []struct {
		re    *regexp.Regexp
		what  string
		known []string
	}{{jinjaFilter, "filter", jinjaFilterNames()}, {jinjaTest, "test", j.testNames}, {jinjaMethod, "method", jinjaMethodNames}} {
		if m := unknown.re.FindStringSubmatch(text); m != nil {
			word := strings.Join(m[1:], "")
			p.message, p.hint = fmt.Sprintf("unknown %s %q", unknown.what, word), suggest(word, unknown.known)
			p.place = j.wordNear(p.place, word)
			return &p
		}
	}
	if m := notProvided.FindStringSubmatch(text); m != nil {
		p.message = fmt.Sprintf("template: the macro needs the argument %q", m[1])
		return &p
	}
	if unclosed := j.unclosed(p.place.File); p.place.Line == 0 && unclosed != nil {
		return unclosed
	}
	p.message = "template: " + strings.Replace(lastSaid(text), "is not callable", "is no function: it cannot be called", 1)
	if p.place.Line == 0 || strings.Contains(text, includeFailed) || strings.Contains(text, tooManyIncludes) {
		if data, err := j.lib.tree.read(p.place.File, MaxTemplateBytes); err == nil && p.place.Line == 0 {
			if at := extendsTag.FindIndex(data); at != nil { // it is followed while the file is parsed
				p.place.Line = 1 + bytes.Count(data[:at[0]], []byte("\n"))
			}
		}
		word := ""
		for _, tag := range []string{"include", "extends", "import"} {
			if strings.Contains(j.lib.tree.line(p.place), tag) {
				word = tag
			}
		}
		p.place = j.lib.wordPlace(p.place, word)
	}
	return &p
}

var notProvided = regexp.MustCompile(`parameter "(\w+)" was not provided`)

// unclosed finds a comment, raw block, tag or string of a template that has no end: gonja's lexer tells no place.
func (j *jinja) unclosed(file string) *placedError {
	data, err := j.lib.tree.read(file, MaxTemplateBytes)
	if err != nil {
		return nil
	}
	for at := 0; ; {
		i := bytes.IndexByte(data[at:], '{')
		if i < 0 || at+i+1 >= len(data) {
			return nil
		}
		at += i
		end, what := map[byte]string{'#': "#}", '{': "}}", '%': "%}"}[data[at+1]], map[byte]string{'#': "comment", '{': "variable", '%': "tag"}[data[at+1]]
		if end == "" {
			at++
			continue
		}
		stop := tagEnd(data[at:], end)
		if stop > 0 && end == "%}" && isRaw(data[at:at+stop]) {
			end, what = "endraw", "raw"
			stop = after(data[at:], stop, end)
			if !bytes.Contains(data[at:at+stop], []byte(end)) {
				stop = -1
			}
		}
		if stop < 0 {
			line := 1 + bytes.Count(data[:at], []byte("\n"))
			return &placedError{Place{File: file, Line: line, Column: at - bytes.LastIndexByte(data[:at], '\n')}, fmt.Sprintf("template: this %s is not closed: there is no %s", what, end),
				"a quote that is not closed hides what follows it"}
		}
		at += stop
	}
}

// tagEnd is the offset behind the end of a tag or comment, or -1; quotes hide an end.
func tagEnd(data []byte, end string) int {
	quote := byte(0)
	for i := 2; i < len(data); i++ {
		c := data[i]
		switch {
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case bytes.HasPrefix(data[i:], []byte(end)):
			return i + len(end)
		case end != "#}" && (c == '"' || c == '\''):
			quote = c
		}
	}
	return -1
}

// syntaxProblem puts the parser's words into the language's.
func (j *jinja) syntaxProblem(p placedError, e *parser.SyntaxError) *placedError {
	p.place.Line, p.place.Column = e.Line, max(1, e.Column)
	if data, err := j.lib.tree.read(p.place.File, MaxTemplateBytes); err == nil && e.Line > bytes.Count(data, []byte("\n")) && bytes.HasSuffix(data, []byte("\n")) {
		p.place.Line, p.place.Column = e.Line-1, 1 // what is missing is missing at the end
	}
	p.message = "template: " + lowerFirst(strings.TrimSuffix(e.Message, "."))
	if m := jinjaTag.FindStringSubmatch(e.Message); m != nil {
		p.message, p.hint = fmt.Sprintf("unknown tag %q", m[1]), suggest(m[1], jinjaTagNames)
		for _, part := range jinjaPartTags {
			if m[1] == part {
				p.message = fmt.Sprintf("template: %s without the tag that it belongs to", part)
				p.hint = ""
			}
		}
	}
	return &p
}

// wordNear finds a name from a mark on: on its line behind it, else in the lines that follow, since a tag may go over many
// and elif has no mark of its own; else where wordPlace finds it.
func (j *jinja) wordNear(p Place, word string) Place {
	for down := p; word != "" && down.Line-p.Line < 200; down.Line++ {
		line := j.lib.tree.line(down)
		from := 0
		if down.Line == p.Line {
			from = min(max(0, p.Column-1), len(line))
		}
		if i := wordIndex(line[from:], word); i >= 0 {
			down.Column = from + i + 1
			return down
		}
	}
	return j.lib.wordPlace(p, word)
}

// isTag: what is written there is a member of tags.
func (j *jinja) isTag(p Place) bool {
	line := j.lib.tree.line(p)
	return p.Column > 0 && p.Column <= len(line) && isOwnTag(line[:p.Column-1])
}

var invalidCall = regexp.MustCompile(`tick: |invalid call to (?:filter|function|method|test) '[^']*': |unable to execute test '[^']*': `)

// lastSaid is the innermost of an error's wrapped messages, in one short line.
func lastSaid(text string) string {
	text = strings.TrimPrefix(strings.TrimRight(text, "\n"), "': ")
	text = invalidCall.ReplaceAllString(text, "")
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = strings.TrimPrefix(text[i+1:], "': ")
	}
	for _, own := range []string{": filter ", ": test "} { // this package's own say it all
		if i := strings.LastIndex(text, own); i >= 0 {
			return shortMessage(text[i+2:])
		}
	}
	if i := strings.LastIndex(text, "map[]}: "); i >= 0 { // the arguments of a filter, as Go prints them
		text = text[i+len("map[]}: "):]
	}
	for {
		i := strings.Index(text, ": ")
		if i < 0 || !strings.Contains(text[:i], "(") && !strings.HasPrefix(strings.ToLower(text), "unable") && !strings.HasPrefix(text, "failed") {
			break
		}
		text = text[i+2:]
	}
	if i := strings.LastIndex(text, ": "); i >= 0 && strings.HasPrefix(text, "invalid call to method") {
		text = text[i+2:] // what is left out is the whole string that the method was called on
	}
	return shortMessage(text)
}

func shortMessage(text string) string {
	if len(text) > 200 {
		text = text[:200] + "…"
	}
	return lowerFirst(text)
}
