package main

import (
	"testing"
	"testing/fstest"

	"shoal/states"
)

// TestFactsAlone: a machine says what it is, and not what it may have.
func TestFactsAlone(t *testing.T) {
	tree := fstest.MapFS{
		"site.yaml":                {Data: []byte("targets:\n  - on: role=db\n    components: [c]\n  - on: os.name=debian\n    components: [d]\n")},
		"components/c/states.yaml": {Data: []byte("states:\n  secret:\n    file.managed: {path: /c, content: x}\n")},
		"components/d/states.yaml": {Data: []byte("states:\n  fine:\n    file.managed: {path: /d, content: x}\n")},
	}
	catalogue, err := states.Open(tree, functions())
	if err != nil {
		t.Fatal(err)
	}
	r := &sshRun{dir: tree, catalogue: catalogue}
	plan, err := r.compile(sshHost{name: "web-1", tags: map[string]string{"dc": "fra"}}, map[string]string{"os.name": "debian", "role": "db", "name": "x"})
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Invocations) != 1 || plan.Invocations[0].ID != "d/fine" || plan.Node.Tags["role"] != "" || plan.Node.Name != "web-1" {
		t.Errorf("%+v", plan)
	}
}

// TestSeverity: what is left half done is worse than what was not begun.
func TestSeverity(t *testing.T) {
	order := []int{exitDone, exitChanges, exitBadInput, exitUnavailable, exitRefused, exitFailed, exitIncomplete}
	for i, status := range order {
		if severity(status) != i {
			t.Errorf("status %d: %d", status, severity(status))
		}
	}
}
