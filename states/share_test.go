package states_test

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"shoal/states"
)

// pieces of texts that read a little, each in its own way.
var (
	celPieces = []string{"x", "${name}", "${zone}", "${tags.dc}", "${has(tags.rack) ? tags.rack : 'none'}", `${"rack" in tags ? "r" : "n"}`,
		"${vars.a}", "${vars.m.k}", `${vars["b"]}`, `${vars[?"none"].orValue("d")}`, "${string(size(tags))}", "${tags.map(t, t).sort().join(',')}",
		"${vars.list.map(name, name + '!').join(',')}", `${nodes("role=web").map(n, n.name).join(",")}`, `${string(size(nodes("*")))}`, `${nodes("dc=" + tags.dc).map(n, n.zone).join()}`}
	jinjaPieces = []string{"x", "{{ name }}", "{{ zone }}", "{{ tags.dc }}", "{{ tags.rack | default('none') }}", `{{ tags["dc"] }}`, "{{ tags | length }}",
		"{{ tags.get('dc') }}", "{% for k, v in tags.items() | sort %}{{ k }}{% endfor %}", "{{ vars.m.k }}", "{% set t = tags %}{{ t.dc }}", "{{ vars.list | map('upper') | join(name) }}",
		"name: {{ vars.a }}", "{% include 'inner.j2' %}", "{% set f = 'inner' %}{% include f ~ '.j2' %}", `{{ nodes("role=web") | map(attribute="name") | join(",") }}`,
		"{% for n in nodes('*') %}{{ n.name }}={{ n.tags.dc | default('-') }} {% endfor %}", "{% import 'macro.j2' as m %}{{ m.who(name) }}"}
	goPieces = []string{"x", "{{ .name }}", "{{ .zone }}", "{{ .tags.dc }}", `{{ index .tags "dc" }}`, `{{ with index .tags "rack" }}{{ . }}{{ end }}`, "{{ len .tags }}",
		"{{ range $k, $v := .tags }}{{ $k }}{{ end }}", "{{ .vars.a }}", "{{ with .vars.m }}{{ .k }}{{ end }}", "{{ range .vars.list }}{{ . }}{{ $.name }}{{ end }}",
		`{{ define "d" }}{{ .name }}{{ end }}{{ template "d" . }}`, `{{ define "e" }}{{ .k }}{{ end }}{{ template "e" .vars.m }}`, `{{ range nodes "role=web" }}{{ .name }} {{ end }}`, "{{ $x := . }}{{ $x.name }}"}
	whenPieces = []string{"true", "tags.dc == 'fra'", "name.startsWith('n1')", "has(tags.rack)", "vars.a > 1", "size(nodes('role=web')) > 1"}
)

