package states

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"
)

// starFiles runs Starlark files: each is run once for all nodes, and what it defines is frozen; states() is then called for
// each node. A program sees the tree (load) and its arguments, and nothing else. What print says goes nowhere.
type starFiles struct {
	lib     *Catalogue
	modules map[string]*starModule
}

// starModule is one file after its top level ran.
type starModule struct {
	running  bool
	globals  starlark.StringDict
	literals map[string][]starLiteral // its own, and behind them those of what it loads
	steps    uint64
	bytes    int
	errs     []placedError
}

var starDialect = &syntax.FileOptions{Set: true, TopLevelControl: true, GlobalReassign: true}

// states runs the file's states() for a node.
func (f *starFiles) states(name string, s *scope) (*docNode, []placedError) {
	m := f.module(name)
	if m.errs != nil {
		return nil, m.errs
	}
	one := func(p Place, hint, format string, args ...any) []placedError {
		return []placedError{{p, fmt.Sprintf(format, args...), hint}}
	}
	fn, ok := m.globals["states"].(*starlark.Function)
	if !ok {
		return nil, one(Place{File: name, Line: 1, Column: 1}, `write: def states(node, vars): return {"states": {…}}`, "defines no function states(node, vars)")
	}
	at := f.place(fn.Position())
	if fn.NumParams() != 2 || fn.HasVarargs() || fn.HasKwargs() || fn.NumKwonlyParams() > 0 {
		return nil, one(at, "write: def states(node, vars):", "states must take two parameters, the node and its variables, not %d", fn.NumParams())
	}
	t := f.thread(name)
	t.SetLocal(starFleetKey, f.lib)
	if err := f.charge(t, m); err != nil {
		return nil, one(at, "", "%s", err)
	}
	out, err := starlark.Call(t, fn, starlark.Tuple{starNode(s), frozen(starValue(s.vars))}, nil)
	if err = exceeded(t, err); err != nil {
		return nil, f.problems(name, err, s)
	}
	if out == starlark.None {
		return nil, one(at, `write: return {"states": {…}}`, "states() returned nothing")
	}
	d := starDocument{literals: m.literals}
	doc := d.convert(out, starLiteral{f.lib.tree.offset(at), at}, "the result", 0)
	if d.problem != nil {
		return nil, []placedError{*d.problem}
	}
	return doc, nil
}

// exceeded says which limit ended a run, where the run failed.
func exceeded(t *starlark.Thread, err error) error {
	limit := budgetOf(t).err
	var run *starlark.EvalError
	if limit != nil && errors.As(err, &run) {
		run.Msg = limit.Error()
		return run
	}
	return err
}

func starNode(s *scope) starlark.Value {
	return frozen(starlarkstruct.FromStringDict(starlark.String("node"), starlark.StringDict{
		"name": starlark.String(s.node.Name), "zone": starlark.String(s.node.Zone), "tags": starValue(s.tags),
	}))
}

func frozen(v starlark.Value) starlark.Value {
	if v == starlark.None {
		v = starlark.NewDict(0)
	}
	v.Freeze()
	return v
}

func (f *starFiles) thread(name string) *starlark.Thread {
	t := &starlark.Thread{Name: name, Print: func(*starlark.Thread, string) {}, Load: f.load}
	t.SetMaxExecutionSteps(maxStarSteps)
	t.SetLocal(starBudgetKey, &starBudget{})
	t.OnMaxSteps = func(t *starlark.Thread) {
		budgetOf(t).err = fmt.Errorf("takes more than %d steps", maxStarSteps)
		t.Cancel("steps")
	}
	return t
}

// charge lets a thread pay for a module, whether that ran just now or for another.
func (f *starFiles) charge(t *starlark.Thread, m *starModule) error {
	if t.Steps += m.steps; t.Steps >= maxStarSteps {
		budgetOf(t).err = fmt.Errorf("takes more than %d steps, with all that it loads", maxStarSteps)
		return budgetOf(t).err
	}
	return budgetOf(t).spend(m.bytes)
}

