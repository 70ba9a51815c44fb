package user_test

import (
	"reflect"
	"testing"

	"shoal/executor"
	"shoal/executor/module/user"
)

// A state that left the tree is undone, and that undo is itself undone when its run fails.
func TestUndoOfARemoval(t *testing.T) {
	h := newHost(t)
	m, p := user.Modules()[0], executor.Params{"name": "app", "groups": []any{"wheel"}}
	first := capture(t, m, h, p)
	if _, err := m.Apply(t.Context(), h, nil, p); err != nil {
		t.Fatal(err)
	}
	withPassword, _, _ := h.LookupUser("app")
	withPassword.Shadow = "$y$secret"
	if err := h.PutUser(t.Context(), withPassword); err != nil {
		t.Fatal(err)
	}
	made := snapshot(t, h)
	second := capture(t, m, h, p)
	if err := m.Revert(t.Context(), h, p, first); err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(snapshot(t, h), made) {
		t.Fatal("not removed")
	}
	if err := m.Revert(t.Context(), h, p, second); err != nil {
		t.Fatal(err)
	}
	if got := snapshot(t, h); !reflect.DeepEqual(got, made) {
		t.Errorf("was %+v, is %+v", made, got)
	}
}

func capture(t *testing.T, m executor.Module, h executor.Host, p executor.Params) executor.Undo {
	t.Helper()
	u, err := m.Capture(t.Context(), h, p)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
