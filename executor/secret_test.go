package executor_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"shoal/executor"
	"shoal/executor/module/cmd"
	"shoal/executor/module/file"
	"shoal/states"
)

const secretWord = "tr0ub4dor-And3"

// leaks is where a text says the secret, as it is or in one of the ways in which the trees of these tests change it.
func leaks(text string) string {
	reversed := []byte(secretWord)
	for i, j := 0, len(reversed)-1; i < j; i, j = i+1, j-1 {
		reversed[i], reversed[j] = reversed[j], reversed[i]
	}
	for _, form := range []string{
		secretWord, strings.ToUpper(secretWord), strings.ToLower(secretWord), string(reversed), strings.ReplaceAll(secretWord, "-", "_"),
		base64.RawStdEncoding.EncodeToString([]byte(secretWord)), base64.RawStdEncoding.EncodeToString([]byte("user:" + secretWord))[8:24],
		hex.EncodeToString([]byte(secretWord)),
	} {
		if at := strings.Index(text, form); at >= 0 {
			return fmt.Sprintf("%q in …%s…", form, text[max(0, at-200):min(len(text), at+100)])
		}
	}
	return ""
}

func secretFunctions() (all []states.Function) {
	for _, m := range append(file.Modules(), cmd.Modules()...) {
		all = append(all, m.Function())
	}
	return all
}

func compileFor(t rapid.TB, fsys fstest.MapFS) *states.Plan {
	t.Helper()
	plan, err := states.Compile(fsys, states.Input{Node: states.Node{Name: "test"}}, secretFunctions())
	if err != nil {
		t.Fatalf("%v\n%s", err, fsys["components/c/states.yaml"].Data)
	}
	return plan
}

// said is all that may be shown of a run, as JSON and as Go prints it: the one escapes where the other does not.
func said(t rapid.TB, r executor.Report) string {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data) + fmt.Sprintf("%+v", r)
}

func secretTree(text string) fstest.MapFS {
	return fstest.MapFS{
		"site.yaml": {Data: []byte("policy: {command_outputs: allow}\ntargets:\n  - {on: \"*\", components: [c]}\n")},
		"components/c/defaults.yaml": {Data: []byte("password: !secret " + secretWord + "\nopen: fine\nmany: {a: fine, b: !secret " + secretWord + "-b}\n" +
			"copied: \"<${name}>\"\n")},
		"components/c/t.j2":        {Data: []byte("{% set p = vars.password %}{% for c in [p, vars.open] %}{{ c | upper }} {{ c | b64encode }} {{ c }}\n{% endfor %}{{ p | replace('-', '_') }}\n")},
		"components/c/late.j2":     {Data: []byte("{{ states['root'].outputs.path }} {{ vars.password }} {{ vars.password | lower }}\n")},
		"components/c/open.tmpl":   {Data: []byte("{{ .vars.open }} {{ .name }}\n")},
		"components/c/secret.tmpl": {Data: []byte("{{ printf \"%x\" .vars.password }} {{ index .vars.many \"b\" }}\n")},
		"components/c/states.yaml": {Data: []byte("states:\n  root: {file.directory: {path: /d}}\n" + text)},
	}
}

