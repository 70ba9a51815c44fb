package states_test

import (
	"crypto/sha256"
	"encoding/hex"
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
		"{{ 'eyJhIjogMX0=' | b64decode | from_json }}", "{{ 'a: [1]' | from_yaml | to_nice_json }}",
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

// FuzzSite reads a site.yaml: groups, targets, selectors and the policy.
func FuzzSite(f *testing.F) {
	for _, s := range []string{"groups: {a: role=web, b: group.a}\ntargets:\n  - {on: group.b, components: [app], variables: {x: \"${name}\"}, roles: [r], variables_from: [v]}\n",
		"policy: {order: genius, on_failure: stop, on_remove: keep, drift: report, command_outputs: allow}\n", "targets: [{on: 'tags.role in [\"a\"] && '}]\n", "modules: {}\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 4096 {
			return
		}
		fsys := treeOf("states: {}\n", map[string]string{"site.yaml": s, "roles/r.yaml": "components: [app]\n", "variables/v.yaml": "y: 1\n"})
		checkProblems(t, fsys)
		_, _ = states.ValidateLike(fsys, states.Node{}, functions())
	})
}

// FuzzRole reads a role, and a layer of variables.
func FuzzRole(f *testing.F) {
	for _, s := range []string{"components: [app]\nvariables: {a: 1, b: !secret x}\n", "components: app\n", "variables: {a: \"${tags.dc}\", m: {<<: &x {k: v}}}\n", "{}"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, role, layer string) {
		if len(role)+len(layer) > 4096 {
			return
		}
		checkProblems(t, treeOf("states:\n  a: {cmd.run: {shell: \"${string(vars)}\"}}\n", map[string]string{
			"site.yaml":    "targets:\n  - {on: \"*\", roles: [r], variables_from: [v]}\n",
			"roles/r.yaml": role, "variables/v.yaml": layer, "components/app/defaults.yaml": "a: 2\n"}))
	})
}

// FuzzInventory reads an inventory, both forms.
func FuzzInventory(f *testing.F) {
	for _, s := range []string{"nodes: {web-1: {zone: a, tags: {role: web}}, db-1: {}}\n", "nodes: [a]\n", `{"nodes": {"a": {"tags": {"x": "y"}}}}`, "nodes: {a: &x {}, b: *x}\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 4096 {
			return
		}
		for _, name := range []string{"inventory.yaml", "inventory.json"} {
			nodes, err := states.ReadInventory(fstest.MapFS{name: {Data: []byte(s)}}, name)
			if problems, ok := err.(states.Problems); err != nil && (!ok || len(problems) == 0 || nodes != nil) {
				t.Fatalf("%v and %v", nodes, err)
			}
		}
	})
}

// FuzzLate evaluates texts and templates that read an output, with whatever that is, and under a scope that may be broken.
func FuzzLate(f *testing.F) {
	for _, s := range []string{"${ states.made.outputs.path }", "a ${ states['made'].outputs.path + vars.a } b", "${ states.made.outputs.uid + 1 }", "${ [states.made.outputs.path].map(x, x + x) }"} {
		f.Add(s, "{{ states.made.outputs.path | upper }}{{ vars.a }}", "/made", []byte(nil))
	}
	f.Fuzz(func(t *testing.T, text, template, output string, scope []byte) {
		if len(text)+len(template)+len(output) > 4096 {
			return
		}
		fsys := fstest.MapFS{
			"site.json": {Data: []byte(`{"targets": [{"on": "*", "components": ["app"]}]}`)},
			"components/app/states.json": {Data: []byte(`{"states": {"made": {"file.managed": {"path": "/a", "content": "x"}},
				"text": {"cmd.run": {"shell": ` + quote(text) + `}}, "template": {"file.managed": {"path": "/b", "template": "x.j2"}}}}`)},
			"components/app/x.j2":          {Data: []byte(template)},
			"components/app/defaults.json": {Data: []byte(`{"a": "1"}`)},
		}
		plan, err := states.Compile(fsys, states.Input{Node: web()}, functions())
		if err != nil {
			return // FuzzExpression's and FuzzJinja's
		}
		late := states.NewLate(fsys, plan)
		for _, in := range plan.Invocations {
			for _, p := range in.Parts {
				for _, v := range p.Params {
					if d, ok := v.(states.Deferred); ok {
						resolveFuzzed(t, late, d, output)
						broken(fsys, d, scope)
					}
				}
			}
		}
	})
}

func resolveFuzzed(t *testing.T, late *states.Late, d states.Deferred, output string) {
	outputs := map[states.OutputRef]any{}
	for _, r := range d.Reads {
		outputs[r] = output
	}
	value, rendered, err := late.Resolve(d, outputs)
	if content, ok := value.(states.Content); ok && err == nil && int64(len(rendered)) != content.Size {
		t.Errorf("%d bytes of %d", len(rendered), content.Size)
	}
	if err != nil && err.Error() == "" {
		t.Error("an error that says nothing")
	}
}

// broken resolves under a scope that is named rightly, and may be anything.
func broken(fsys fstest.MapFS, d states.Deferred, scope []byte) {
	sum := sha256.Sum256(scope)
	d.Scope = "sha256:" + hex.EncodeToString(sum[:])
	_, _, _ = states.NewLate(fsys, &states.Plan{Scopes: map[string][]byte{d.Scope: scope}}).Resolve(d, nil)
}
