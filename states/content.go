package states

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"slices"
	"strings"
)

// content evaluates template:, source: or content:.
func (c *compilation) content(e docEntry, s *scope, dir string) (any, bool) {
	if e.key == "content" {
		return c.inline(e, s)
	}
	v, ok := c.withoutOutputs(func() (any, bool) { return c.evaluate(e.value, s) })
	if !ok {
		return Content{}, false
	}
	text, ok := v.(string)
	if !ok {
		c.problems.add(e.value.place, "", "%s must be a string, not %s", e.key, typeName(v))
		return Content{}, false
	}
	name, err := within(dir, text)
	if err != nil {
		c.problems.add(e.value.place, "", "%s %s", e.key, err)
		return Content{}, false
	}
	if e.key == "source" {
		return c.source(name, text, e)
	}
	return c.template(name, text, e, s)
}

// inline evaluates content:.
func (c *compilation) inline(e docEntry, s *scope) (any, bool) {
	v, ok := c.evaluate(e.value, s)
	if !ok {
		return Content{}, false
	}
	switch v := v.(type) {
	case string:
		return c.keep([]byte(v), "content", e.value.place)
	case Deferred:
		v.Type = Contents
		return v, true
	}
	c.problems.add(e.value.place, quotesHint(v), "%s must be a string, not %s", e.key, typeName(v))
	return Content{}, false
}

func (c *compilation) source(name, text string, e docEntry) (Content, bool) {
	hash, size, err := c.lib.tree.hash(name)
	if err != nil {
		c.problems.add(e.value.place, c.closeFile(name), "source %s: %s %s", text, name, reason(err))
		return Content{}, false
	}
	return Content{Hash: hash, Size: size, Source: name, From: "source " + text}, true
}

func (c *compilation) template(name, text string, e docEntry, s *scope) (any, bool) {
	engine := c.lib.engines[path.Ext(name)]
	if engine == nil {
		c.problems.add(e.value.place, "write source: for a file that is copied as it is", "template %s: its name must end in .j2 (Jinja2) or .tmpl (Go)", text)
		return Content{}, false
	}
	if _, err := c.lib.tree.read(name, MaxTemplateBytes); err != nil {
		c.problems.add(e.value.place, c.closeFile(name), "template %s: %s %s", text, name, reason(err))
		return Content{}, false
	}
	if s.states == nil {
		if v, ok, later := c.deferTemplate(engine, name, e, s); later {
			return v, ok
		}
	}
	data, problem := engine.render(name, s)
	if problem != nil {
		c.problems.add(problem.place, problem.hint, "%s", problem.message)
		return Content{}, false
	}
	return c.keep(data, "template "+text, e.value.place)
}

// keep puts rendered bytes into the plan.
func (c *compilation) keep(data []byte, from string, p Place) (Content, bool) {
	if cap(data) > len(data)+len(data)/8 {
		data = slices.Clone(data) // it stays for long, and the room that it grew in is not to
	}
	sum := sha256.Sum256(data)
	hash := "sha256:" + hex.EncodeToString(sum[:])
	c.lib.noting.rendered = append(c.lib.noting.rendered, renderedContent{hash, data})
	if _, has := c.plan.Rendered[hash]; !has {
		if !c.reserve(int64(len(data)), p) {
			return Content{}, false
		}
		c.plan.Rendered[hash] = data
	}
	return Content{Hash: hash, Size: int64(len(data)), From: from}, true
}

// closeFile suggests a file of the same folder.
func (c *compilation) closeFile(name string) string {
	return suggest(path.Base(name), c.lib.tree.list(path.Dir(name)))
}

// engine renders templates of one dialect. A problem's place is in the template.
type engine interface {
	render(name string, s *scope) ([]byte, *placedError)
	// outputs lists what the template reads of other states, with all that it includes by a constant name.
	outputs(name string) ([]outputRead, *placedError)
	// evaluate evaluates an expression of the dialect that stands in the template.
	evaluate(name, expr string, s *scope) (any, error)
}

// templateData is what a template sees.
func (s *scope) templateData() map[string]any {
	data := map[string]any{"vars": s.vars, "tags": s.tags, "name": s.node.Name, "zone": s.node.Zone}
	if s.vars == nil {
		data["vars"] = map[string]any{}
	}
	if s.each != nil {
		data["each"] = s.each
	}
	if s.states != nil {
		data["states"] = s.states
	}
	return data
}

// wordPlace finds the name that a template's error complains about: on the line that the engine says, or a little above,
// since gonja gives a loop the place of its body.
func (l *Catalogue) wordPlace(p Place, word string) Place {
	for up := p; word != "" && up.Line > 0 && p.Line-up.Line < 20; up.Line-- {
		if i := wordIndex(l.tree.line(up), word); i >= 0 {
			up.Column = i + 1
			return up
		}
	}
	if p.Line == 0 {
		return p
	}
	line := l.tree.line(p)
	p.Column = len(line) - len(strings.TrimLeft(line, " \t")) + 1
	return p
}
