package executor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/states"
)

// resolver puts outputs in the place of {state.output}. A text that is one such keeps the type.
type resolver struct{}

func (resolver) Resolve(d states.Deferred, outputs map[states.OutputRef]any) (any, []byte, error) {
	text := d.Text
	for ref, v := range outputs {
		name := "{" + ref.As + "." + ref.Output + "}"
		if text == name && d.Type != states.Contents {
			return v, nil, nil
		}
		text = strings.ReplaceAll(text, name, fmt.Sprint(v))
	}
	if strings.Contains(text, "{") {
		return nil, nil, errors.New("cannot evaluate " + text)
	}
	if d.Type == states.Contents {
		content := newPlan().text(text)
		return content, []byte(text), nil
	}
	return text, nil, nil
}

// later is a value that reads outputs, written {state.output}.
func later(text string) states.Deferred {
	d := states.Deferred{Text: text, Type: states.String, Place: states.Place{File: "states.yaml", Line: 1, Column: 1}}
	for rest := text; ; {
		_, after, ok := strings.Cut(rest, "{")
		if !ok {
			return d
		}
		name, tail, _ := strings.Cut(after, "}")
		as, output, _ := strings.Cut(name, ".")
		d.Reads = append(d.Reads, states.OutputRef{As: as, ID: "c/" + as, Number: 1, Output: output})
		rest = tail
	}
}

func (b *bench) resolved(t *testing.T, p *planned, want executor.Result, log string) executor.Report {
	t.Helper()
	r := b.engine.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{Resolver: resolver{}})
	if did := b.did(); r.Result != want || did != log {
		t.Fatalf("result %s (%s), did %q; wanted %s, %q\n%s", r.Result, r.Error, did, want, log, results(r))
	}
	return r
}

func (b *bench) planned(t *testing.T, p *planned) executor.Report {
	t.Helper()
	return b.engine.Check(t.Context(), &p.Plan, nil, executor.RunMeta{Resolver: resolver{}})
}

func certAndConf() *planned {
	p := newPlan()
	p.set("cert", "1")
	p.add("conf", "probe.set", map[string]any{"name": "conf", "value": later("uses {cert.value}")})
	p.edge("cert", "conf", states.EdgeRequire)
	return p
}

func TestOutputIsKnownAfterApply(t *testing.T) {
	b := newBench(t)
	p := certAndConf()
	plan := b.planned(t, p)
	if row := plan.States[1]; row.Result != executor.Unknown || row.Diff != "value: known after apply: uses {cert.value}\n" || row.Note != "known after apply" {
		t.Fatalf("plan: %+v", row)
	}
	b.resolved(t, p, executor.Converged, "set:cert set:conf")
	if b.values["conf"] != "uses 1" {
		t.Fatal(b.values["conf"])
	}
	b.resolved(t, p, executor.Converged, "") // the outputs that a look tells
	if plan := b.planned(t, p); plan.Changed != 0 {
		t.Fatalf("plan\n%s", results(plan))
	}
	b.values["conf"] = "drifted"
	if row := b.planned(t, p).States[1]; row.Result != executor.WouldChange || row.Diff != "conf -> uses 1" {
		t.Fatalf("what it reads is known, and the plan says %+v", row)
	}
	p.Invocations[0].Parts[0].Params["value"] = "2"
	b.resolved(t, p, executor.Converged, "set:cert set:conf")
	b.resolved(t, newPlan(), executor.Converged, "revert:conf revert:cert") // the removal knows the parameters that it had
}

func TestRollbackKnowsResolvedParameters(t *testing.T) {
	b := newBench(t)
	p := certAndConf()
	p.set("last", "1")
	b.fails["last"] = 1
	b.resolved(t, p, executor.RolledBackRun, "set:cert set:conf revert:conf revert:cert")
}

func TestOutputsAreRemembered(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("cert", "1")
	b.resolved(t, p, executor.Converged, "set:cert")
	p = certAndConf() // comes later, and asks what only that run could tell
	p.Invocations[1].Parts[0].Params["value"] = later("serial {cert.serial}")
	b.resolved(t, p, executor.Converged, "set:conf")
	if b.values["conf"] != "serial 1" {
		t.Fatal(b.values["conf"])
	}
	b.resolved(t, p, executor.Converged, "")
	// What is gone is forgotten with it.
	p.Invocations, p.Edges = p.Invocations[1:], nil
	r := b.resolved(t, p, executor.RolledBackRun, "")
	if !strings.Contains(r.Error, "it has not run") {
		t.Error(r.Error)
	}
}