// drawn are states that make something of the secret, each in its own way. N is the number of the state, K that of one before it.
var drawn = []string{
	`file.managed: {path: /d/N, content: "a ${vars.password} b\n"}`,
	`file.managed: {path: /d/N, template: t.j2}`,
	`file.managed: {path: /d/N, template: late.j2}`,
	`file.managed: {path: /d/N, template: open.tmpl}`,
	`file.managed: {path: /d/N, template: secret.tmpl}`,
	`file.managed: {path: /d/N, content: !secret "literal tr0ub4dor-And3"}`,
	`file.managed: {path: /d/N, content: {$secret: "tr0ub4dor-And3 and more"}}`,
	`file.managed: {path: "/d/N-${vars.password}", content: x}`,
	`file.symlink: {path: /d/N, target: "${vars.password}"}`,
	`file.edit: {path: /d/N, line: "key=${vars.password}"}`,
	`cmd.run: {shell: "echo ${vars.password}; printf %s ${vars.password} | rev", creates: /d/N}`,
	`cmd.run: {shell: "printf '%s\\n' \"$P\" | tr a-z A-Z > $SHOAL_ROOT/d/N.said", env: {P: "${vars.password}"}, creates: /d/N.said}`,
	`cmd.run: {argv: [printf, "%s", "${vars.password}"]}`,
	`cmd.run: {shell: "cat", stdin: "${vars.password}", unless: "test -e $SHOAL_ROOT/d/N.said"}`,
	`cmd.run: {shell: "printf %s ${vars.password} | base64; printf 'user:%s' ${vars.password} | base64; false"}`,
	`cmd.run: {shell: "echo no ${vars.password} >&2; exit 3", creates: /d/N}`,
	`for_each: ["${vars.password}", "${vars.open}"]
    file.managed: {path: "/d/N-${each.key}", content: "${each.value}"}`,
	`for_each: "${vars.many}"
    file.managed: {path: "/d/N-${each.key}", content: "${each.value.upperAscii()}"}`,
	`when: 'size(vars.password) > 3'
    file.managed: {path: /d/N, content: "${vars.password.replace('-', '_')}\n"}`,
	`file.managed: {path: /d/N, content: "${states['root'].outputs.path} ${vars.password}\n"}`,
	`file.managed: {path: /d/N, content: "${states['talk'].outputs.stdout.upperAscii()}"}`,
	`cmd.run: {argv: [echo, "${states['talk'].outputs.stdout}", "${vars.open}"]}`,
	`when: states['talk'].outputs.stdout != ''
    cmd.run: {shell: "echo ${states.talk.outputs.stdout} ${states.talk.outputs.stdout.replace('-', '_')} >&2; exit 1", creates: /d/N}`,
}

// TestNoReportHoldsASecret: in no tree, whatever it makes of its secret, and whether it works, fails, is planned, applied, applied
// once more or taken out again, does anything that is shown hold it.
func TestNoReportHoldsASecret(t *testing.T) {
	runs, hidden, failed := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "secret-*")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		w := openWorldIn(t, dir)
		defer w.close()
		var text strings.Builder
		text.WriteString("  talk: {cmd.run: {shell: \"printf %s ${vars.password}\"}}\n")
		for n := range rapid.IntRange(1, 5).Draw(t, "states") {
			s := rapid.SampledFrom(drawn).Draw(t, "state")
			fmt.Fprintf(&text, "  s%d:\n    %s\n    require: [root]\n", n, strings.ReplaceAll(s, "/d/N", fmt.Sprintf("/d/%d", n)))
		}
		fsys := secretTree(text.String())
		plan := compileFor(t, fsys)
		plan.Policy.OnFailure = rapid.SampledFrom([]string{"rollback", "stop", "continue"}).Draw(t, "policy")
		show := func(what, text string) {
			if at := leaks(text); at != "" {
				t.Fatalf("%s says %s\n%s", what, at, fsys["components/c/states.yaml"].Data)
			}
			hidden += strings.Count(text, "(hidden: it holds a secret)") + strings.Count(text, states.Masked)
		}
		p := plan.Picture()
		show("the graph", p.Text()+p.DOT())
		show("the plan of another machine", said(t, executor.Unseen(plan, executor.RunMeta{})))
		meta := executor.RunMeta{Resolver: states.NewLate(fsys, plan)}
		contents := executor.TreeContents(fsys)
		for round := range rapid.IntRange(1, 2).Draw(t, "rounds") {
			show("a plan", said(t, w.engine.Check(t.Context(), plan, contents, meta)))
			r := w.engine.Apply(t.Context(), plan, contents, meta)
			show(fmt.Sprintf("run %d", round+1), said(t, r))
			runs++
			if r.Result != executor.Converged {
				failed++
			}
		}
		// Without its secret the tree has another plan; what is left of the old one is taken out or changed.
		fsys = secretTree("  s1: {file.managed: {path: /d/1, content: open}}\n")
		fsys["components/c/defaults.yaml"].Data = []byte("password: fine\n")
		plan = compileFor(t, fsys)
		for _, r := range []executor.Report{w.engine.Check(t.Context(), plan, nil, executor.RunMeta{}), w.engine.Apply(t.Context(), plan, nil, executor.RunMeta{})} {
			show("the run after", said(t, r))
		}
	})
	if hidden == 0 || failed == 0 || failed == runs {
		t.Errorf("%d runs, %d failed, %d texts hidden: these trees try nothing", runs, failed, hidden)
	}
	t.Logf("%d runs, %d failed, %d texts hidden", runs, failed, hidden)
}

