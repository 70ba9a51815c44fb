package states_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"shoal/states"
)

const hidden = "correct-horse"

// secretTree has a secret that goes every way that there is.
func secretTree(stem, mark string) fstest.MapFS {
	return fstest.MapFS{
		"site.yaml":                    {Data: []byte("targets:\n  - on: \"*\"\n    components: [app]\n    variables_from: [variables/" + stem + "]\n")},
		"variables/" + stem:            {Data: []byte(mark)},
		"components/app/defaults.yaml": {Data: []byte("open: fine\n")},
		"components/app/plain.j2":      {Data: []byte("user=app\npassword={{ vars.password | upper }}\n")},
		"components/app/states.yaml": {Data: []byte(`states:
  content: {file.managed: {path: /a, content: "x ${vars.password} y"}}
  template: {file.managed: {path: /b, template: plain.j2}}
  list: {cmd.run: {argv: [login, "${vars.password}"], env: {OPEN: "${vars.open}"}}}
  length: {cmd.run: {shell: "echo ${size(vars.password) > 3}"}}
  open: {file.managed: {path: /c, content: "${vars.open}"}}
`)},
	}
}

func compileSecret(t *testing.T, tree fstest.MapFS) *states.Plan {
	t.Helper()
	plan, err := states.Compile(tree, states.Input{Node: web()}, functions())
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// TestSecretsAreFollowed through interpolation, templates, filters and lists, and nothing else is taken for one.
func TestSecretsAreFollowed(t *testing.T) {
	for stem, text := range map[string]string{
		"s.yaml": "password: !secret " + hidden + "\n",
		"s.json": `{"password": {"$secret": "` + hidden + `"}}`,
	} {
		plan := compileSecret(t, secretTree(stem, text))
		want := map[string][]string{"app/content": {"contents"}, "app/template": {"contents"}, "app/list": {"argv"}, "app/length": nil, "app/open": nil}
		for _, in := range plan.Invocations {
			if got := in.Parts[0].Secret; !slices.Equal(got, want[in.ID]) {
				t.Errorf("%s: %s: secret parameters %v, want %v", stem, in.ID, got, want[in.ID])
			}
			if c, ok := in.Parts[0].Params["contents"].(states.Content); ok && c.Secret != (want[in.ID] != nil) {
				t.Errorf("%s: %s: its content is secret: %v", stem, in.ID, c.Secret)
			}
		}
		mask := states.NewMask(plan.Secrets)
		for _, text := range []string{hidden, strings.ToUpper(hidden)} {
			if got := mask.Text("before " + text + " after"); got != "before "+states.Masked+" after" {
				t.Errorf("%s: %q is shown: %q", stem, text, got)
			}
		}
		if got := mask.Text("fine user=app true"); got != "fine user=app true" {
			t.Errorf("%s: too much is hidden: %q", stem, got)
		}
		if data, err := states.EncodePlan(plan); err != nil {
			t.Error(err)
		} else if back, err := states.DecodePlan(data); err != nil || !slices.Equal(back.Secrets, plan.Secrets) {
			t.Errorf("a cached plan forgets its secrets: %v", err)
		}
	}
}

// TestSecretParameter: component.yaml says that a variable is one, whoever gives it.
func TestSecretParameter(t *testing.T) {
	tree := secretTree("s.yaml", "password: "+hidden+"\n")
	if plan := compileSecret(t, tree); plan.Secrets != nil || plan.Invocations[0].Parts[0].Secret != nil {
		t.Fatal("what nobody calls a secret is one")
	}
	tree["components/app/component.yaml"] = &fstest.MapFile{Data: []byte("parameters:\n  password: {type: string, secret: true, one_of: [" + hidden + "]}\n  open: {type: string}\n")}
	plan := compileSecret(t, tree)
	if !slices.Contains(plan.Secrets, hidden) {
		t.Errorf("got %q", plan.Secrets)
	}
}

// TestSecretStates: a secret that decides what there is makes everything secret, and one in an id is refused.
func TestSecretStates(t *testing.T) {
	tree := secretTree("s.yaml", "password: !secret "+hidden+"\n")
	tree["components/app/states.yaml"] = &fstest.MapFile{Data: []byte("states:\n  a:\n    when: vars.password == \"" + hidden + "\"\n    file.managed: {path: /a, content: plain}\n")}
	if plan := compileSecret(t, tree); !plan.Invocations[0].Parts[0].Params["contents"].(states.Content).Secret {
		t.Error("a state that is there because of a secret is shown")
	}
	tree["components/app/states.yaml"] = &fstest.MapFile{Data: []byte("states:\n  a:\n    for_each: {\"${vars.password}\": 1}\n    file.managed: {path: /a, content: plain}\n")}
	delete(tree, "components/app/states.yaml")
	tree["components/app/states.yaml.j2"] = &fstest.MapFile{Data: []byte("states:\n  a-{{ vars.password }}: {file.managed: {path: /a, content: plain}}\n")}
	_, err := states.Compile(tree, states.Input{Node: web()}, functions())
	if err == nil || !strings.Contains(err.Error(), "a secret is part of the id") || strings.Contains(err.Error(), hidden) {
		t.Errorf("got %v", err)
	}
}

// TestSecretsAreNotInProblems: the offending line of a problem is shown without them.
func TestSecretsAreNotInProblems(t *testing.T) {
	tree := secretTree("s.yaml", "password: !secret "+hidden+"\n")
	tree["components/app/states.yaml"] = &fstest.MapFile{Data: []byte("states:\n  a:\n    file.managed: {path: /a, mode: \"${vars.password}\", content: x}\n")}
	_, err := states.Compile(tree, states.Input{Node: web()}, functions())
	if err == nil || !strings.Contains(err.Error(), states.Masked) || strings.Contains(err.Error(), hidden) {
		t.Errorf("got %v", err)
	}
}
