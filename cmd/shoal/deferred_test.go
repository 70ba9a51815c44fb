package main

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"shoal/executor"
	"shoal/states"
)

// outputsOf are expressions that read an output of the state p, for a parameter of each type.
var outputsOf = map[states.Type]string{
	states.String: `"${ states.p.outputs.stdout }"`, states.Path: `"${ states.p.outputs.stdout }"`, states.Mode: `"${ states.p.outputs.stdout }"`,
	states.Duration: `"${ states.p.outputs.stdout }"`, states.Any: `"${ states.p.outputs.stdout }"`,
	states.Bool: `"${ states.p.outputs.status == 0 }"`, states.Int: `"${ states.p.outputs.status }"`,
	states.Strings: `["${ states.p.outputs.stdout }", x]`, states.Map: `{a: "${ states.p.outputs.stdout }", b: {c: ["${ states.p.outputs.status }"]}}`,
}

// fillers are what the other parameters, that must be given, are.
var fillers = map[states.Type]string{
	states.String: "x", states.Path: "/x", states.Mode: `"0644"`, states.Duration: "1s", states.Any: "x", states.Bool: "true", states.Int: "1",
	states.Strings: "[x]", states.Map: "{a: x}", states.Folder: "folder",
}

// TestEveryParameterMayReadOutputs: whatever looks at parameters meets one that waits for an output, at any depth: the
// compiler, the claims and edges of genius, validators, the graph, the plan's encoding, the plan of this machine and of others.
func TestEveryParameterMayReadOutputs(t *testing.T) {
	m, done, err := checkMachine(t.TempDir(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := done(); err != nil {
			t.Error(err)
		}
	}()
	tried := 0
	for _, f := range functions() {
		for _, tried1 := range f.Params {
			value := outputsOf[tried1.Type]
			name := tried1.Name
			if tried1.Type == states.Contents {
				name, value = "content", `"${ states.p.outputs.stdout }"`
			}
			if value == "" || f.FullName() == "file.tree" && name == "render" {
				continue // a folder of the tree, and what decides how it is read
			}
			params := []string{name + ": " + value}
			for _, p := range f.Params {
				if p.Name == tried1.Name || !p.Required || p.Default != nil {
					continue
				}
				filler, name := fillers[p.Type], p.Name
				if len(p.OneOf) > 0 {
					filler = p.OneOf[0]
				}
				if p.Type == states.Contents {
					name, filler = "content", "x"
				}
				params = append(params, name+": "+filler)
			}
			tried++
			for _, order := range []states.Order{states.Genius, states.Ansible} {
				plan, err := states.Compile(readerOf(f.FullName(), params), states.Input{Node: states.Node{Name: "n"}, Order: order}, functions())
				if err != nil {
					t.Errorf("%s %s: %v", f.FullName(), name, err)
					continue
				}
				plan.Picture().Text()
				data, err := states.EncodePlan(plan)
				if err != nil {
					t.Errorf("%s %s: %v", f.FullName(), name, err)
				} else if _, err := states.DecodePlan(data); err != nil {
					t.Errorf("%s %s: %v", f.FullName(), name, err)
				}
				tree := readerOf(f.FullName(), params)
				for _, r := range []executor.Report{
					executor.Unseen(plan, executor.RunMeta{}),
					m.engine.Check(t.Context(), plan, executor.TreeContents(tree), executor.RunMeta{Resolver: states.NewLate(tree, plan)}),
				} {
					if row := rowOf(r, "c/r"); row.Result != executor.Unknown || !strings.Contains(row.Diff, "known after apply") {
						t.Errorf("%s %s: %s %+v", f.FullName(), name, r.Error, row)
					}
				}
			}
		}
	}
	if tried < 100 {
		t.Errorf("only %d parameters were tried", tried)
	}
}

// readerOf is a tree whose state r uses the outputs of p, and reacts to it.
func readerOf(function string, params []string) fstest.MapFS {
	return fstest.MapFS{
		"site.yaml": {Data: []byte("policy: {command_outputs: allow}\ntargets:\n  - {on: \"*\", components: [c]}\n")},
		"components/c/states.yaml": {Data: fmt.Appendf(nil, "states:\n  p: {cmd.run: {shell: echo /made}}\n  r:\n    listen: [p]\n    %s:\n      %s\n",
			function, strings.Join(params, "\n      "))},
		"components/c/folder/x": {Data: []byte("x")},
	}
}

func rowOf(r executor.Report, id string) executor.StateReport {
	for _, s := range r.States {
		if s.ID == id {
			return s
		}
	}
	return executor.StateReport{}
}