// drawShared makes a tree of states whose texts read something of the node.
func drawShared(t *rapid.T) fstest.MapFS {
	text := func(pieces []string) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 3).Draw(t, "pieces"), " ")
	}
	fsys := fstest.MapFS{}
	file := func(name, data string) { fsys[name] = &fstest.MapFile{Data: []byte(data)} }
	file("site.yaml", "groups: {near: tags.dc == 'fra'}\ntargets:\n  - on: '*'\n    components: [one, two]\n    variables: {b: \""+rapid.SampledFrom([]string{"x", "${name}", "${tags.dc}", "${string(size(nodes('group.near')))}"}).Draw(t, "b")+
		"\"}\n  - on: group.near\n    variables: {a: 2, m: {k: near}}\n  - on: role=web\n    variables: {list: [c, d]}\n")
	for _, comp := range []string{"one", "two"} {
		dir := "components/" + comp + "/"
		file(dir+"defaults.yaml", "a: 1\nb: b\nm: {k: far}\nlist: [a, b]\n")
		var b strings.Builder
		b.WriteString("states:\n")
		if rapid.IntRange(0, 2).Draw(t, "sequence") == 0 {
			b.WriteString("  made: {file.managed: {path: \"/made/" + comp + "/${tags.dc}\", content: x}}\n" +
				"  rep: {cmd.run: {shell: \"${vars.a} " + rapid.SampledFrom(celPieces[:4]).Draw(t, "rep") + "\"}}\n" +
				"  seq: {meta.sequence: [made, {run: rep, with: {a: 7}}, {run: rep, with: {a: \"" +
				rapid.SampledFrom([]string{"${tags.dc}", "${name}", "${states[\\\"made\\\"].outputs.path}", "b"}).Draw(t, "with") + "\"}}]}\n")
		}
		if rapid.IntRange(0, 4).Draw(t, "hidden") == 0 {
			b.WriteString("  hide: {cmd.run: {shell: \"${vars.secret} " + rapid.SampledFrom(celPieces[:6]).Draw(t, "seen") + "\"}}\n")
			file(dir+"defaults.yaml", "a: 1\nb: b\nm: {k: far}\nlist: [a, b]\nsecret: !secret hunter2hunter2\n")
		}
		fmt.Fprintf(&b, "  group: {group.present: {name: fra}}\n  sub: {file.directory: {path: /srv/%s}}\n", comp)
		for i := range rapid.IntRange(1, 5).Draw(t, "n") {
			fmt.Fprintf(&b, "  s%d:\n", i)
			if rapid.IntRange(0, 3).Draw(t, "when") == 0 {
				fmt.Fprintf(&b, "    when: %q\n", rapid.SampledFrom(whenPieces).Draw(t, "condition"))
			}
			if i > 0 && rapid.Bool().Draw(t, "requires") {
				fmt.Fprintf(&b, "    require: [s%d]\n", i-1)
			}
			path := fmt.Sprintf("/srv/%s/%d/${tags.dc}", comp, i)
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0:
				fmt.Fprintf(&b, "    file.managed: {path: %q, content: %q}\n", path, text(celPieces))
			case 1:
				file(fmt.Sprintf("%st%d.j2", dir, i), text(jinjaPieces))
				fmt.Fprintf(&b, "    file.managed: {path: %q, template: t%d.j2}\n", path, i)
			case 2:
				file(fmt.Sprintf("%st%d.tmpl", dir, i), rapid.SampledFrom(goPieces).Draw(t, "go"))
				fmt.Fprintf(&b, "    file.managed: {path: %q, template: t%d.tmpl}\n", path, i)
			case 3:
				fmt.Fprintf(&b, "    for_each: ${vars.list}\n    cmd.run: {shell: %q}\n", "${each.value} "+text(celPieces))
			case 4:
				fmt.Fprintf(&b, "    user.present: {name: %q, groups: [%q]}\n", fmt.Sprintf("u%d", i), rapid.SampledFrom([]string{"g", "${tags.dc}", "${vars.m.k}"}).Draw(t, "group"))
			}
		}
		if comp == "two" && rapid.Bool().Draw(t, "templated") {
			fmt.Fprintf(&b, "  {%% if %s %%}\n  extra: {cmd.run: {shell: %q}}\n  {%% endif %%}\n", rapid.SampledFrom([]string{"vars.a > 1", "tags.dc == 'fra'", "name == 'n1'"}).Draw(t, "if"), text(celPieces[:4]))
			file(dir+"states.yaml.j2", b.String())
		} else {
			file(dir+"states.yaml", b.String())
		}
		file(dir+"inner.j2", "{{ name }}{{ tags.dc }}")
		file(dir+"macro.j2", "{% macro who(n) %}{{ n }}{% endmacro %}")
	}
	return fsys
}

// TestSharingIsInvisible compares plans of a catalogue that compiles for one node after another with plans that are each
// compiled on their own, byte by byte.
func TestSharingIsInvisible(t *testing.T) {
	compiled := 0
	rapid.Check(t, func(t *rapid.T) {
		fsys := drawShared(t)
		order := rapid.SampledFrom([]states.Order{states.Genius, states.Ansible, states.JustDoIt}).Draw(t, "order")
		l, err := states.Open(fsys, functions())
		if err != nil {
			t.Fatal(err)
		}
		var fleet []states.Node
		for i := range rapid.IntRange(2, 6).Draw(t, "nodes") {
			tags := map[string]string{"dc": rapid.SampledFrom([]string{"fra", "ams"}).Draw(t, "dc"), "role": rapid.SampledFrom([]string{"web", "db"}).Draw(t, "role")}
			if rapid.IntRange(0, 3).Draw(t, "racked") == 0 {
				tags["rack"] = rapid.SampledFrom([]string{"", "r1"}).Draw(t, "rack")
			}
			fleet = append(fleet, states.Node{Name: fmt.Sprintf("n%d", i), Zone: rapid.SampledFrom([]string{"", "z"}).Draw(t, "zone"), Tags: tags})
		}
		smaller := fleet[1:]
		for round := range 2 {
			for _, n := range fleet {
				in := states.Input{Node: n, Order: order, Fleet: fleet}
				if round == 1 && rapid.Bool().Draw(t, "other fleet") {
					in.Fleet = smaller
				}
				before := maps.Clone(n.Tags)
				shared, err1 := l.Compile(in)
				alone, err2 := states.Compile(fsys, in, functions())
				if fmt.Sprint(err1) != fmt.Sprint(err2) {
					t.Fatalf("%s: shared: %v\nalone: %v", n.Name, err1, err2)
				}
				if !maps.Equal(before, n.Tags) {
					t.Fatal("compiling changed the node's tags")
				}
				if err1 != nil {
					continue
				}
				compiled++
				samePlan(t, shared, alone)
			}
		}
	})
	if compiled == 0 {
		t.Error("no tree compiled")
	}
	t.Logf("%d plans", compiled)
}

