package states_test

import (
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"shoal/states"
)

func param(p *states.Plan, id, name string) any {
	for _, in := range p.Invocations {
		if in.ID == id {
			for _, part := range in.Parts {
				if v, ok := part.Params[name]; ok {
					return v
				}
			}
		}
	}
	return nil
}

func rendered(t *testing.T, p *states.Plan, id string) string {
	t.Helper()
	c, ok := param(p, id, "contents").(states.Content)
	if !ok {
		t.Fatalf("%s has no contents", id)
	}
	data, ok := p.Rendered[c.Hash]
	if !ok || int64(len(data)) != c.Size {
		t.Fatalf("%s: %d bytes rendered, size %d", id, len(data), c.Size)
	}
	return string(data)
}

func TestOrder(t *testing.T) {
	for _, c := range []struct{ name, policy, tree, want string }{
		{"ansible keeps the written order", "ansible", `
  c: {cmd.run: {shell: x}}
  a: {cmd.run: {shell: x}, require: [z]}
  b: {cmd.run: {shell: x}}
  z: {cmd.run: {shell: x}}`, "app/c app/b app/z app/a"},
		{"genius: folders, accounts, packages, services", "genius", `
  unit: {file.managed: {path: /etc/nginx/conf.d/x, content: x, owner: www}}
  dir: {file.directory: {path: /etc/nginx/conf.d}}
  run: {service.running: {name: nginx}}
  www: {user.present: {name: www, groups: [web]}}
  web: {group.present: {name: web}}
  pkg: {pkg.installed: {name: nginx}}
  repo: {pkgrepo.managed: {name: main}}`, "app/web app/www app/repo app/pkg app/dir app/unit app/run"},
		{"genius: a mount before what is in it", "genius", `
  unit: {file.managed: {path: /srv/data/deep/x, content: x}}
  data: {mount.mounted: {path: /srv/data}}
  srv: {mount.mounted: {path: /srv}}
  point: {file.directory: {path: /srv/data}}`, "app/srv app/point app/data app/unit"},
		{"genius adds nothing against a requisite", "genius", `
  dir: {file.directory: {path: /srv/a}, require: [file]}
  file: {file.managed: {path: /srv/a/b, content: x}}`, "app/file app/dir"},
		{"justdoit adds no edges", "justdoit", `
  file: {file.managed: {path: /srv/a/b, content: x}}
  dir: {file.directory: {path: /srv/a}}`, "app/file app/dir"},
		{"genius runs lazy states at the end", "genius", `
  reload: {lazy: true, service.reloaded: {name: x}}
  a: {cmd.run: {shell: x}, notify: [reload]}
  b: {cmd.run: {shell: x}}`, "app/a app/b app/reload"},
		{"first and last", "justdoit", `
  l: {cmd.run: {shell: x}, order: last}
  a: {cmd.run: {shell: x}}
  f: {cmd.run: {shell: x}, order: first, require: [dep]}
  dep: {cmd.run: {shell: x}}`, "app/dep app/f app/a app/l"},
		{"barrier", "justdoit", `
  a: {cmd.run: {shell: x}, after: [b]}
  b: {cmd.run: {shell: x}}
  wall: {meta.barrier: {}}
  c: {cmd.run: {shell: x}}`, "app/b app/a app/wall app/c"},
		{"inverse requisites", "justdoit", `
  a: {cmd.run: {shell: x}}
  b: {cmd.run: {shell: x}, require_in: [a]}
  c: {cmd.run: {shell: x}, before: [b]}
  d: {cmd.run: {shell: x}, notify: [c]}
  e: {cmd.run: {shell: x}, notify_failure: [d]}
  f: {cmd.run: {shell: x}, listen_in: [e]}`, "app/f app/e app/d app/c app/b app/a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := treeOf("states:"+c.tree+"\n", nil)
			fsys["site.yaml"].Data = append(fsys["site.yaml"].Data, "policy: {order: "+c.policy+"}\n"...)
			plan := mustCompile(t, fsys, web())
			var ids []string
			for _, in := range plan.Invocations {
				ids = append(ids, in.ID)
			}
			if got := strings.Join(ids, " "); got != c.want {
				t.Errorf("got  %s\nwant %s\n%s", got, c.want, show(plan))
			}
		})
	}
}

