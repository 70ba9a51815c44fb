package doccheck

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"shoal/states"
)

// schemaFor compiles what shoal schema prints.
func schemaFor(t *testing.T, document string) *jsonschema.Schema {
	t.Helper()
	schema, err := states.Schema(document, functions())
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("shoal.json", asJSON(t, schema)); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("shoal.json")
	if err != nil {
		t.Fatalf("schema %q: %v", document, err)
	}
	return compiled
}

// asJSON takes a value through JSON, so that the validator sees what an editor would.
func asJSON(t *testing.T, v any) any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func yamlValue(t *testing.T, data []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return asJSON(t, plainKeys(v))
}

// plainKeys makes strings of keys, as the language does: 5432: is "5432".
func plainKeys(v any) any {
	switch v := v.(type) {
	case map[any]any:
		m := map[string]any{}
		for k, item := range v {
			m[fmt.Sprint(k)] = plainKeys(item)
		}
		return m
	case map[string]any:
		for k, item := range v {
			v[k] = plainKeys(item)
		}
	case []any:
		for i, item := range v {
			v[i] = plainKeys(item)
		}
	}
	return v
}

// exampleTrees are the examples by their paths. What does not compile, since it needs what is built elsewhere, is told
// and left out here: that examples compile is not what these tests are about.
func exampleTrees(t *testing.T) map[string]fs.FS {
	t.Helper()
	trees := map[string]fs.FS{}
	examples := os.DirFS("../../examples")
	err := fs.WalkDir(examples, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || path.Base(name) != "site.yaml" {
			return err
		}
		tree, err := fs.Sub(examples, path.Dir(name))
		if err != nil {
			return err
		}
		if problems, _ := states.ValidateLike(tree, node, functions()); len(problems) > 0 {
			t.Logf("%s does not compile: %v", path.Dir(name), problems)
			return nil
		}
		trees[path.Dir(name)] = tree
		return nil
	})
	if err != nil || trees["webfleet"] == nil {
		t.Fatalf("%d examples: %v", len(trees), err)
	}
	return trees
}

// documentOf is the schema for a file of a tree, or nothing.
func documentOf(name string) string {
	dir, base := path.Split(name)
	dir = path.Base(dir)
	switch {
	case base == "site.yaml" || base == "site.json":
		return "site"
	case base == "states.yaml" || base == "states.json":
		return "states"
	case base == "component.yaml":
		return "component"
	case base == "inventory.yaml":
		return "inventory"
	case dir == "roles":
		return "role"
	}
	return ""
}

type schemas map[string]*jsonschema.Schema

func allSchemas(t *testing.T) schemas {
	all := schemas{"": schemaFor(t, "")}
	for _, name := range states.SchemaNames() {
		all[name] = schemaFor(t, name)
	}
	return all
}

