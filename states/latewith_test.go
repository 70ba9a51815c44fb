package states_test

import (
	"fmt"
	"strings"
	"testing"

	"shoal/states"
)

// withOutputs are the functions of the tests, of which file.symlink has the output path.
func withOutputs() []states.Function {
	all := functions()
	for i := range all {
		if all[i].FullName() == "file.symlink" {
			all[i].Outputs = []states.Output{{Name: "path", Type: states.Path}}
		}
	}
	return all
}

const certificates = `
states:
  conf:
    file.managed: {path: /c, template: c.j2}
    cmd.run: {shell: "check ${vars.certificate} ${vars.domain}", env: {P: "${vars.domain}"}}
    notify: [reload]
  reload: {lazy: true, service.reloaded: {name: nginx}}
  certificate: {file.symlink: {path: /cert, target: x}}
  other: {cmd.run: {shell: x}}
  inner: {meta.sequence: [{run: conf, with: {certificate: "${vars.certificate}.pem"}}]}
  tls: {meta.sequence: [inner, reload, certificate, other, {run: inner, with: {certificate: '${ states["certificate"].outputs.path }'}}, reload]}
`

// What a sequence gives may read outputs; then what uses that variable is known later, and nothing else.
func TestLateWith(t *testing.T) {
	fsys := treeOf(certificates, map[string]string{
		"components/app/defaults.yaml": "certificate: none\ndomain: example.org\n",
		"components/app/c.j2":          "{{ vars.domain }} {{ vars.certificate }}\n",
	})
	plan, err := states.Compile(fsys, states.Input{Node: web()}, withOutputs())
	if err != nil {
		t.Fatal(err)
	}
	late := states.NewLate(fsys, plan)
	var got []string
	for i, in := range plan.Invocations {
		if in.ID != "app/conf" {
			continue
		}
		for _, p := range in.Parts {
			for _, name := range []string{"contents", "shell", "env"} {
				switch v := p.Params[name].(type) {
				case nil:
				case states.Deferred:
					outputs := map[states.OutputRef]any{}
					for _, ref := range v.Reads {
						outputs[ref] = "/from/" + fmt.Sprint(ref.ID, ref.Number)
					}
					value, data, err := late.Resolve(v, outputs)
					if err != nil {
						t.Fatal(err)
					}
					if data != nil {
						value = string(data)
					}
					got = append(got, fmt.Sprint(label(plan, i), " late ", value))
				case states.Content:
					got = append(got, fmt.Sprint(label(plan, i), " ", string(plan.Rendered[v.Hash])))
				default:
					got = append(got, fmt.Sprint(label(plan, i), " ", v))
				}
			}
		}
	}
	want := `app/conf example.org none.pem
|app/conf check none.pem example.org|app/conf map[P:example.org]|app/conf#2 late example.org /from/app/certificate1.pem
|app/conf#2 late check /from/app/certificate1.pem example.org|app/conf#2 map[P:example.org]`
	if strings.Join(got, "|") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "|"), want)
	}
	if !strings.Contains(show(plan), "<- app/certificate require: output path of app/certificate in app/conf") {
		t.Errorf("no edge from the certificate:\n%s", show(plan))
	}
}

// A value that is needed to make the plan cannot wait.
func TestLateWithNeededEarly(t *testing.T) {
	for _, use := range []string{
		`a: {cmd.run: {shell: x}, for_each: "${vars.v}"}`, `a: {file.managed: {path: /a, source: "${vars.v}"}}`, `a: {cmd.run: {shell: x}, require: ["${vars.v}"]}`,
	} {
		_, err := states.Compile(treeOf("states:\n  "+use+`
  p: {file.symlink: {path: /cert, target: x}}
  s: {meta.sequence: [p, {run: a, with: {v: '${ states["p"].outputs.path }'}}]}
`, nil), states.Input{Node: web()}, withOutputs())
		if err == nil || !strings.Contains(err.Error(), "outputs cannot be read here") {
			t.Errorf("%s: %v", use, err)
		}
	}
}

// One catalogue for several nodes: what one of them defers is not another's.
func TestLateWithOnSeveralNodes(t *testing.T) {
	fsys := treeOf(certificates, map[string]string{
		"components/app/defaults.yaml": "certificate: none\ndomain: \"${name}.example.org\"\n",
		"components/app/c.j2":          "{{ vars.domain }} {{ vars.certificate }}\n",
	})
	shared, err := states.Open(fsys, withOutputs())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "a"} {
		in := states.Input{Node: states.Node{Name: name}}
		got, err1 := shared.Compile(in)
		want, err2 := states.Compile(fsys, in, withOutputs())
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		one, err1 := states.EncodePlan(got)
		two, err2 := states.EncodePlan(want)
		if err1 != nil || err2 != nil || string(one) != string(two) {
			t.Errorf("node %s: the shared catalogue gives another plan: %v %v", name, err1, err2)
		}
	}
}