func TestEdgesOfRequisites(t *testing.T) {
	plan := mustCompile(t, treeOf(`
states:
  all: {meta.group: [x, y], after: [z]}
  x: {cmd.run: {shell: x}}
  y: {cmd.run: {shell: x}}
  z: {cmd.run: {shell: x}}
  user:
    for_each: {bob: 1, amy: 2}
    cmd.run: {shell: "${each.key}"}
    require: [all]
  one:
    cmd.run: {shell: x}
    listen: ["user[amy]"]
    listen_failure: [user]
`, nil), web())
	want := `app/z cmd.run
app/x cmd.run
  <- app/z after: after in app/x
app/y cmd.run
  <- app/z after: after in app/y
app/user[amy] cmd.run
  <- app/x require: require in app/user[amy]
  <- app/y require: require in app/user[amy]
app/user[bob] cmd.run
  <- app/x require: require in app/user[bob]
  <- app/y require: require in app/user[bob]
app/one cmd.run
  <- app/user[amy] notify: listen in app/one
  <- app/user[amy] notify_failure: listen_failure in app/one
  <- app/user[bob] notify_failure: listen_failure in app/one
`
	if got := show(plan); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestStateKeys(t *testing.T) {
	plan := mustCompile(t, treeOf(`
states:
  a:
    cmd.run: {shell: x}
    retry: {attempts: 3, delay: 2s}
    timeout: 1m
    on_remove: keep
    undo: b
  b: {lazy: true, cmd.run: {argv: [x]}}
  c: {when: tags.role == "db", cmd.run: {shell: "${vars.nope}"}}
  d: {when: "${ has(vars.nope) }", cmd.run: {shell: x}}
  e: {when: 'tags.dc in ["fra"] && name.startsWith("web")', cmd.run: {shell: x}}
`, nil), web())
	a := plan.Invocations[0]
	if a.ID != "app/a" || a.Number != 1 || a.Retry != (states.Retry{Attempts: 3, Delay: 2 * time.Second}) || a.Timeout != time.Minute || a.OnRemove != "keep" || a.Undo != "app/b" {
		t.Errorf("a: %+v", a)
	}
	if a.Place.String() != "components/app/states.yaml:3:3" || a.Parts[0].Place.Line != 4 {
		t.Errorf("places %s and %s", a.Place, a.Parts[0].Place)
	}
	skips := map[string]string{}
	for _, in := range plan.Invocations {
		skips[in.ID] = in.Skip
	}
	want := map[string]string{"app/a": "", "app/b": "", "app/c": `when: "tags.role == \"db\"" is false`, "app/d": `when: "has(vars.nope)" is false`, "app/e": ""}
	if !reflect.DeepEqual(skips, want) {
		t.Errorf("skips %v", skips)
	}
}

func TestExpressionsKeepTypes(t *testing.T) {
	plan := mustCompile(t, treeOf(`
states:
  a:
    user.present: {name: a, uid: "${ vars.base + 7 }", groups: "${ vars.groups.filter(g, g != 'x') }"}
  b:
    cmd.run: {shell: "v=$${HOME} n=${vars.base} l=${vars.groups} ${ {'}': 1}['}'] }", env: "${ vars.env }"}
  c:
    for_each: "${ vars.groups }"
    group.present: {name: "${each.value}", gid: "${each.key}"}
`, map[string]string{"components/app/defaults.yaml": "base: 1000\ngroups: [x, y]\nenv: {A: b}\n"}), web())
	for _, c := range []struct {
		id, name string
		want     any
	}{
		{"app/a", "uid", int64(1007)},
		{"app/a", "groups", []any{"y"}},
		{"app/b", "shell", `v=${HOME} n=1000 l=["x","y"] 1`},
		{"app/b", "env", map[string]any{"A": "b"}},
		{"app/c[1]", "name", "y"},
		{"app/c[1]", "gid", int64(1)},
	} {
		if got := param(plan, c.id, c.name); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %s: got %#v, want %#v", c.id, c.name, got, c.want)
		}
	}
}