// accept counts the documents of a tree and wants each to pass its own schema and the one for all.
func (s schemas) accept(t *testing.T, where string, tree fs.FS) (n int) {
	t.Helper()
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		document := documentOf(name)
		if err != nil || d.IsDir() || document == "" {
			return err
		}
		data, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		n++
		v := yamlValue(t, data)
		for _, which := range []string{document, ""} {
			if err := s[which].Validate(v); err != nil {
				t.Errorf("%s %s: schema %q: %v", where, name, which, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSchemaAcceptsExamples(t *testing.T) {
	all := allSchemas(t)
	for name, tree := range exampleTrees(t) {
		if n := all.accept(t, name, tree); n < 2 {
			t.Errorf("only %d documents found in %s", n, name)
		}
	}
}

func TestSchemaAcceptsTheLanguagePage(t *testing.T) {
	all, n := allSchemas(t), 0
	for _, e := range examples(t, "../../docs/language.md") {
		if e.says == "" {
			n += all.accept(t, "section "+e.heading, e.tree)
		}
	}
	if n < 15 {
		t.Errorf("only %d documents found on the page", n)
	}
}

func TestSchemaAccepts(t *testing.T) {
	all := allSchemas(t)
	for i, text := range []string{
		"states:",
		"states: {a: {file.managed: {path: '${vars.p}', content: x, mode: '${vars.m}'}}}",
		"states: {a: {service.running: {name: x, enabled: '${vars.e}'}}}",
		"states: {a: {cmd.run: {argv: '${vars.list}', env: '${vars.env}', timeout: '${vars.t}'}}}",
		"states: {a: {cmd.run: {shell: 'true', user: null}}}",
		"states: {a: {meta.group: b}}",
		"states: {a: {meta.barrier: }}",
		"states: {a: {meta.block: {run: [b], rescue: c, always: [d]}}}",
		"states: {a: {meta.sequence: [b, {run: c, with: {x: 1}}, b], when: false}}",
		"states: {a: {for_each: {x: 1}, retry: {attempts: 3, delay: 1m30s}, order: last, cmd.run: {argv: [a]}}}",
	} {
		if err := all["states"].Validate(yamlValue(t, []byte(text))); err != nil {
			t.Errorf("%d: %s: %v", i, text, err)
		}
	}
}

// A schema that accepts everything passes all of the tests above.
func TestSchemaRejects(t *testing.T) {
	all := allSchemas(t)
	for _, c := range []struct{ document, text, why string }{
		{"site", "target: []", "unknown key"},
		{"site", "targets: [{components: [a]}]", "on is missing"},
		{"site", "targets: [{on: '*', component: [a]}]", "unknown key in a target"},
		{"site", "policy: {order: fast}", "bad word"},
		{"site", "policy: {drift: true}", "wrong type"},
		{"site", "groups: {a: 1}", "a selector is a string"},
		{"site", "modules: {acme: {source: x}}", "sha256 is missing"},
		{"role", "component: [a]", "unknown key"},
		{"role", "variables: [a]", "wrong type"},
		{"component", "parameters: {a: {type: strings}}", "bad word"},
		{"component", "params: {}", "unknown key"},
		{"inventory", "nodes: {a: {tags: [x]}}", "wrong type"},
		{"inventory", "nodes: {a: {address: x}}", "unknown key"},
		{"states", "stats: {}", "unknown key"},
		{"states", "states: []", "wrong type"},
		{"states", "states: {a: {}}", "it does nothing"},
		{"states", "states: {a: {lazy: true, require: [b]}}", "it does nothing"},
		{"states", "states: {'a b': {cmd.run: {argv: [x]}}}", "not a name"},
		{"states", "states: {a: {requires: [b], cmd.run: {argv: [x]}}}", "unknown key"},
		{"states", "states: {a: {lazy: '${vars.x}', cmd.run: {argv: [x]}}}", "lazy takes no expression"},
		{"states", "states: {a: {order: middle, cmd.run: {argv: [x]}}}", "bad word"},
		{"states", "states: {a: {timeout: 30, cmd.run: {argv: [x]}}}", "a duration has a unit"},
		{"states", "states: {a: {timeout: 30 s, cmd.run: {argv: [x]}}}", "a duration has no blank"},
		{"states", "states: {a: {retry: {attempts: 0}, cmd.run: {argv: [x]}}}", "too few"},
		{"states", "states: {a: {retry: {tries: 2}, cmd.run: {argv: [x]}}}", "unknown key"},
		{"states", "states: {a: {require: [1], cmd.run: {argv: [x]}}}", "an id is a string"},
		{"states", "states: {a: {file.mangaed: {path: /x, content: x}}}", "unknown function"},
		{"states", "states: {a: {file.managed: {content: x}}}", "path is missing"},
		{"states", "states: {a: {file.managed: {path: /x, content: x, source: y}}}", "two contents"},
		{"states", "states: {a: {file.managed: {path: x, content: x}}}", "a path is absolute"},
		{"states", "states: {a: {file.managed: {path: /x, content: x, mode: 644}}}", "a mode is in quotes"},
		{"states", "states: {a: {file.managed: {path: /x, content: x, mode: '999'}}}", "a mode is octal"},
		{"states", "states: {a: {file.managed: {path: /x, content: x, owners: y}}}", "unknown parameter"},
		{"states", "states: {a: {service.running: {name: x, enabled: 'true'}}}", "a bool has no quotes"},
		{"states", "states: {a: {service.running: }}", "name is missing"},
		{"states", "states: {a: {pkg.installed: {name: 7}}}", "a name is a string"},
		{"states", "states: {a: {cmd.run: {argv: ls}}}", "argv is a list"},
		{"states", "states: {a: {cmd.run: {argv: [1]}}}", "argv has strings"},
		{"states", "states: {a: {meta.barrier: {x: 1}}}", "a barrier takes nothing"},
		{"states", "states: {a: {meta.block: {rescue: [b]}}}", "run is missing"},
		{"states", "states: {a: {meta.block: {run: [b], finally: [c]}}}", "unknown key"},
		{"states", "states: {a: {meta.sequence: [{with: {x: 1}}]}}", "run is missing"},
		{"states", "states: {a: {meta.sequences: [b]}}", "unknown function"},
	} {
		v := yamlValue(t, []byte(c.text))
		for _, which := range []string{c.document, ""} {
			if err := all[which].Validate(v); err == nil {
				t.Errorf("schema %q accepts %s: %s", which, c.text, c.why)
			}
		}
	}
}

// The compiler and the schema know the same parameters: each that the schema offers is taken, and none is left out.
func TestSchemaHasEveryParameter(t *testing.T) {
	schema, err := states.Schema("", functions())
	if err != nil {
		t.Fatal(err)
	}
	defs := schema["$defs"].(map[string]any)
	for _, f := range functions() {
		def, ok := defs[f.FullName()].(map[string]any)
		if !ok {
			t.Errorf("no schema for %s", f.FullName())
			continue
		}
		properties := def["properties"].(map[string]any)
		for name := range properties {
			tree := fstest.MapFS{
				"site.yaml":                {Data: []byte("targets: [{on: '*', components: [a]}]\n")},
				"components/a/states.yaml": {Data: []byte("states: {s: {" + f.FullName() + ": {" + name + ": x}}}\n")},
			}
			_, err := states.Compile(tree, states.Input{Node: node}, functions())
			if err != nil && strings.Contains(err.Error(), "unknown parameter") {
				t.Errorf("the schema offers %s of %s, which the compiler does not know", name, f.FullName())
			}
		}
		for _, p := range f.Params {
			name := p.Name
			if p.Type == states.Contents {
				name = "content"
			}
			if properties[name] == nil {
				t.Errorf("the schema lacks %s of %s", name, f.FullName())
			}
		}
	}
}
