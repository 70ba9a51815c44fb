package states_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
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

// FuzzLate evaluates a text that reads outputs, once these are known, and a template beside it. What comes out has the type that
// was asked for, and is the same each time.
func FuzzLate(f *testing.F) {
	for _, s := range []string{
		"${ states.cert.outputs.path }", "<${states['cert'].outputs.uid}> ${vars.which}", "${ states.cert.outputs.names.map(n, n + vars.which) }",
		"{{ states.cert.outputs.path | upper }}", "{% for n in states['cert'].outputs.names %}{{ n }}{% endfor %}", "${ states['c' + 'ert'].outputs.word.split('') }",
		"${ states.cert.outputs.changed ? 1 : 2 }",
	} {
		for _, output := range []string{"x", "", "/a/../b", "é\x00\n", "${vars.which}", "{{ 1 }}"} {
			f.Add(s, output, int64(7))
		}
	}
	f.Fuzz(func(t *testing.T, text, output string, number int64) {
		if len(text)+len(output) > 2048 {
			return
		}
		fsys := outputTree("  user:\n    t.use: {text: "+quote(text)+", list: ["+quote(text)+"], template: t.j2}\n", "t.j2", text)
		plan, err := states.Compile(fsys, states.Input{Node: states.Node{Name: "n"}}, producers())
		if err != nil {
			return
		}
		late := states.NewLate(fsys, plan)
		given := map[string]any{"path": output, "uid": number, "mode": output, "word": output, "names": []any{output, output}, "changed": number%2 == 0}
		for _, in := range plan.Invocations {
			for _, v := range in.Parts[0].Params {
				d, ok := v.(states.Deferred)
				if !ok {
					continue
				}
				known := map[states.OutputRef]any{}
				for _, r := range d.Reads {
					known[r] = given[r.Output]
				}
				value, rendered, err := late.Resolve(d, known)
				again, renderedAgain, errAgain := late.Resolve(d, known)
				if !reflect.DeepEqual(value, again) || !bytes.Equal(rendered, renderedAgain) || (err == nil) != (errAgain == nil) {
					t.Fatalf("%q: %#v %v, and then %#v %v", d.Text, value, err, again, errAgain)
				}
				if err != nil {
					var problems states.Problems
					if !errors.As(err, &problems) || len(problems) == 0 {
						t.Fatalf("%q: not a problem with a place: %v", d.Text, err)
					}
					continue
				}
				switch value := value.(type) {
				case states.Content:
					if d.Type != states.Contents || value.Size != int64(len(rendered)) {
						t.Fatalf("%q: %+v of %d bytes", d.Text, value, len(rendered))
					}
				case string:
					if d.Type != states.String {
						t.Fatalf("%q is a string and no %s", d.Text, d.Type)
					}
				default:
					t.Fatalf("%q is %#v and no %s", d.Text, value, d.Type)
				}
			}
		}
	})
}
