package states_test

import (
	"encoding/json"
	"testing"
	"testing/fstest"

	"shoal/states"
)

// checkProblems compiles, and looks at what an error must be whatever the input.
func checkProblems(t *testing.T, fsys fstest.MapFS) {
	t.Helper()
	plan, err := states.Compile(fsys, states.Input{Node: web()}, functions())
	if err == nil {
		if _, err := states.EncodePlan(plan); err != nil {
			t.Errorf("a plan has no encoding: %v", err)
		}
		return
	}
	problems, ok := err.(states.Problems)
	if !ok || len(problems) == 0 {
		t.Fatalf("not Problems: %v", err)
	}
	for _, p := range problems {
		if p.Message == "" || p.Place.File == "" {
			t.Errorf("a problem without message or place: %+v", p)
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		"states:\n  a: {cmd.run: {shell: x}, require: [b], when: \"true\"}\n  b: {for_each: [1], file.managed: {path: /a, content: x}}\n",
		"states:\n  a: {meta.group: [a]}\n  b: {meta.barrier: {}}\n", "states: {a: {lazy: 1}}\n",
		"states:\n  a: {cmd.run: {shell: \"${vars.x}\"}, for_each: [1], lazy: true}\n  b: {meta.sequence: [{run: \"a[0]\", with: {x: y}}, c]}\n  c: {meta.block: {run: [d], rescue: [e], always: []}}\n  d: {meta.group: []}\n  e: {meta.sequence: [d]}\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkProblems(t, treeOf(s, nil)) })
}

func FuzzJinja(f *testing.F) {
	for _, s := range []string{
		"{{ vars.a }}", "{% for x in vars.l %}{{ loop.index }}{{ x }}{% else %}-{% endfor %}", "{% macro m(a, b=1) %}{{ a }}{% endmacro %}{{ m(1) }}",
		"{% set x = 1 %}{{ x * 3 ~ 'a' }}", "{{ [1,2]|map('string')|join(',') }}", "{% if name is defined and zone == 'a' %}y{% elif 1 %}n{% endif %}",
		"{# c #}{% raw %}{{ x }}{% endraw %}", "{{ 'a\\.b' | regex_replace('\\.', '-') }}", "{% include 'x.j2' %}", "{{ vars['m'].k | default('d') }}", "{% call m() %}x{% endcall %}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 2048 {
			return
		}
		checkProblems(t, treeOf("states:\n  a: {file.managed: {path: /a, template: x.j2}}\n", map[string]string{
			"components/app/x.j2": s, "components/app/defaults.yaml": "a: 1\nl: [1, 2]\nm: {k: v}\n",
		}))
	})
}

func FuzzGoTemplate(f *testing.F) {
	for _, s := range []string{"{{ .vars.a }}", "{{ range .vars.l }}{{ . }}{{ end }}", "{{ define \"x\" }}{{ . }}{{ end }}{{ template \"x\" .name }}", "{{ printf \"%5d\" 3 | upper }}", "{{ with .vars.m }}{{ .k }}{{ end }}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 2048 {
			return
		}
		checkProblems(t, treeOf("states:\n  a: {file.managed: {path: /a, template: x.tmpl}}\n", map[string]string{
			"components/app/x.tmpl": s, "components/app/defaults.yaml": "a: 1\nl: [1, 2]\nm: {k: v}\n",
		}))
	})
}

func FuzzSelector(f *testing.F) {
	for _, s := range []string{"*", "role=web,dc!=fra", "group.edge", `tags.role in ["a"]`, "has(tags.x)", "group.a || group.b"} {
		f.Add(s)
	}
	groups := map[string]string{"edge": `role=web`, "a": "group.b", "b": "group.a"}
	f.Fuzz(func(t *testing.T, s string) {
		ok, err := states.Selects(s, web(), groups)
		if ok && err != nil {
			t.Errorf("selected, and %v", err)
		}
	})
}