// load is a load() statement: "//components/x/lib.star" from the top of the tree, else beside the file.
func (f *starFiles) load(t *starlark.Thread, name string) (starlark.StringDict, error) {
	base := path.Dir(t.Name)
	rest, top := strings.CutPrefix(name, "//")
	if top {
		base = ""
	}
	found, err := within(base, rest)
	if err != nil {
		return nil, err
	}
	if path.Ext(found) != ".star" {
		return nil, fmt.Errorf("%q is not a Starlark file: its name must end in .star", name)
	}
	if !f.lib.tree.exists(found) {
		guess := ""
		if close := suggest(path.Base(found), f.lib.tree.list(path.Dir(found))); close != "" {
			guess = " (" + strings.ReplaceAll(close, `"`, "") + ")"
		}
		return nil, fmt.Errorf("%s does not exist%s", found, guess)
	}
	m := f.module(found)
	if m.running {
		return nil, fmt.Errorf("a cycle of loads: %s is being loaded already", found)
	}
	if len(m.errs) > 0 {
		return nil, &starLoadError{m.errs}
	}
	return m.globals, f.charge(t, m)
}

func (f *starFiles) module(name string) *starModule {
	if m, ok := f.modules[name]; ok {
		return m
	}
	m := &starModule{running: true}
	f.modules[name] = m
	m.errs = f.run(name, m)
	m.running = false
	return m
}

// starLoadError is a load of a file that is wrong itself.
type starLoadError struct{ errs []placedError }

func (e *starLoadError) Error() string { return e.errs[0].message }

// run parses, rewrites and runs the top level of a file.
func (f *starFiles) run(name string, m *starModule) []placedError {
	fail := func(format string, args ...any) []placedError {
		return []placedError{{place: Place{File: name, Line: 1, Column: 1}, message: fmt.Sprintf(format, args...)}}
	}
	data, err := f.lib.tree.read(name, MaxDocumentBytes)
	switch {
	case err != nil:
		return []placedError{{place: Place{File: name}, message: path.Base(name) + " " + reason(err)}}
	case !utf8.Valid(data):
		return fail("not valid Starlark: it is not UTF-8")
	case len(f.modules) > maxIncludes:
		return fail("more than %d Starlark files in one tree", maxIncludes)
	}
	var refused *placedError
	if m.literals, refused = scanStar(name, data); refused != nil {
		return []placedError{*refused}
	}
	program, err := starProgram(name, data)
	if err != nil {
		return f.problems(name, err, nil)
	}
	t := f.thread(name)
	m.globals, err = program.Init(t, starGuards)
	if err = exceeded(t, err); err != nil {
		return f.problems(name, err, nil)
	}
	for i := range program.NumLoads() {
		f.addLiterals(m, name, program, i)
	}
	for _, k := range keysOf(m.globals) { // freezing walks a tuple as often as it is used
		if err := budgetOf(t).spendDeep(m.globals[k]); err != nil {
			return fail("%s: %s", k, err)
		}
	}
	m.globals.Freeze()
	m.steps, m.bytes = t.Steps, budgetOf(t).bytes
	return nil
}

func starProgram(name string, data []byte) (*starlark.Program, error) {
	file, err := starDialect.Parse(name, data, 0)
	if err != nil {
		return nil, err
	}
	var g starGuard
	file.Stmts = g.statements(file.Stmts)
	return starlark.FileProgram(file, starGuards.Has)
}

// addLiterals lets the places of a file include those of what it loads, behind its own.
func (f *starFiles) addLiterals(m *starModule, name string, program *starlark.Program, i int) {
	loaded, _ := program.Load(i)
	base := path.Dir(name)
	rest, top := strings.CutPrefix(loaded, "//")
	if top {
		base = ""
	}
	found, err := within(base, rest)
	if err != nil || f.modules[found] == nil {
		return
	}
	if i == 0 {
		m.literals = maps.Clone(m.literals)
	}
	for text, places := range f.modules[found].literals {
		if len(m.literals[text]) == 0 {
			m.literals[text] = places[:1:1]
		}
	}
}

// place converts a position, which counts characters.
func (f *starFiles) place(p syntax.Position) Place {
	at := Place{File: p.Filename(), Line: int(p.Line), Column: int(p.Col)}
	line := f.lib.tree.line(at)
	runes := 0
	for i := range line {
		if runes++; runes == int(p.Col) {
			at.Column = i + 1
			break
		}
	}
	return at
}

var (
	starUndefined = regexp.MustCompile(`^undefined: (\S+)`)
	starNoKey     = regexp.MustCompile(`^key "(.*)" not in dict$`)
	starGuess     = regexp.MustCompile(` \(did you mean \.?([^ ?)]+)\?\)$`)
)

