package states

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	text "text/template"
	"text/template/parse"
)

// goTemplates renders text/template files: each is parsed once. Loops and calls count against the same budget as in Jinja2.
type goTemplates struct {
	lib       *Catalogue
	templates map[string]goTemplate
	budget    *budget
}

type goTemplate struct {
	t     *text.Template
	reads *reads
	err   *placedError
}

func newGoTemplates(l *Catalogue) *goTemplates {
	return &goTemplates{lib: l, templates: map[string]goTemplate{}, budget: &budget{}}
}

// tickName is the function that is put into each loop and definition.
const tickName = "_tick"

// functions replaces those that could make something huge, and adds a few.
func (g *goTemplates) functions() text.FuncMap {
	limit := func(s string) (string, error) {
		if err := g.budget.spend(1 + len(s)/1024); err != nil {
			return "", err
		}
		if len(s) > MaxRenderedBytes {
			return "", tooLong()
		}
		return s, nil
	}
	return text.FuncMap{
		fleetFunction:  g.fleetInGo,
		secretFunction: g.secretInGo,
		tickName:       func() (string, error) { return "", g.budget.spend(1) },
		"print":        func(a ...any) (string, error) { return limit(fmt.Sprint(a...)) },
		"printf":       func(f string, a ...any) (string, error) { return limit(fmt.Sprintf(f, a...)) },
		"println":      func(a ...any) (string, error) { return limit(fmt.Sprintln(a...)) },
		"html":         func(a ...any) (string, error) { return limit(text.HTMLEscaper(a...)) },
		"js":           func(a ...any) (string, error) { return limit(text.JSEscaper(a...)) },
		"urlquery":     func(a ...any) (string, error) { return limit(text.URLQueryEscaper(a...)) },
		"join":         func(sep string, list []any) (string, error) { return joinLimited(sep, list, limit) },
		"default": func(fallback, v any) any {
			if v == nil || v == "" {
				return fallback
			}
			return v
		},
		"upper":   strings.ToUpper,
		"lower":   strings.ToLower,
		"quote":   strconv.Quote,
		"toJson":  func(v any) (string, error) { return jsonText(v, limit) },
		"toYaml":  yamlText,
		"to_json": func(v any) (string, error) { return jsonText(v, limit) },
		"to_yaml": yamlText,
	}
}

func joinLimited(sep string, list []any, limit func(string) (string, error)) (string, error) {
	parts, size := make([]string, len(list)), 0
	for i, v := range list {
		parts[i] = asText(v)
		if size += len(parts[i]) + len(sep); size > MaxRenderedBytes {
			return "", tooLong()
		}
	}
	return limit(strings.Join(parts, sep))
}

func jsonText(v any, limit func(string) (string, error)) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return limit(string(data))
}

func (g *goTemplates) parse(name string) goTemplate {
	if t, ok := g.templates[name]; ok {
		return t
	}
	var t goTemplate
	data, err := g.lib.tree.read(name, MaxTemplateBytes)
	if err == nil {
		err = guarded(func() (err error) {
			t.t, err = text.New(name).Option("missingkey=error").Funcs(g.functions()).Parse(string(data))
			return err
		})
	}
	if err == nil {
		t.reads = readsOfGo(t.t)
		err = g.count(t.t)
	}
	if err != nil {
		t.err = g.problem(name, err, nil)
	}
	g.templates[name] = t
	return t
}

// count puts a call of the tick function into each loop and definition.
func (g *goTemplates) count(t *text.Template) error {
	counter, err := text.New("").Funcs(g.functions()).Parse("{{" + tickName + "}}")
	if err != nil {
		return err
	}
	tick := counter.Root.Nodes[0]
	for _, each := range t.Templates() {
		if each.Tree != nil && each.Root != nil {
			countList(each.Root, tick)
			each.Root.Nodes = append([]parse.Node{tick}, each.Root.Nodes...)
		}
	}
	return nil
}

func countList(list *parse.ListNode, tick parse.Node) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.RangeNode:
			countList(n.List, tick)
			countList(n.ElseList, tick)
			n.List.Nodes = append([]parse.Node{tick}, n.List.Nodes...)
		case *parse.IfNode:
			countList(n.List, tick)
			countList(n.ElseList, tick)
		case *parse.WithNode:
			countList(n.List, tick)
			countList(n.ElseList, tick)
		}
	}
}

func (g *goTemplates) render(name string, s *scope) ([]byte, *placedError) {
	t := g.parse(name)
	if t.err != nil {
		return nil, t.err
	}
	g.budget.reset()
	g.lib.noting.reads.add(t.reads)
	out := limitedBuffer{limit: MaxRenderedBytes}
	err := guarded(func() error { return t.t.Execute(&out, s.templateData()) })
	if err == nil {
		err = g.budget.err
	}
	if err != nil {
		return nil, g.problem(name, err, s)
	}
	return out.Bytes(), nil
}

var (
	goPlace   = regexp.MustCompile(`^template: [^:]*:(\d+)(?::(\d+))?: (?:executing .* at <.*?>: )?`)
	goMissing = regexp.MustCompile(`map has no entry for key "([^"]*)"`)
	goField   = regexp.MustCompile(`can't evaluate field (\w+) in type`)
	goUnknown = regexp.MustCompile(`function "([^"]*)" not defined`)
)

// problemPlace is what goPlace found.
func (g *goTemplates) problemPlace(name string, m []string) Place {
	line, _ := strconv.Atoi(m[1])
	column, _ := strconv.Atoi(m[2])
	return Place{File: name, Line: line, Column: column + 1} // text/template counts bytes from 0
}

func (g *goTemplates) problem(name string, err error, s *scope) *placedError {
	message := err.Error()
	p := placedError{place: Place{File: name, Line: 1, Column: 1}}
	if m := goPlace.FindStringSubmatch(message); m != nil {
		p.place = g.problemPlace(name, m)
		message = message[len(m[0]):]
	}
	if e := g.lib.refusedSecret(message); e != nil {
		p.message, p.hint = e.message, e.hint
		return &p
	}
	if m := goMissing.FindStringSubmatch(message); m != nil {
		p.message = fmt.Sprintf("undefined variable %q", m[1])
		if s != nil {
			p.hint = suggest(m[1], s.names())
		}
		p.place = g.lib.wordPlace(p.place, m[1])
		return &p
	}
	if m := goUnknown.FindStringSubmatch(message); m != nil {
		p.place = g.lib.wordPlace(p.place, m[1])
		p.hint = suggest(m[1], append(keysOf(g.functions()), "and", "or", "not", "len", "index", "slice", "eq", "ne", "lt", "le", "gt", "ge"))
	}
	if m := goField.FindStringSubmatch(message); m != nil {
		message, p.hint = fmt.Sprintf("%q is asked of a value that is no map", m[1]), "index and with ask maps only; printf \"%v\" shows a value"
	}
	p.message = "template: " + shorten(lowerFirst(message))
	return &p
}
