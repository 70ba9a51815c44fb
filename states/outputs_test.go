package states_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"shoal/states"
)

// producers are functions with outputs of several types.
func producers() []states.Function {
	return []states.Function{
		{Module: "t", Name: "make", Params: []states.Param{{Name: "path", Type: states.Path, Required: true, Provides: states.ResourcePath}},
			Outputs: []states.Output{{Name: "path", Type: states.Path}, {Name: "uid", Type: states.Int}, {Name: "mode", Type: states.Mode},
				{Name: "word", Type: states.String}, {Name: "names", Type: states.Strings}}},
		{Module: "t", Name: "run", Outputs: []states.Output{{Name: "stdout", Type: states.String, Command: true}, {Name: "status", Type: states.Int}}},
		{Module: "t", Name: "use", Params: []states.Param{
			{Name: "path", Type: states.Path, Provides: states.ResourcePath}, {Name: "text", Type: states.String}, {Name: "list", Type: states.Strings},
			{Name: "number", Type: states.Int}, {Name: "mode", Type: states.Mode}, {Name: "map", Type: states.Map}, {Name: "kind", Type: states.String, OneOf: []string{"a", "b"}},
			{Name: "contents", Type: states.Contents}}},
	}
}

func outputTree(states string, more ...string) fstest.MapFS {
	fsys := fstest.MapFS{
		"site.yaml":                  {Data: []byte("targets:\n  - {on: \"*\", components: [app], variables: {which: b, list: [1, 2]}}\n")},
		"components/app/states.yaml": {Data: []byte("states:\n  cert:\n    t.make: {path: /srv/cert}\n  host:\n    for_each: {a: /srv/a, b: /srv/b}\n    t.make: {path: \"${each.value}\"}\n" + states)},
	}
	for i := 0; i+1 < len(more); i += 2 {
		fsys["components/app/"+more[i]] = &fstest.MapFile{Data: []byte(more[i+1])}
	}
	return fsys
}

func compileOutputs(t *testing.T, fsys fstest.MapFS) *states.Plan {
	t.Helper()
	plan, err := states.Compile(fsys, states.Input{Node: states.Node{Name: "n"}, Order: states.JustDoIt}, producers())
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// reader is the invocation app/user, and its parameters.
func reader(t *testing.T, plan *states.Plan) (states.StateInvocation, map[string]any) {
	t.Helper()
	for _, in := range plan.Invocations {
		if in.ID == "app/user" {
			return in, in.Parts[0].Params
		}
	}
	t.Fatal("no app/user")
	panic("unreachable")
}

var known = map[string]any{"path": "/srv/known", "uid": int64(7), "mode": "0600", "word": "b", "names": []any{"x", "y"}, "changed": true}

// answer gives every output that d reads.
func answer(d states.Deferred) map[states.OutputRef]any {
	out := map[states.OutputRef]any{}
	for _, r := range d.Reads {
		out[r] = known[r.Output]
	}
	return out
}

func TestOutputsResolve(t *testing.T) {
	for name, c := range map[string]struct{ param, want string }{
		"whole":         {`path: "${ states['cert'].outputs.path }"`, "/srv/known"},
		"selects":       {`path: "${ states.cert.outputs.path }"`, "/srv/known"},
		"full id":       {`path: "${ states['app/cert'].outputs['path'] }"`, "/srv/known"},
		"element":       {`path: "${ states['host[a]'].outputs.path }"`, "/srv/known"},
		"computed id":   {`path: "${ states['host[' + vars.which + ']'].outputs.path }"`, "/srv/known"},
		"embedded":      {`text: "<${states.cert.outputs.path}:${states.cert.outputs.uid}>"`, "</srv/known:7>"},
		"with function": {`text: "${ states.cert.outputs.path.replace('/', '_') + vars.which }"`, "_srv_knownb"},
		"one of":        {`kind: "${ states.cert.outputs.word }"`, "b"},
		"content":       {`content: "a ${ states.cert.outputs.path }"`, "a /srv/known"},
		"template":      {`template: t.j2`, "j2 /srv/known 7 b\n"},
		"included":      {`template: outer.j2`, "outer j2 /srv/known 7 b\n"},
		"go template":   {`template: t.tmpl`, "go /srv/known 7 b\n"},
		"condition":     {`text: "${ vars.which == 'b' ? states.cert.outputs.path : states['host[a]'].outputs.path }"`, "/srv/known"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := outputTree("  user:\n    t.use: {"+c.param+"}\n",
				"t.j2", "j2 {{ states['cert'].outputs.path }} {{ states.cert.outputs.uid }} {{ vars.which }}\n", "outer.j2", "outer {% include 't.j2' %}",
				"t.tmpl", "go {{ .states.cert.outputs.path }} {{ (index .states \"cert\").outputs.uid }} {{ .vars.which }}\n")
			plan := compileOutputs(t, fsys)
			in, params := reader(t, plan)
			encoded, err := states.EncodePlan(plan)
			if err != nil {
				t.Fatal(err)
			}
			if plan, err = states.DecodePlan(encoded); err != nil {
				t.Fatal(err)
			}
			late := states.NewLate(fsys, plan)
			for name, v := range params {
				d, ok := v.(states.Deferred)
				if !ok {
					t.Fatalf("%s is %#v, not deferred", name, v)
				}
				got, rendered, err := late.Resolve(d, answer(d))
				if err != nil {
					t.Fatal(err)
				}
				if content, ok := got.(states.Content); ok {
					got = string(rendered)
					if content.Size != int64(len(rendered)) || content.Hash == "" {
						t.Errorf("content %+v of %d bytes", content, len(rendered))
					}
				}
				if got != c.want {
					t.Errorf("%s = %#v, want %q", name, got, c.want)
				}
				if _, _, err := late.Resolve(d, nil); err == nil {
					t.Error("resolved without its outputs")
				}
			}
			if edges := edgesInto(plan, in.ID); len(edges) == 0 {
				t.Error("no edge from what it reads")
			}
		})
	}
}