func samePlan(t *rapid.T, a, b *states.Plan) {
	t.Helper()
	one, err1 := states.EncodePlan(a)
	two, err2 := states.EncodePlan(b)
	if err1 != nil || err2 != nil || !bytes.Equal(one, two) || !maps.EqualFunc(a.Rendered, b.Rendered, bytes.Equal) {
		t.Fatalf("%s: a plan shows that it was shared: %v %v\n%s\n%s", a.Node.Name, err1, err2, show(a), show(b))
	}
	if a.ReadsFleet != b.ReadsFleet {
		t.Fatalf("%s: ReadsFleet is %v shared, and %v alone", a.Node.Name, a.ReadsFleet, b.ReadsFleet)
	}
}

// TestManyBarriers: their edges grow with the states, not with the product of both, and each still parts what is above from
// what is below.
func TestManyBarriers(t *testing.T) {
	var b strings.Builder
	b.WriteString("states:\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "  s%d: {cmd.run: {shell: x}}\n", i)
		if i%10 == 9 {
			fmt.Fprintf(&b, "  wall%d: {meta.barrier: {}}\n", i)
		}
	}
	plan := mustCompile(t, treeOf(b.String(), nil), web())
	if n := len(plan.Edges); n > 3*len(plan.Invocations) {
		t.Errorf("%d edges of %d states", n, len(plan.Invocations))
	}
	wall := 0
	for i, in := range plan.Invocations {
		if strings.HasPrefix(in.ID, "app/wall") {
			if wall++; i != 11*wall-1 {
				t.Fatalf("%s is at %d", in.ID, i)
			}
		}
	}
}

// TestOrderIsSharedOnlyWhereItIsTheSame: two nodes whose plans differ only in what a state needs.
func TestOrderIsSharedOnlyWhereItIsTheSame(t *testing.T) {
	fsys := treeOf("states:\n  u: {user.present: {name: app, groups: [\"${tags.dc}\"]}}\n  g: {group.present: {name: fra}}\n", nil)
	l, err := states.Open(fsys, functions())
	if err != nil {
		t.Fatal(err)
	}
	for _, dc := range []string{"fra", "ams", "fra"} {
		plan, err := l.Compile(states.Input{Node: states.Node{Name: "n", Tags: map[string]string{"dc": dc}}})
		if err != nil {
			t.Fatal(err)
		}
		if joined := len(plan.Edges) == 1; joined != (dc == "fra") {
			t.Errorf("%s: %s", dc, show(plan))
		}
	}
}

// A catalogue says of each node what is wrong for that one alone, in whatever order it is asked.
func TestProblemsAreOfOneCompilation(t *testing.T) {
	fsys := treeOf("states:\n  a: {cmd.run: {shell: x}}\n", map[string]string{
		"components/db/states.yaml": "states:\n  a: {cmd.runn: {}}\n  b: {cmd.run: {shell: \"${vars.nope}\"}}\n",
	})
	fsys["site.yaml"].Data = append(fsys["site.yaml"].Data, "  - on: role=db\n    components: [db]\n"...)
	l, err := states.Open(fsys, functions())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := l.Compile(states.Input{Node: web()}); err != nil {
			t.Errorf("web-1 is fine, and gets %v", err)
		}
		_, err := l.Compile(states.Input{Node: states.Node{Name: "db", Tags: map[string]string{"role": "db"}}})
		for _, want := range []string{`unknown function "cmd.runn"`, `undefined variable "nope"`} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("db is not told %s: %v", want, err)
			}
		}
	}
}
