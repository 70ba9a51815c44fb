package states

import (
	"reflect"
	"slices"
	"testing"
)

// arrangementKey must hash whatever of an instance arrange looks at: who adds a field decides about it here.
func TestArrangementKeyKnowsEachField(t *testing.T) {
	known := []string{"StateInvocation", "decl", "component", "scope", "made", "home", "order", "first", "parent", "root", "rescue", "reads", "ownWhen"}
	typ := reflect.TypeFor[instance]()
	for i := range typ.NumField() {
		if !slices.Contains(known, typ.Field(i).Name) {
			t.Errorf("instance.%s is new: has arrangementKey to hash it?", typ.Field(i).Name)
		}
	}
}
