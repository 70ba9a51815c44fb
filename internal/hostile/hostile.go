// Package hostile has inputs of about 1 MiB for each reader of a tree, made to cost as much as they can. A test bounds what
// they allocate, and cmd/bench prints how long each takes.
package hostile

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing/fstest"

	"shoal/states"
)

// Size is how long an input is at most, in bytes.
const Size = 1 << 20

// Readings gives, by name, the reading of each input. It needs the functions file.managed and cmd.run, with an output of the
// former called path. An error that a reading returns is about its input.
func Readings(functions []states.Function) map[string]func() error {
	all := map[string]func() error{}
	for name, fsys := range trees() {
		all[name] = func() error {
			_, err := states.Compile(fsys, states.Input{Node: node()}, functions)
			return err
		}
	}
	maps.Copy(all, formatted())
	maps.Copy(all, inventories())
	maps.Copy(all, plans())
	maps.Copy(all, late(functions))
	return all
}

func node() states.Node {
	return states.Node{Name: "web-1", Zone: "a", Tags: map[string]string{"role": "web", "dc": "fra"}}
}

func fill(unit string) string { return strings.Repeat(unit, (Size-100)/len(unit)) }

// tree has one component, with the files given beside its states.
func tree(files ...string) fstest.MapFS {
	fsys := fstest.MapFS{"site.yaml": {Data: []byte("targets:\n  - on: \"*\"\n    components: [app]\n")}}
	for i := 0; i < len(files); i += 2 {
		fsys["components/app/"+files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return fsys
}

func trees() map[string]fstest.MapFS {
	all := map[string]fstest.MapFS{
		"expressions":          tree("states.yaml", "states:\n  a: {cmd.run: {shell: \""+fill("${1}")+"\"}}\n"),
		"expressions, open":    tree("states.yaml", "states:\n  a: {cmd.run: {shell: '"+fill("${")+"'}}\n"),
		"expressions, escaped": tree("states.yaml", "states:\n  a: {cmd.run: {shell: '"+fill("$${")+"'}}\n"),
		"expressions, a sum":   tree("states.yaml", "states:\n  a: {cmd.run: {shell: '${"+fill("1+")+"1}'}}\n"),
		"when":                 tree("states.yaml", "states:\n  a: {cmd.run: {shell: x}, when: '"+fill("!")+"true'}\n"),
		"states":               tree("states.yaml", "states:\n"+fill("  a: {cmd.run: {shell: x}}\n")),
		"requisites":           tree("states.yaml", "states:\n  a: {cmd.run: {shell: x}, require: ["+fill("b,")+"b]}\n"),
		"selector":             {"site.yaml": {Data: []byte("targets: [{on: '" + fill("a=b,") + "a=b'}]\n")}},
		"selector, expression": {"site.yaml": {Data: []byte("targets: [{on: '" + fill("!") + "true'}]\n")}},
		"targets":              {"site.yaml": {Data: []byte("targets:\n" + fill("  - {on: \"*\"}\n"))}},
		"groups":               {"site.yaml": {Data: []byte("groups: {" + fill("a: b=c, ") + "b: b=c}\n")}},
		"component":            tree("states.yaml", "states: {}\n", "component.yaml", "parameters: {"+fill("a: {}, ")+"b: {}}\n"),
		"component, needs":     tree("states.yaml", "states: {}\n", "component.yaml", "needs: ["+fill("b,")+"b]\n"),
		"role": {"site.yaml": {Data: []byte("targets: [{on: \"*\", roles: [r]}]\n")},
			"roles/r.yaml": {Data: []byte("components: [" + fill("a,") + "a]\n")}},
		"role, variables": {"site.yaml": {Data: []byte("targets: [{on: \"*\", roles: [r]}]\n")},
			"roles/r.yaml": {Data: []byte("variables: {" + fill("a: 1,") + "a: 1}\n")}},
	}
	for name, text := range documents() {
		all["yaml, "+name] = tree("states.yaml", "states: {}\n", "defaults.yaml", text)
	}
	for name, text := range objects() {
		all["json, "+name] = tree("states.yaml", "states: {}\n", "defaults.json", text)
	}
	for name, text := range jinja() {
		all["jinja, "+name] = template(".j2", text)
	}
	for name, text := range gotemplates() {
		all["go, "+name] = template(".tmpl", text)
	}
	for name, text := range programs() {
		all["starlark, "+name] = tree("states.star", text)
	}
	return all
}

func template(ext, source string) fstest.MapFS {
	return tree("states.yaml", "states:\n  a: {file.managed: {path: /a, template: x"+ext+"}}\n", "x"+ext, source, "defaults.yaml", "a: 1\nl: [1, 2, 3]\ns: text\n")
}

func documents() map[string]string {
	return map[string]string{
		"list": "a: [" + fill("1,") + "1]\n", "deep list": fill("["), "deep map": fill("{a: "), "lines": fill("- a\n"), "keys": fill("? "), "colons": fill("a:"),
		"quotes": fill("\""), "anchors": fill("- &a *a\n"), "block scalar": "a: |\n" + fill("  x\n"), "folded": "a: >\n" + fill("  x\n"), "comments": fill("#\n"),
		"tabs": fill("\t"), "tags": fill("!a "), "bytes": fill("\xff\x00"), "dashes": fill("- "), "documents": fill("---\n"), "merges": "a: {" + fill("<<: *a, ") + "}\n",
	}
}

func objects() map[string]string {
	return map[string]string{
		"list": "[" + fill("1,") + "1]", "deep": fill("["), "strings": "[" + fill("\"\",") + "1]", "one key": "{" + fill("\"a\":1,") + "\"a\":1}",
		"a number": fill("9"), "escapes": "[\"" + fill("\\u00e9") + "\"]", "deep map": fill("{\"a\":"),
	}
}

func jinja() map[string]string {
	return map[string]string{
		"text": fill("x"), "lines": fill("\n"), "braces": fill("{"), "outputs": fill("{{ a }}"), "variables": fill("{{ vars.a }}"), "comments": fill("{##}"),
		"open comments": fill("{#"), "ifs": fill("{% if 1 %}"), "fors": fill("{% for a in vars.l %}"), "sets": fill("{% set a = 1 %}"), "raws": fill("{% raw %}{% endraw %}"),
		"macros": fill("{% macro m() %}{% endmacro %}"), "brackets": "{{ " + fill("("), "a sum": "{{ 1" + fill("+1") + " }}", "filters": "{{ 1" + fill("|abs") + " }}",
		"dots": "{{ vars" + fill(".a") + " }}", "nots": "{{ " + fill("not ") + " 1 }}", "a string": "{{ '" + fill("\\.") + "' }}", "a list": "{{ [" + fill("1,") + "1] }}",
		"loops": strings.Repeat("{% for a in vars.l %}", 30) + "x", "includes": fill("{% include 'x.j2' %}"),
	}
}

func gotemplates() map[string]string {
	return map[string]string{
		"text": fill("x"), "outputs": fill("{{.name}}"), "ifs": fill("{{if 1}}"), "brackets": "{{" + fill("("), "dots": "{{ .vars" + fill(".a") + "}}",
		"pipes": "{{ 1" + fill("|print") + "}}", "definitions": fill("{{define \"a\"}}{{end}}"), "whole ifs": fill("{{if 1}}{{end}}"),
	}
}

func programs() map[string]string {
	return map[string]string{
		"names": fill("a "), "statements": fill("a=1\n"), "lists": "a = [" + fill("1,") + "]\n", "strings": "a = [" + fill("'',") + "]\n", "quotes": fill("\""), "brackets": fill("["),
		"definitions": fill("def f(): pass\n"), "loads": fill("load('a.star', 'b')\n"), "dots": "a = ''" + fill(".a") + "\n", "calls": "a = int" + fill("()") + "\n", "bytes": fill("\xff"),
		"comments": fill("#\n"), "backslashes": fill("\\\n"), "dicts": "a = {" + fill("1:1,") + "}\n", "ifs": fill("if 1: pass\n"), "a text": "a = '" + fill("x") + "'\n",
	}
}

func formatted() map[string]func() error {
	all := map[string]func() error{}
	texts := documents()
	texts["spaces"], texts["nested"], texts["flow"] = fill("a:   1  # x\n"), fill("- - - aaaa\n"), "a: ["+fill("{a: 1},")+"]\n"
	for name, text := range texts {
		data := []byte(text)
		all["format, "+name] = func() error {
			_, err := states.Format("x.yaml", data)
			return err
		}
	}
	return all
}

func inventories() map[string]func() error {
	all := map[string]func() error{}
	for name, text := range map[string]string{"nodes": "nodes: {" + fill("a: {}, ") + "b: {}}\n", "tags": "nodes: {a: {tags: {" + fill("a: b, ") + "b: b}}}\n"} {
		fsys := fstest.MapFS{"inventory.yaml": {Data: []byte(text)}}
		all["inventory, "+name] = func() error {
			_, err := states.ReadInventory(fsys, "inventory.yaml")
			return err
		}
	}
	return all
}

// plans are encoded ones whose counts promise much, or whose lists do.
func plans() map[string]func() error {
	all := map[string]func() error{}
	empty, err := states.EncodePlan(&states.Plan{})
	if err != nil {
		panic(err) // of an empty plan
	}
	head := empty[:bytes.IndexByte(empty, '\n')+1]
	for name, unit := range map[string]string{"zeros": "\x00", "ones": "\x01", "large": "\xff", "numbers": "\xff\xff\xff\xff\x0f", "pairs": "\x02\x01"} {
		data := append(slices.Clip(head), fill(unit)...)
		all["plan, "+name] = func() error {
			_, err := states.DecodePlan(data)
			return err
		}
	}
	return all
}

// late are outputs and texts as large as they may be, evaluated once their outputs are known.
func late(functions []states.Function) map[string]func() error {
	all := map[string]func() error{}
	long := fill("x")
	for name, c := range map[string]struct {
		text, output string
	}{
		"an output":    {"'${states.a.outputs.path}'", long},
		"many outputs": {"'" + fill("${states.a.outputs.path}") + "'", "/a"},
		"many lines":   {"|\n" + fill("        ${states.a.outputs.path}\n"), "/a"},
		"doubled":      {"'${ states.a.outputs.path + states.a.outputs.path }'", long},
		"replaced":     {"\"${ states.a.outputs.path.replace('x', states.a.outputs.path) }\"", long},
	} {
		fsys := tree("states.yaml", "states:\n  a: {file.managed: {path: /a, content: x}}\n  b:\n    cmd.run:\n      shell: "+c.text+"\n")
		all["late, "+name] = func() error { return resolve(fsys, functions, c.output) }
	}
	return all
}

func resolve(fsys fstest.MapFS, functions []states.Function, output string) error {
	plan, err := states.Compile(fsys, states.Input{Node: node()}, functions)
	if err != nil {
		return err
	}
	l := states.NewLate(fsys, plan)
	for _, in := range plan.Invocations {
		for _, p := range in.Parts {
			d, ok := p.Params["shell"].(states.Deferred)
			if !ok {
				continue
			}
			outputs := map[states.OutputRef]any{}
			for _, r := range d.Reads {
				outputs[r] = output
			}
			if _, _, err := l.Resolve(d, outputs); err != nil {
				return err
			}
		}
	}
	return nil
}