// TestSecretOutputsServe: what reads the output of a part that holds a secret gets it as it is, from the ledger too.
func TestSecretOutputsServe(t *testing.T) {
	w := newWorld(t)
	fsys := secretTree("  talk: {cmd.run: {shell: \"printf %s ${vars.password} | tee $SHOAL_ROOT/d/said\", creates: /d/said}, require: [root]}\n" +
		"  use: {file.managed: {path: /d/use, content: \"<${states.talk.outputs.stdout}>\"}}\n  path: {file.managed: {path: /d/path, content: \"${states.use.outputs.path}\"}}\n")
	plan := compileFor(t, fsys)
	meta := executor.RunMeta{Resolver: states.NewLate(fsys, plan)}
	for round := range 3 {
		r := w.engine.Apply(t.Context(), plan, nil, meta)
		if r.Result != executor.Converged || r.Changed != map[int]int{0: 4, 2: 1}[round] {
			t.Fatalf("run %d: %s %s\n%s", round+1, r.Result, r.Error, results(r))
		}
		if got := w.read(t, "d/use"); got != "<"+secretWord+">" {
			t.Fatalf("it was given %q", got)
		}
		if at := leaks(said(t, r)); at != "" {
			t.Errorf("run %d: %s", round+1, at)
		}
		for _, s := range r.States {
			switch s.ID {
			case "c/path": // that a file holds a secret is no reason to hide where it is
				if round == 0 && !strings.Contains(s.Diff, "+/d/use") || s.Outputs["path"] != "/d/path" {
					t.Errorf("too much is hidden: %+v", s)
				}
			case "c/use":
				if s.Diff != "" && s.Diff != "(hidden: it holds a secret)\n" || s.Outputs["path"] != "/d/use" || s.Outputs["sha256"] != states.Masked {
					t.Errorf("run %d: %+v", round+1, s)
				}
			case "c/talk":
				if out, ok := s.Outputs["stdout"]; ok && out != states.Masked {
					t.Errorf("%+v", s)
				}
			}
		}
		if round == 1 { // the file goes, and only the ledger knows what was said
			if err := os.Remove(filepath.Join(w.root, "d/use")); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestSecretOfACrashedRun: who rolls back after a crash has no plan, and tells no secret.
func TestSecretOfACrashedRun(t *testing.T) {
	w := newWorld(t)
	fsys := secretTree("  a: {cmd.run: {shell: \"true ${vars.password}\"}, require: [root]}\n  b: {cmd.run: {shell: \"kill -9 $PPID; exit 1\"}, require: [a]}\n")
	plan := compileFor(t, fsys)
	for i := range plan.Invocations {
		if plan.Invocations[i].ID == "c/b" {
			plan.Invocations[i].Parts[0].Params = map[string]any{"shell": "true"}
		}
	}
	w.engine.Journal = &forgetful{Journal: w.engine.Journal}
	if r := w.engine.Apply(t.Context(), plan, nil, executor.RunMeta{}); r.Result != executor.Converged {
		t.Fatal(r.Error)
	}
	ledger := w.engine.Ledger
	w.engine.Ledger = emptyLedger{ledger} // as if the commit had not happened
	r, found, err := w.engine.Recover(t.Context())
	if err != nil || !found || len(r.Left) == 0 {
		t.Fatalf("%+v %v %v", r, found, err)
	}
	if at := leaks(said(t, r)); at != "" || !strings.Contains(said(t, r), states.Masked) {
		t.Errorf("%s\n%s", at, said(t, r))
	}
}

// forgetful does not clear its journal, as a process that is killed.
type forgetful struct{ executor.Journal }

func (forgetful) Clear() error { return nil }

type emptyLedger struct{ executor.Ledger }

func (emptyLedger) Load() ([]byte, error) { return nil, nil }