func edgesInto(plan *states.Plan, id string) (reasons []string) {
	for _, e := range plan.Edges {
		if plan.Invocations[e.To].ID == id && e.Kind == states.EdgeRequire {
			reasons = append(reasons, plan.Invocations[e.From].ID+": "+e.Reason)
		}
	}
	return reasons
}

func TestOutputsInDepthAndWhen(t *testing.T) {
	fsys := outputTree(`  user:
    when: states.cert.outputs.changed && states['host[b]'].outputs.uid == 7
    t.use:
      list: [a, "${states.cert.outputs.path}"]
      map: {x: {y: ["${states.cert.outputs.names}", "${states.cert.outputs.uid}"]}}
`)
	plan := compileOutputs(t, fsys)
	in, params := reader(t, plan)
	late := states.NewLate(fsys, plan)
	resolve := func(v any) any {
		t.Helper()
		d, ok := v.(states.Deferred)
		if !ok {
			t.Fatalf("%#v is not deferred", v)
		}
		got, _, err := late.Resolve(d, answer(d))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if in.When == nil || resolve(*in.When) != true {
		t.Errorf("when: %+v", in.When)
	}
	if got := resolve(params["list"].([]any)[1]); got != "/srv/known" {
		t.Errorf("list item: %v", got)
	}
	inner := params["map"].(map[string]any)["x"].(map[string]any)["y"].([]any)
	if names, ok := resolve(inner[0]).([]any); !ok || len(names) != 2 {
		t.Errorf("map item: %v", names)
	}
	if resolve(inner[1]) != int64(7) {
		t.Error("a number in a map lost its type")
	}
	if edges := edgesInto(plan, in.ID); len(edges) != 2 {
		t.Errorf("edges %v", edges)
	}
	if len(plan.Scopes) != 1 {
		t.Errorf("%d scopes for one set of variables", len(plan.Scopes))
	}
}

func TestOutputsLateErrorsHaveTheirPlace(t *testing.T) {
	for name, c := range map[string]struct {
		param, want string
		values      map[string]any
	}{
		"one of":   {`kind: "${ states.cert.outputs.word }"`, `must be one of a, b, not "z"`, map[string]any{"word": "z"}},
		"path":     {`path: "${ states.cert.outputs.word }"`, `must be an absolute path`, map[string]any{"word": "z"}},
		"mode":     {`mode: "${ states.cert.outputs.word }"`, `is not an octal mode`, map[string]any{"word": "z"}},
		"number":   {`number: "${ states.cert.outputs.uid + 1 > 3 ? 'x' : 'y' }"`, `must be a whole number`, map[string]any{"uid": int64(1)}},
		"nul":      {`text: "${ states.cert.outputs.word }"`, `NUL`, map[string]any{"word": "\x00"}},
		"template": {`template: t.j2`, `undefined variable "nope"`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := outputTree("  user:\n    t.use: {"+c.param+"}\n", "t.j2", "{{ states.cert.outputs.path }}{% if states.cert.outputs.uid > 3 %}{{ nope }}{% endif %}")
			plan := compileOutputs(t, fsys)
			_, params := reader(t, plan)
			for _, v := range params {
				d := v.(states.Deferred)
				values := answer(d)
				for r := range values {
					if v, ok := c.values[r.Output]; ok {
						values[r] = v
					}
				}
				_, _, err := states.NewLate(fsys, plan).Resolve(d, values)
				var problems states.Problems
				if !errors.As(err, &problems) || !strings.Contains(err.Error(), c.want) || problems[0].Place.Line == 0 || problems[0].Source == "" {
					t.Errorf("error %v", err)
				}
			}
		})
	}
}

func TestNothingDeferredKeepsNothing(t *testing.T) {
	plan := compileOutputs(t, outputTree(""))
	if plan.Scopes != nil {
		t.Errorf("%d scopes", len(plan.Scopes))
	}
}
