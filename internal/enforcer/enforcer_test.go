package enforcer

import (
	"testing"
	"testing/fstest"

	"shoal/internal/builtin"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/node"
)

// A plan is made again when the roster has changed, but only one that reads it.
func TestEnforcerCompilesWhenTheFleetItReadsHasChanged(t *testing.T) {
	for content, reads := range map[string]bool{"alone": false, `${nodes("*").map(n, n.name).join(",")}`: true} {
		w := node.Wanted{Member: membership.Member{Name: "a"}, Tree: fstest.MapFS{
			"site.yaml":                {Data: []byte("targets: [{on: \"*\", components: [c]}]\n")},
			"components/c/states.yaml": {Data: []byte("states:\n  f: {file.managed: {path: /f, content: '" + content + "'}}\n")},
		}}
		e := Enforcer{Functions: builtin.Functions()}
		w.Fleet = []mesh.MemberInfo{{Name: "a"}}
		if err := e.compile(w); err != nil {
			t.Fatal(err)
		}
		first := e.plan
		if e.ReadsFleet() != reads {
			t.Errorf("%s: reads the fleet: %v", content, e.ReadsFleet())
		}
		w.Fleet = []mesh.MemberInfo{{Name: "a", Status: membership.Failed}}
		if err := e.compile(w); err != nil || e.plan != first {
			t.Errorf("%s: who is up changed the plan: %v", content, err)
		}
		w.Fleet = append(w.Fleet, mesh.MemberInfo{Name: "b"})
		if err := e.compile(w); err != nil || (e.plan != first) != reads {
			t.Errorf("%s: compiled again: %v, %v", content, e.plan != first, err)
		}
	}
}