// problems finds place, message and hint of an error of the parser, the resolver or a run.
func (f *starFiles) problems(name string, err error, s *scope) []placedError {
	var scan syntax.Error
	var unresolved resolve.ErrorList
	var loaded *starLoadError
	switch {
	case errors.As(err, &scan):
		return []placedError{{place: f.place(scan.Pos), message: "not valid Starlark: " + lowerFirst(scan.Msg)}}
	case errors.As(err, &unresolved):
		var all []placedError
		for _, e := range unresolved {
			p := placedError{place: f.place(e.Pos), message: lowerFirst(e.Msg)}
			f.explain(&p, nil)
			all = append(all, p)
		}
		return all
	case errors.As(err, &loaded):
		return loaded.errs
	}
	p := placedError{place: Place{File: name, Line: 1, Column: 1}, message: lowerFirst(err.Error())}
	var run *starlark.EvalError
	if errors.As(err, &run) {
		f.backtrace(&p, run.CallStack)
	}
	if e := f.lib.refusedSecret(p.message); e != nil {
		p.message, p.hint = e.message, e.hint
		return []placedError{p}
	}
	f.explain(&p, s)
	return []placedError{p}
}

// backtrace gives the place of the innermost function that is written in a file, and tells who called it.
func (f *starFiles) backtrace(p *placedError, stack starlark.CallStack) {
	var callers []string
	found := false
	for i := range stack {
		fr := stack.At(i)
		switch {
		case fr.Pos.Filename() == "<builtin>":
		case i == 0 && strings.HasPrefix(p.message, "function "+fr.Name+" ") && len(stack) > 2: // it was called wrongly
		case !found:
			p.place, found = f.place(fr.Pos), true
		case len(callers) < 10:
			callers = append(callers, fmt.Sprintf("called from %s in %s", f.place(fr.Pos), fr.Name))
		}
	}
	p.hint = strings.Join(callers, "\n    ")
}

// explain puts Starlark's words into the language's.
func (f *starFiles) explain(p *placedError, s *scope) {
	hint := ""
	p.message = strings.ReplaceAll(p.message, starCall+": ", "")
	if m := starGuess.FindStringSubmatchIndex(p.message); m != nil {
		if word := p.message[m[2]:m[3]]; !strings.HasPrefix(word, " ") {
			hint = "did you mean " + quoteName(word) + "?"
		}
		p.message = p.message[:m[0]]
	}
	if m := starUndefined.FindStringSubmatch(p.message); m != nil {
		p.message = fmt.Sprintf("undefined name %q", m[1])
		if hint == "" {
			hint = starUnknown[m[1]]
		}
	}
	for part, help := range starHints {
		if strings.Contains(p.message, part) {
			hint = help
		}
	}
	p.message = strings.Replace(p.message, "unknown binary op: ", "cannot evaluate ", 1)
	if m := starNoKey.FindStringSubmatch(p.message); m != nil {
		p.message = fmt.Sprintf("there is no key %q in this dict", m[1])
		if s != nil {
			hint = suggest(m[1], s.names())
		}
		if hint == "" {
			hint = `.get("` + m[1] + `") gives None where there is none`
		}
	}
	p.hint = strings.Trim(hint+"\n    "+p.hint, "\n ")
}

// starHints are for what people stumble over.
var starHints = map[string]string{
	"unknown binary op": "str(n) makes a string of a number, int(s) a number of a string",
	"frozen":            "variables, the node and what load() gives cannot be changed: change a copy, made with list(…) or dict(…)",
	"while loops":       "write: for i in range(n):",
	"recursively":       "Starlark has no recursion: write a loop",
}

// starUnknown says where those names are that people expect.
var starUnknown = map[string]string{
	"tags": "tags are node.tags", "name": "the node's name is node.name", "zone": "the node's zone is node.zone",
	"vars": "vars is a parameter of states(node, vars): pass it on", "node": "node is a parameter of states(node, vars): pass it on",
	"while": "Starlark has no while", "open": "a program sees no files: load() loads Starlark, source: copies a file",
	"import": "write load(\"//components/NAME/lib.star\", \"function\")", "sum": "Starlark has no sum: write a loop",
}