func FuzzExpression(f *testing.F) {
	for _, s := range []string{"${vars.a}", "x ${ name + zone } $${y}", "${ {'a': [1, 2.0, null, b'x']} }", "${ vars.l.map(x, x * 2) }", "${ 'a'.split('') }", "${", "${ duration('1s') }"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkProblems(t, fstest.MapFS{
			"site.json":                    {Data: []byte(`{"targets": [{"on": "*", "components": ["app"]}]}`)},
			"components/app/states.json":   {Data: []byte(`{"states": {"a": {"cmd.run": {"shell": "x", "env": {"x": ` + quote(s) + `}}}}}`)},
			"components/app/defaults.json": {Data: []byte(`{"a": 1, "l": [1, 2]}`)},
		})
	})
}

func quote(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(data)
}

// FuzzYAML reads a document that only the reader of YAML sees: variables.
func FuzzYAML(f *testing.F) {
	for _, s := range []string{"a: 1\nb: [x, {y: z}]\n", "a: &x {b: 1}\nc: *x\nd: {<<: *x}\n", "a: |\n  x\n  y\nb: >-\n  z\n", "? a\n: b\n", "a: !!int 3\n", "- [}\n", "a: \"\\u00e9\"\n", "a: 1\na: 2\n", "\ta: b\n", "a: !secret b\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkProblems(t, treeOf("states: {}\n", map[string]string{"components/app/defaults.yaml": s}))
	})
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a": 1, "b": [1.5, true, null, "x"]}`, `{"a": 1, "a": 2}`, `{"a": }`, `[[[[`, `{"a": "\u00e9\ud83d"}`, `{"a": 1e999}`, `// x`, `{"a": 1,}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkProblems(t, treeOf("states: {}\n", map[string]string{"components/app/defaults.json": s}))
	})
}

func FuzzStarlark(f *testing.F) {
	for _, s := range []string{
		"def states(node, vars):\n  return {'states': {'a': {'cmd.run': {'shell': node.name}}}}\n", "load('lib.star', 'x')\ndef states(node, vars): return x\n",
		"x = [i * 2 for i in range(10) if i % 2]\nd = {'a': 1}\nd['a'] += 3\ndef states(node, vars):\n  return {'states': {str(i): {} for i in x}}\n",
		"def states(n, v): return '%s %d' % (n.name, 3)\n", "x = lambda a, *b, c = 1, **d: (a, b)\ny = x(*[1, 2], **{'c': 3})\n", "x = 1 << 400 << 400\n", "fail('x')\n", "x = ('a',) * 3\nfor a, b in [x]: pass\n",
		"(x.y[1])[2] += 'é'\n", "def states(node, vars):\n  return {'states': 'ab'[::-1].join(['x', 'y'])}\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 4096 {
			return
		}
		checkProblems(t, starTree(s, map[string]string{"components/app/lib.star": "x = {'states': {}}\n", "components/app/defaults.yaml": "a: 1\nl: [1, 2]\n"}))
	})
}

// FuzzStatesTemplate renders a states.yaml.j2, and reads what comes out.
func FuzzStatesTemplate(f *testing.F) {
	for _, s := range []string{"states:\n{% for i in vars.l %}\n  a{{ i }}: {cmd.run: {shell: x}}\n{% endfor %}\n", "states: {a: {cmd.run: {shell: \"${vars.x}\"}}}\n", "{% if %}\n", "{{ 'states: {}' }}", "{# #}{{ '\\n' }}- x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 2048 {
			return
		}
		fsys := treeOf("", map[string]string{"components/app/states.yaml.j2": s, "components/app/defaults.yaml": "a: 1\nl: [1, 2]\n"})
		delete(fsys, "components/app/states.yaml")
		checkProblems(t, fsys)
	})
}

// FuzzComponent reads a component.yaml.
func FuzzComponent(f *testing.F) {
	for _, s := range []string{"description: x\nneeds: [app]\nparameters:\n  a: {type: int, default: 3, description: d, required: true, one_of: [1, 2], secret: true}\n", "needs: app\n", "parameters: {a: {type: lst}}\n", "parameters: {a: {default: !secret x, type: string}}\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkProblems(t, treeOf("states: {}\n", map[string]string{"components/app/component.yaml": s, "components/app/defaults.yaml": "a: 1\n"}))
	})
}
