package states_test

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"testing/fstest"

	"shoal/states"
)

// thousand is a tree of 1,000 file.managed states, each with a small template of its own variables.
func thousand() fstest.MapFS {
	return treeOf(`
states:
  dir: {file.directory: {path: /etc/app}}
  conf:
    for_each: ${ vars.files }
    file.managed:
      path: /etc/app/${ each.key }.conf
      template: templates/app.conf.j2
      mode: "0644"
    notify: [reload]
  reload: {lazy: true, cmd.run: {shell: "true"}}
`, map[string]string{
		"components/app/templates/app.conf.j2": "# {{ name }} {{ tags.role }}\nport = {{ each.value.port }}\n{% for s in vars.servers %}\nserver {{ s }} weight={{ loop.index }};\n{% endfor %}\n{% if each.value.port > 100 %}\nhigh\n{% endif %}\n",
		"components/app/defaults.yaml":         "servers: [a, b, c]\nfiles: {}\n",
		"variables/files.yaml":                 manyFiles(1000),
	})
}

func manyFiles(n int) string {
	var b bytes.Buffer
	b.WriteString("files:\n")
	for i := range n {
		fmt.Fprintf(&b, "  f%04d: {port: %d}\n", i, i)
	}
	return b.String()
}

func thousandTree() fstest.MapFS {
	fsys := thousand()
	fsys["site.yaml"].Data = append(fsys["site.yaml"].Data, "    variables_from: [files]\n"...)
	return fsys
}

// writtenOut is the same with each state written on its own.
func writtenOut() fstest.MapFS {
	fsys := thousand()
	var b bytes.Buffer
	b.WriteString("states:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  conf%04d:\n    file.managed:\n      path: /etc/app/%04d.conf\n      source: files/x\n      mode: \"0644\"\n", i, i)
	}
	fsys["components/app/states.yaml"].Data = b.Bytes()
	fsys["components/app/files/x"] = &fstest.MapFile{Data: []byte("x")}
	return fsys
}

func TestEncodePlan(t *testing.T) {
	plan := mustCompile(t, thousandTree(), web())
	if len(plan.Invocations) != 1002 {
		t.Fatalf("%d invocations", len(plan.Invocations))
	}
	data, err := states.EncodePlan(plan)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", len(data))
	back, err := states.DecodePlan(data)
	if err != nil {
		t.Fatal(err)
	}
	back.Rendered = plan.Rendered
	if !reflect.DeepEqual(plan, back) {
		t.Error("a plan changes on its way through bytes")
	}
	again, err := states.EncodePlan(mustCompile(t, thousandTree(), web()))
	if err != nil || !bytes.Equal(data, again) {
		t.Errorf("two compilations differ (%v)", err)
	}
}

func TestEncodeValues(t *testing.T) {
	params := map[string]any{"nil": nil, "t": true, "f": false, "i": int64(-5), "d": 1.5, "s": "x", "l": []any{}, "m": map[string]any{"a": []any{int64(1)}},
		"c": states.Content{Hash: "h", Size: 3, Source: "s", From: "f", Secret: true}}
	late := states.Deferred{
		Text: "${states.b.outputs.x}", Type: states.String, Scope: "sha256:0", Each: map[string]any{"key": int64(1)},
		Reads: []states.OutputRef{{As: "b", ID: "c/b", Number: 1, Output: "x"}}, Secret: true, Place: states.Place{File: "f", Line: 1, Column: 2},
	}
	params["late"] = []any{late, states.Deferred{Text: "templates/x.j2", Template: true, Type: states.Contents}}
	plan := &states.Plan{
		StateRun: states.StateRun{
			Invocations: []states.StateInvocation{
				{
					ID: "a", When: &late, SupersededBy: 1,
					Parts: []states.StatePartInvocation{{Module: "m", Params: params, Secret: []string{"s"}}, {Params: map[string]any{}}, {}},
				},
				{ID: "b", Block: &states.Block{Run: []int{0}, Rescue: []int{}}, Sequence: []int{0, 1}},
			},
			Edges: []states.Edge{},
		},
		Scopes: map[string][]byte{"sha256:0": []byte("{}")}, Secrets: []string{"hidden"},
	}
	data, err := states.EncodePlan(plan)
	if err != nil {
		t.Fatal(err)
	}
	back, err := states.DecodePlan(data)
	if err != nil || !reflect.DeepEqual(plan, back) {
		t.Errorf("got %+v, %v", back, err)
	}
	plan.Invocations[0].Parts[0].Params["bad"] = struct{}{}
	if _, err := states.EncodePlan(plan); err == nil {
		t.Error("a struct was encoded")
	}
}

