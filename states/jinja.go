package states

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
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
	globals[secretFunction] = j.secretInJinja
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
