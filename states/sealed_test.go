package states_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"shoal/states"
)

const sealedValue = "tr0ub4dor&3"

func sealedTree() fstest.MapFS {
	return fstest.MapFS{
		"site.yaml":                    {Data: []byte("targets:\n  - on: \"*\"\n    components: [app, star]\n")},
		"components/app/defaults.yaml": {Data: []byte("password: ${secret('db/password')}\nopen: fine\n")},
		"components/app/plain.j2":      {Data: []byte("password={{ secret(\"db/password\") | upper }}\n")},
		"components/app/go.tmpl":       {Data: []byte("password={{ secret \"db/password\" }}\n")},
		"components/app/states.yaml": {Data: []byte(`states:
  content: {file.managed: {path: /a, content: "x ${secret('db/password')} y"}}
  jinja: {file.managed: {path: /b, template: plain.j2}}
  go: {file.managed: {path: /c, template: go.tmpl}}
  variable: {cmd.run: {argv: [login, "${vars.password}"]}}
  length: {cmd.run: {shell: "echo ${size(secret('db/password')) > 3}"}}
  open: {file.managed: {path: /d, content: "${vars.open}"}}
  late: {file.managed: {path: /e, content: "${states.open.outputs.path} ${secret('db/password')}"}}
`)},
		"components/star/states.star": {Data: []byte(`def states(node, vars):
    return {"states": {"star": {"file.managed": {"path": "/f", "content": "v=" + secret("db/password")}}}}
`)},
	}
}

func given(s states.Secret) *states.Secrets {
	return &states.Secrets{Named: map[string]states.Secret{"db/password": s}}
}

// TestSealedSecretsAreFollowed through every engine, and masked.
func TestSealedSecretsAreFollowed(t *testing.T) {
	tree, in := sealedTree(), states.Input{Node: web(), Secrets: given(states.Secret{Value: sealedValue, On: "role=web"})}
	plan, err := states.Compile(tree, in, functions())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"app/content": {"contents"}, "app/jinja": {"contents"}, "app/go": {"contents"}, "app/variable": {"argv"}, "app/length": nil,
		"app/open": nil, "app/late": {"contents"}, "star/star": {"contents"},
	}
	if len(plan.Invocations) != len(want) {
		t.Errorf("%d invocations", len(plan.Invocations))
	}
	for _, inv := range plan.Invocations {
		if got := inv.Parts[0].Secret; !slices.Equal(got, want[inv.ID]) {
			t.Errorf("%s: secret parameters %v, want %v", inv.ID, got, want[inv.ID])
		}
		switch v := inv.Parts[0].Params["contents"].(type) {
		case states.Content:
			if v.Secret != (want[inv.ID] != nil) {
				t.Errorf("%s: secret content: %v", inv.ID, v.Secret)
			}
			if v.Secret && !strings.Contains(strings.ToLower(string(plan.Rendered[v.Hash])), sealedValue) {
				t.Errorf("%s: %q", inv.ID, plan.Rendered[v.Hash])
			}
		case states.Deferred:
			resolveSealed(t, tree, plan, in.Secrets, v)
		}
	}
	mask := states.NewMask(plan.Secrets)
	for _, text := range []string{sealedValue, strings.ToUpper(sealedValue)} {
		if got := mask.Text(text); got != states.Masked {
			t.Errorf("%q is shown: %q", text, got)
		}
	}
}

// resolveSealed: what is evaluated late has the value, and its twin another.
func resolveSealed(t *testing.T, tree fstest.MapFS, plan *states.Plan, secrets *states.Secrets, d states.Deferred) {
	t.Helper()
	late, outputs := states.NewLate(tree, plan).With(secrets), map[states.OutputRef]any{d.Reads[0]: "/d"}
	_, data, err := late.Resolve(d, outputs)
	if err != nil || string(data) != "/d "+sealedValue {
		t.Errorf("late: %q %v", data, err)
	}
	if !d.Secret || d.Twin == nil || !d.Twin.StandIns {
		t.Fatalf("late: %+v", d)
	}
	_, data, err = late.Resolve(*d.Twin, outputs)
	if err != nil || strings.Contains(string(data), sealedValue) || !strings.HasPrefix(string(data), "/d ") {
		t.Errorf("twin: %q %v", data, err)
	}
	if _, data, err = late.Resolve(d, outputs); err != nil || string(data) != "/d "+sealedValue {
		t.Errorf("late after its twin: %q %v", data, err)
	}
}

// TestSealedSecretsRefused: who may not have a secret, or has no key yet, or names none, is told at the place.
func TestSealedSecretsRefused(t *testing.T) {
	for _, c := range []struct {
		secrets    *states.Secrets
		said, hint string
	}{
		{given(states.Secret{On: "role=db", Lacking: states.Denied}), "this node, web-1, may not have it", "role=db"},
		{given(states.Secret{On: "role=db", Lacking: states.Locked}), "has no key to it yet", "role=db"},
		{&states.Secrets{}, "there is no secret of this name", "shoal secret set db/password --on SELECTOR"},
		{&states.Secrets{Named: map[string]states.Secret{"db/passwords": {}}}, "there is no secret of this name", `did you mean "db/passwords"?`},
		{nil, "there is no mesh here", "shoal secret set"},
	} {
		_, err := states.Compile(sealedTree(), states.Input{Node: web(), Secrets: c.secrets}, functions())
		problems, ok := err.(states.Problems)
		if !ok {
			t.Fatalf("%s: %v", c.said, err)
		}
		files := map[string]bool{}
		for _, p := range problems {
			files[p.Place.File] = true
			if strings.HasPrefix(p.Message, `parameter "argv"`) {
				continue // it reads the variable that could not be evaluated
			}
			if !strings.HasPrefix(p.Message, `secret("db/password"): `) || !strings.Contains(p.Message, c.said) || !strings.Contains(p.Hint, c.hint) ||
				p.Place.Line == 0 || p.Place.Column == 0 || !strings.Contains(p.Source, "secret") {
				t.Errorf("%s: %+v", c.said, p)
			}
		}
		for _, file := range []string{"defaults.yaml", "plain.j2", "go.tmpl", "states.yaml"} {
			if !files["components/app/"+file] {
				t.Errorf("%s: nothing is said of %s: %v", c.said, file, err)
			}
		}
		if !files["components/star/states.star"] {
			t.Errorf("%s: nothing is said of states.star", c.said)
		}
	}
}

// TestSealedSecretsPerNode: what one node reads is not kept for the next.
func TestSealedSecretsPerNode(t *testing.T) {
	l, err := states.Open(sealedTree(), functions())
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"first-value", "second-value"} {
		plan, err := l.Compile(states.Input{Node: web(), Secrets: given(states.Secret{Value: value})})
		if err != nil {
			t.Fatal(err)
		}
		data, err := states.EncodePlan(plan)
		if err != nil || !strings.Contains(string(data), value) || value == "second-value" && strings.Contains(string(data), "first-value") {
			t.Errorf("%s: %v", value, err)
		}
	}
	if _, err := l.Compile(states.Input{Node: web(), Secrets: given(states.Secret{Lacking: states.Denied})}); err == nil {
		t.Error("a node that may not have it got what another had")
	}
}