func TestOutputThatNobodyKnows(t *testing.T) {
	b := newBench(t)
	b.values["cert"] = "1" // by hand
	p := certAndConf()
	p.Invocations[1].Parts[0].Params["value"] = later("serial {cert.serial}")
	r := b.resolved(t, p, executor.RolledBackRun, "")
	if !strings.Contains(r.Error, "states.yaml:1:1: output serial of c/cert is not known: it had nothing to do, and no earlier run left one") {
		t.Error(r.Error)
	}
}

func TestWhenReadsOutputs(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("cert", "1")
	when := later("{cert.changed}")
	p.set("notice", "1").When = &when
	p.edge("cert", "notice", states.EdgeRequire)
	// That cert changes is certain, so that the plan knows.
	if row := b.planned(t, p).States[1]; row.Result != executor.WouldChange {
		t.Fatalf("plan: %+v", row)
	}
	b.resolved(t, p, executor.Converged, "set:cert set:notice")
	b.values["notice"] = "drifted"
	r := b.resolved(t, p, executor.Converged, "")
	if row := r.States[1]; row.Result != executor.Skipped || row.Note != "when: {cert.changed} is false" {
		t.Errorf("%+v", row)
	}
	open := later("{cert.serial}")
	p.Invocations[1].When = &open
	b.values["cert"] = "drifted"
	if row := b.planned(t, p).States[1]; row.Result != executor.Unknown || row.Note != "when: {cert.serial} is known after apply" {
		t.Fatalf("plan: %+v", row)
	}
	r = b.resolved(t, p, executor.RolledBackRun, "set:cert revert:cert")
	if !strings.Contains(r.Error, "{cert.serial} is no bool") {
		t.Error(r.Error)
	}
}

// A template that reads outputs is staged like any other, and a path that an output moves takes its file along.
func TestLateContentsAndPath(t *testing.T) {
	b := newBench(t)
	build := func(value string) *planned {
		p := newPlan()
		p.set("cert", value)
		contents := later("cert={cert.value}\n")
		contents.Type = states.Contents
		p.add("conf", "file.managed", map[string]any{"path": later("/etc/{cert.value}.conf"), "contents": contents})
		p.edge("cert", "conf", states.EdgeRequire)
		return p
	}
	b.resolved(t, build("one"), executor.Converged, "set:cert")
	if got := b.read(t, "/etc/one.conf"); got != "cert=one\n" {
		t.Fatal(got)
	}
	b.resolved(t, build("one"), executor.Converged, "")
	b.resolved(t, build("two"), executor.Converged, "set:cert")
	if got := b.read(t, "/etc/two.conf"); got != "cert=two\n" {
		t.Fatal(got)
	}
	r := b.resolved(t, build("two"), executor.Converged, "") // now it is known that the first one is no longer meant
	if got := b.read(t, "/etc/one.conf"); !strings.HasPrefix(got, "error") || !strings.Contains(results(r), "conf file.managed changed (removed from the tree") {
		t.Errorf("left %q\n%s", got, results(r))
	}
	if r := b.resolved(t, build("two"), executor.Converged, ""); r.Changed != 0 {
		t.Errorf("not settled\n%s", results(r))
	}
	b.resolved(t, newPlan(), executor.Converged, "revert:cert")
	if got := b.read(t, "/etc/two.conf"); !strings.HasPrefix(got, "error") {
		t.Errorf("left %q", got)
	}
}

func TestUndoStateReadsOutputs(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("cert", "1")
	p.add("touch", "cmd.run", map[string]any{"shell": "echo x > touched", "creates": "/touched"}).Undo = "c/untouch"
	p.add("untouch", "cmd.run", map[string]any{"shell": later("rm -f touched; echo {cert.value} > undone")}).Lazy = true
	p.edge("cert", "touch", states.EdgeRequire)
	p.set("last", "1")
	b.fails["last"] = 1
	b.resolved(t, p, executor.RolledBackRun, "set:cert revert:cert")
	if got := b.read(t, "/undone"); got != "1\n" || !strings.HasPrefix(b.read(t, "/touched"), "error") {
		t.Errorf("undone: %q", got)
	}
}

func TestNothingCanEvaluate(t *testing.T) {
	b := newBench(t)
	p := certAndConf()
	r := b.engine.Apply(context.Background(), &p.Plan, nil, executor.RunMeta{})
	if r.Result != executor.RolledBackRun || !strings.Contains(r.Error, "nothing here can evaluate") {
		t.Errorf("%s %s", r.Result, r.Error)
	}
}