func TestDefaultsOfParameters(t *testing.T) {
	plan := mustCompile(t, treeOf("states:\n  a: {pkg.installed: {name: x, version: }}\n", nil), web())
	want := map[string]any{"name": "x", "hold": false}
	if got := plan.Invocations[0].Parts[0].Params; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestContents(t *testing.T) {
	plan := mustCompile(t, treeOf(`
states:
  source: {file.managed: {path: /s, source: files/data}}
  inline: {file.managed: {path: /i, content: "hi ${name}\n"}}
  go: {file.managed: {path: /g, template: templates/x.tmpl}}
  jinja:
    for_each: [8080]
    file.managed: {path: /j, template: "templates/${ 'x' }.j2"}
`, map[string]string{
		"components/app/files/data":        "\x00\xff",
		"components/app/templates/x.tmpl":  "{{ range $k, $v := .tags }}{{ $k }}={{ $v }} {{ end }}{{ .name | upper }} {{ toJson .vars }}\n",
		"components/app/templates/x.j2":    "{% include 'part.j2' %}{% from 'lib/m.j2' import twice %}{{ twice(each.value) }} {{ vars.m | to_json }} {{ 'a.b' | regex_replace('\\.(b)', '-\\\\1') }}\n{{ vars.m | to_nice_yaml }}{{ vars.nope | default('none') }}{% if vars.nope is defined %}x{% endif %}\n",
		"components/app/templates/part.j2": "[{{ zone }}]",
		"components/app/lib/m.j2":          "{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}",
		"components/app/defaults.yaml":     "m: {b: 1, a: [x, true]}\n",
	}), web())
	if c := param(plan, "app/source", "contents").(states.Content); c.Source != "components/app/files/data" || c.Size != 2 || c.From != "source files/data" ||
		c.Hash != "sha256:06eb7d6a69ee19e5fbdf749018d3d2abfa04bcbd1365db312eb86dc7169389b8" {
		t.Errorf("source: %+v", c)
	}
	for id, want := range map[string]string{
		"app/inline":   "hi web-1\n",
		"app/go":       "dc=fra role=web WEB-1 {\"m\":{\"a\":[\"x\",true],\"b\":1}}\n",
		"app/jinja[0]": "[a]80808080 {\"a\": [\"x\", true], \"b\": 1} a-b\na:\n- x\n- true\nb: 1\nnone",
	} {
		if got := rendered(t, plan, id); got != want {
			t.Errorf("%s: got %q, want %q", id, got, want)
		}
	}
}

// A template cannot change what the next one sees.
func TestTemplatesDoNotShareChanges(t *testing.T) {
	plan := mustCompile(t, treeOf(`
states:
  a: {file.managed: {path: /a, template: x.j2}}
  b: {file.managed: {path: /b, template: x.j2}}
`, map[string]string{
		"components/app/x.j2":          "{% set vars.n = vars.n + 1 %}{{ vars.n }}{{ vars.l | length }}",
		"components/app/defaults.yaml": "n: 1\nl: []\n",
	}), web())
	for _, id := range []string{"app/a", "app/b"} {
		if got := rendered(t, plan, id); got != "20" {
			t.Errorf("%s: got %q, want 20", id, got)
		}
	}
}

func TestFormsOfStatesFiles(t *testing.T) {
	yaml := treeOf("states:\n  x: {user.present: {name: x, uid: 1}}\n  y: {user.present: {name: y, uid: 2}}\n", nil)
	site := yaml["site.yaml"]
	want := show(mustCompile(t, yaml, web()))
	for name, data := range map[string]string{
		"states.json":    `{"states": {"x": {"user.present": {"name": "x", "uid": 1}}, "y": {"user.present": {"name": "y", "uid": 2}}}}`,
		"states.yaml.j2": "states:\n{% for k, v in vars.users | dictsort %}\n  {{ k }}: {user.present: {name: {{ k }}, uid: {{ v }}}}\n{% endfor %}\n",
	} {
		fsys := fstest.MapFS{"site.yaml": site, "components/app/" + name: {Data: []byte(data)}, "components/app/defaults.json": {Data: []byte(`{"users": {"y": 2, "x": 1}}`)}}
		if got := show(mustCompile(t, fsys, web())); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestYAMLAnchorsAndMerge(t *testing.T) {
	plan := mustCompile(t, treeOf(`
states:
  a: &base
    file.directory: &d {path: /a, mode: "0750"}
  b:
    file.directory: {<<: *d, path: /b}
`, nil), web())
	if got := param(plan, "app/b", "mode"); got != "0750" {
		t.Errorf("mode %v", got)
	}
	if got := param(plan, "app/b", "path"); got != "/b" {
		t.Errorf("path %v", got)
	}
}

func TestPrecedence(t *testing.T) {
	fsys := treeOf("states:\n  a: {cmd.run: {env: \"${vars}\", shell: x}}\n", map[string]string{
		"components/app/defaults.yaml": "d: default\nr: default\ni: default\nf: default\nm: {a: 1, b: 1}\nl: [1, 2]\n",
		"roles/web.yaml":               "components: [app]\nvariables: {r: role, i: role, f: role, m: {b: 2, c: 2}}\n",
		"variables/prod.yaml":          "f: file\nl: [3]\n",
		"variables/deep/x.json":        `{"n": "${ name }"}`,
	})
	fsys["site.yaml"].Data = []byte(`
groups: {edge: 'tags.role == "web" && group.all', all: "*"}
targets:
  - on: role=web
    variables: {i: first, f: first}
    variables_from: [prod, variables/deep/x.json]
  - on: group.edge
    roles: [web]
    variables: {i: second, m: {d: 3}}
  - on: dc!=fra
    variables: {i: never}
`)
	want := map[string]any{"d": "default", "r": "role", "i": "second", "f": "file", "l": []any{int64(3)}, "n": "web-1",
		"m": map[string]any{"a": int64(1), "b": int64(2), "c": int64(2), "d": int64(3)}}
	if got := param(mustCompile(t, fsys, web()), "app/a", "env"); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestSelects(t *testing.T) {
	groups := map[string]string{"edge": `tags.role == "web"`, "near": `group.edge && zone == "a"`}
	n := states.Node{Name: "web-1", Zone: "a", Tags: map[string]string{"role": "web", "dc": "fra", "os.family": "debian", "empty": ""}}
	for expr, want := range map[string]bool{
		"*": true, "role=web": true, "role=db": false, "role=web,dc!=ams": true, "role=web,dc=ams": false, "rack!=1": true, "rack=": true,
		"name=web-1": true, "zone=b": false, "os.family=debian": true, " role = web , dc = fra ": true,
		"group.edge": true, "!group.near": false, "group.near && name.startsWith('web-')": true,
		`tags.role in ["web", "db"]`: true, `tags.rack == ""`: true, `tags.rack != "1"`: true, `has(tags.rack)`: false, `has(tags.role)`: true,
		`"empty" in tags`: true, `tags["os.family"] == "debian"`: true, `tags.dc.matches("^(fra|ams)$")`: true, "true": true,
	} {
		got, err := states.Selects(expr, n, groups)
		if err != nil || got != want {
			t.Errorf("%q: got %v, %v", expr, got, err)
		}
	}
	for expr, want := range map[string]string{
		"group.egde": `did you mean "group.edge"`, "name": "must be true or false", "": "too early", "rolle(": "selector", "tags.role.x == 1": "",
	} {
		if _, err := states.Selects(expr, n, groups); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", expr, err)
		}
	}
}

func TestValidateTriesTheTagsOfTheTargets(t *testing.T) {
	fsys := treeOf("states:\n  a: {cmd.run: {shell: x}}\n", map[string]string{
		"components/db/states.yaml":     "states:\n  a: {cmd.run: {shell: \"${vars.nope}\"}}\n",
		"components/edge/states.yaml":   "states:\n  a: {cmd.run: {shell: \"${vars.none}\"}}\n",
		"components/unused/states.yaml": "states:\n  a: {cmd.runn: {}}\n",
	})
	fsys["site.yaml"].Data = append(fsys["site.yaml"].Data, "  - on: role=db,dc!=ams\n    components: [db]\n  - on: tags.role in ['web', 'edge'] && tags[\"os.name\"] == 'x' && name == 'n'\n    components: [edge]\n"...)
	if _, err := states.Compile(fsys, states.Input{Node: web()}, functions()); err != nil {
		t.Errorf("web-1 is fine, and gets %v", err)
	}
	got := states.Validate(fsys, nil, nil, functions(), nil).Error()
	for _, want := range []string{`undefined variable "nope"`, `undefined variable "none"`, `unknown function "cmd.runn"`} {
		if !strings.Contains(got, want) {
			t.Errorf("validate does not say %s:\n%s", want, got)
		}
	}
}
