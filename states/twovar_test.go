package states_test

import (
	"slices"
	"testing"
	"testing/fstest"

	"shoal/states"
)

// Entries of a map are chosen by what is in them; those that are not chosen make no state.
func TestForEachFiltersMaps(t *testing.T) {
	tree := fstest.MapFS{
		"site.yaml":                  {Data: []byte("targets:\n  - on: '*'\n    components: [a]\n")},
		"components/a/defaults.yaml": {Data: []byte("people:\n  ann: {uid: 1, on: [web, db]}\n  bob: {uid: 2, on: [db]}\n  cem: {uid: 3, on: [web]}\n")},
		"components/a/states.yaml":   {Data: []byte("states:\n  p:\n    for_each: ${vars.people.transformMap(who, p, tags.role in p.on, p.uid)}\n    user.present: {name: \"${each.key}\", uid: \"${each.value}\"}\n")},
	}
	plan, err := states.Compile(tree, states.Input{Node: states.Node{Name: "n", Tags: map[string]string{"role": "web"}}}, functions())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, in := range plan.Invocations {
		ids = append(ids, in.ID)
	}
	if want := []string{"a/p[ann]", "a/p[cem]"}; !slices.Equal(ids, want) {
		t.Errorf("got %v, want %v", ids, want)
	}
}