func TestDecodeRefuses(t *testing.T) {
	data, err := states.EncodePlan(mustCompile(t, treeOf("states:\n  a: {file.managed: {path: /a, content: x}}\n", nil), web()))
	if err != nil {
		t.Fatal(err)
	}
	for n := range data {
		if _, err := states.DecodePlan(data[:n]); err == nil {
			t.Errorf("%d of %d bytes decode", n, len(data))
		}
	}
	if _, err := states.DecodePlan(append(bytes.Clone(data), 0)); err == nil {
		t.Error("trailing bytes decode")
	}
	for _, run := range []states.StateRun{
		{Invocations: []states.StateInvocation{{}}, Edges: []states.Edge{{From: 1}}},
		{Invocations: []states.StateInvocation{{}}, Edges: []states.Edge{{To: 1}}},
		{Invocations: []states.StateInvocation{{SupersededBy: 1}}},
		{Invocations: []states.StateInvocation{{Sequence: []int{1}}}},
		{Invocations: []states.StateInvocation{{Block: &states.Block{Always: []int{1}}}}},
	} {
		beyond, err := states.EncodePlan(&states.Plan{StateRun: run})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := states.DecodePlan(beyond); err == nil {
			t.Errorf("an invocation that is not there is named, and it decodes: %+v", run)
		}
	}
}

func FuzzDecodePlan(f *testing.F) {
	p, err := states.Compile(treeOf("states:\n  a: {cmd.run: {shell: x, env: {A: b}}, require: [b]}\n  b: {file.managed: {path: /a, content: x}}\n", nil), states.Input{Node: web()}, functions())
	if err != nil {
		f.Fatal(err)
	}
	data, err := states.EncodePlan(p)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := states.DecodePlan(data)
		if err != nil {
			return
		}
		if _, err := states.EncodePlan(p); err != nil {
			t.Errorf("decoded and not encoded: %v", err)
		}
	})
}

func benchCompile(b *testing.B, fsys fstest.MapFS) {
	all := functions()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := states.Compile(fsys, states.Input{Node: web()}, all); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile1000Templates(b *testing.B) { benchCompile(b, thousandTree()) }
func BenchmarkCompile1000Written(b *testing.B)   { benchCompile(b, writtenOut()) }
func BenchmarkCompileOne(b *testing.B) {
	benchCompile(b, treeOf("states:\n  a: {cmd.run: {shell: x}}\n", nil))
}

func BenchmarkDecodePlan1000(b *testing.B) {
	p, err := states.Compile(thousandTree(), states.Input{Node: web()}, functions())
	if err != nil {
		b.Fatal(err)
	}
	data, err := states.EncodePlan(p)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := states.DecodePlan(data); err != nil {
			b.Fatal(err)
		}
	}
}

// What is empty and not nil is the last thing that is written: nothing follows its count.
func TestEncodeEmptyAtTheEnd(t *testing.T) {
	plan := &states.Plan{Secrets: []string{}}
	data, err := states.EncodePlan(plan)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := states.DecodePlan(data); err != nil || again.Secrets == nil || len(again.Secrets) != 0 {
		t.Errorf("%v, %v", again, err)
	}
	fsys := treeOf("states:\n  p: {file.symlink: {path: /cert, target: x}}\n  a: {cmd.run: {shell: '${ states.p.outputs.path }'}}\n", nil)
	if plan, err = states.Compile(fsys, states.Input{Node: web()}, withOutputs()); err != nil {
		t.Fatal(err)
	}
	d := param(plan, "app/a", "shell").(states.Deferred)
	got, _, err := states.NewLate(fsys, plan).Resolve(d, map[states.OutputRef]any{d.Reads[0]: "/cert"})
	if err != nil || got != "/cert" {
		t.Errorf("an output in a tree without variables: %v, %v", got, err)
	}
}
