package hosttest

import (
	"reflect"
	"testing"

	"shoal/executor"
)

// AccountsSuite is the conformance suite of executor.Accounts. open returns a fresh database that knows root alone, or
// root and what a machine comes with; none of the names here.
func AccountsSuite(t *testing.T, open func(t *testing.T) executor.Accounts) {
	for name, test := range map[string]func(*testing.T, executor.Accounts){
		"nothing there":            nothingThere,
		"root is there":            rootIsThere,
		"a new user":               newUser,
		"numbers are chosen":       chosenNumbers,
		"its group is there":       ownGroupThere,
		"a user changes":           userChanges,
		"memberships":              memberships,
		"a user is removed":        userRemoved,
		"a user comes back":        userComesBack,
		"a group changes":          groupChanges,
		"a group is removed":       groupRemoved,
		"numbers that are taken":   takenNumbers,
		"a group that is missing":  missingGroup,
		"root's group as primary":  primaryZero,
		"removing twice":           removingTwice,
		"a group by its number":    groupByNumber,
		"the same row once more":   sameRowAgain,
		"system numbers are apart": systemNumbers,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func putUser(t *testing.T, a executor.Accounts, u executor.User) {
	t.Helper()
	if err := a.PutUser(t.Context(), u); err != nil {
		t.Fatalf("put user %s: %v", u.Name, err)
	}
}

func putGroup(t *testing.T, a executor.Accounts, g executor.Group) {
	t.Helper()
	if err := a.PutGroup(t.Context(), g); err != nil {
		t.Fatalf("put group %s: %v", g.Name, err)
	}
}

func lookupUser(t *testing.T, a executor.Accounts, name string) executor.User {
	t.Helper()
	u, ok, err := a.LookupUser(name)
	if err != nil || !ok {
		t.Fatalf("look up user %s: %v, %v", name, ok, err)
	}
	return u
}

func lookupGroup(t *testing.T, a executor.Accounts, name string) executor.Group {
	t.Helper()
	g, ok, err := a.LookupGroup(name)
	if err != nil || !ok {
		t.Fatalf("look up group %s: %v, %v", name, ok, err)
	}
	return g
}

func nothingThere(t *testing.T, a executor.Accounts) {
	if _, ok, err := a.LookupUser("shoal-nobody"); ok || err != nil {
		t.Errorf("user: %v, %v", ok, err)
	}
	if _, ok, err := a.LookupGroup("shoal-nobody"); ok || err != nil {
		t.Errorf("group: %v, %v", ok, err)
	}
	if _, ok, err := a.GroupByID(4_000_000_000); ok || err != nil {
		t.Errorf("group by number: %v, %v", ok, err)
	}
}

func rootIsThere(t *testing.T, a executor.Accounts) {
	if u := lookupUser(t, a, "root"); u.UID != 0 || u.GID != 0 {
		t.Errorf("root is %+v", u)
	}
	if g := lookupGroup(t, a, "root"); g.GID != 0 {
		t.Errorf("group root is %+v", g)
	}
}

func newUser(t *testing.T, a executor.Accounts) {
	putGroup(t, a, executor.Group{Name: "shoal-a", GID: 5001})
	putGroup(t, a, executor.Group{Name: "shoal-b", GID: 5002})
	want := executor.User{
		Name: "shoal-u", UID: 6001, GID: 5001, Gecos: "Some One,room 1", Home: "/srv/u", Shell: "/bin/sh",
		Groups: []string{"shoal-a", "shoal-b"},
	}
	putUser(t, a, want)
	if got := rowOf(lookupUser(t, a, "shoal-u")); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

// rowOf leaves out the password and the place.
func rowOf(u executor.User) executor.User {
	u.Shadow, u.After = "", ""
	return u
}

// userComesBack: with what was kept of it, a user who was removed is the same as before.
func userComesBack(t *testing.T, a executor.Accounts) {
	putUser(t, a, executor.User{Name: "shoal-u", Home: "/u", Shell: "/bin/sh"})
	before := lookupUser(t, a, "shoal-u")
	if before.Shadow == "" {
		t.Fatal("a new user has no password row")
	}
	if err := a.RemoveUser(t.Context(), "shoal-u"); err != nil {
		t.Fatal(err)
	}
	putUser(t, a, before)
	if after := lookupUser(t, a, "shoal-u"); !reflect.DeepEqual(before, after) {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

func chosenNumbers(t *testing.T, a executor.Accounts) {
	putUser(t, a, executor.User{Name: "shoal-u", Home: "/home/u", Shell: "/bin/sh"})
	putUser(t, a, executor.User{Name: "shoal-v", Home: "/home/v", Shell: "/bin/sh"})
	u, v := lookupUser(t, a, "shoal-u"), lookupUser(t, a, "shoal-v")
	if u.UID < 1000 || v.UID < 1000 || u.UID == v.UID || u.System {
		t.Errorf("numbers of %+v and %+v", u, v)
	}
	if g := lookupGroup(t, a, "shoal-u"); g.GID != u.GID || g.GID < 1000 || len(g.Members) != 0 {
		t.Errorf("its own group is %+v", g)
	}
}

func systemNumbers(t *testing.T, a executor.Accounts) {
	putUser(t, a, executor.User{Name: "shoal-u", Home: "/", Shell: "/bin/sh", System: true})
	putGroup(t, a, executor.Group{Name: "shoal-g", System: true})
	u, g := lookupUser(t, a, "shoal-u"), lookupGroup(t, a, "shoal-g")
	for what, id := range map[string]uint32{"uid": u.UID, "gid of the user": u.GID, "gid": g.GID} {
		if id < 100 || id > 999 {
			t.Errorf("%s is %d", what, id)
		}
	}
	if !u.System || !g.System || u.GID == g.GID {
		t.Errorf("got %+v and %+v", u, g)
	}
}

func ownGroupThere(t *testing.T, a executor.Accounts) {
	putGroup(t, a, executor.Group{Name: "shoal-u", GID: 5005})
	putUser(t, a, executor.User{Name: "shoal-u", Home: "/home/u", Shell: "/bin/sh"})
	if u := lookupUser(t, a, "shoal-u"); u.GID != 5005 {
		t.Errorf("got %+v", u)
	}
}

func userChanges(t *testing.T, a executor.Accounts) {
	putGroup(t, a, executor.Group{Name: "shoal-a", GID: 5001})
	putUser(t, a, executor.User{Name: "shoal-t", UID: 6002, GID: 5001, Home: "/t", Shell: "/bin/sh"})
	putUser(t, a, executor.User{Name: "shoal-u", UID: 6001, GID: 5001, Gecos: "x", Home: "/u", Shell: "/bin/sh"})
	want := executor.User{Name: "shoal-u", UID: 6003, GID: 0, Home: "/w", Shell: "/bin/bash"}
	putUser(t, a, want)
	if got := rowOf(lookupUser(t, a, "shoal-u")); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if other := lookupUser(t, a, "shoal-t"); other.UID != 6002 || other.Home != "/t" {
		t.Errorf("the other became %+v", other)
	}
}

func memberships(t *testing.T, a executor.Accounts) {
	for i, g := range []string{"shoal-a", "shoal-b", "shoal-c"} {
		putGroup(t, a, executor.Group{Name: g, GID: uint32(5001 + i)})
	}
	u := executor.User{Name: "shoal-u", UID: 6001, GID: 5001, Home: "/u", Shell: "/bin/sh", Groups: []string{"shoal-b"}}
	v := executor.User{Name: "shoal-v", UID: 6002, GID: 5001, Home: "/v", Shell: "/bin/sh", Groups: []string{"shoal-b"}}
	putUser(t, a, u)
	putUser(t, a, v)
	u.Groups = []string{"shoal-a", "shoal-c"}
	putUser(t, a, u)
	if got := rowOf(lookupUser(t, a, "shoal-u")); !reflect.DeepEqual(got, u) {
		t.Errorf("got %+v", got)
	}
	if g := lookupGroup(t, a, "shoal-b"); !reflect.DeepEqual(g.Members, []string{"shoal-v"}) {
		t.Errorf("members of b: %v", g.Members)
	}
}

func userRemoved(t *testing.T, a executor.Accounts) {
	putGroup(t, a, executor.Group{Name: "shoal-b", GID: 5002})
	putUser(t, a, executor.User{Name: "shoal-v", Home: "/v", Shell: "/bin/sh", Groups: []string{"shoal-b"}})
	putUser(t, a, executor.User{Name: "shoal-u", Home: "/u", Shell: "/bin/sh", Groups: []string{"shoal-b"}})
	if err := a.RemoveUser(t.Context(), "shoal-u"); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := a.LookupUser("shoal-u"); ok || err != nil {
		t.Errorf("still there: %v, %v", ok, err)
	}
	if g := lookupGroup(t, a, "shoal-b"); !reflect.DeepEqual(g.Members, []string{"shoal-v"}) {
		t.Errorf("members of b: %v", g.Members)
	}
	lookupGroup(t, a, "shoal-u")
	lookupUser(t, a, "shoal-v")
}

func groupChanges(t *testing.T, a executor.Accounts) {
	putUser(t, a, executor.User{Name: "shoal-u", UID: 6001, GID: 100, Home: "/u", Shell: "/bin/sh"})
	putGroup(t, a, executor.Group{Name: "shoal-a", GID: 5001})
	want := executor.Group{Name: "shoal-a", GID: 5009, Members: []string{"shoal-u"}}
	putGroup(t, a, want)
	got := lookupGroup(t, a, "shoal-a")
	got.Shadow, got.After = "", ""
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if u := lookupUser(t, a, "shoal-u"); !reflect.DeepEqual(u.Groups, []string{"shoal-a"}) {
		t.Errorf("groups of the user: %v", u.Groups)
	}
}

func groupRemoved(t *testing.T, a executor.Accounts) {
	putUser(t, a, executor.User{Name: "shoal-u", Home: "/u", Shell: "/bin/sh"})
	if err := a.RemoveGroup(t.Context(), "shoal-u"); err == nil {
		t.Error("removed the primary group of a user")
	}
	lookupGroup(t, a, "shoal-u")
	if err := a.RemoveUser(t.Context(), "shoal-u"); err != nil {
		t.Fatal(err)
	}
	if err := a.RemoveGroup(t.Context(), "shoal-u"); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := a.LookupGroup("shoal-u"); ok || err != nil {
		t.Errorf("still there: %v, %v", ok, err)
	}
}

func takenNumbers(t *testing.T, a executor.Accounts) {
	putUser(t, a, executor.User{Name: "shoal-u", UID: 6001, GID: 100, Home: "/u", Shell: "/bin/sh"})
	putGroup(t, a, executor.Group{Name: "shoal-a", GID: 5001})
	if a.PutUser(t.Context(), executor.User{Name: "shoal-v", UID: 6001, GID: 100, Home: "/v", Shell: "/bin/sh"}) == nil {
		t.Error("two users of one number")
	}
	if _, ok, _ := a.LookupUser("shoal-v"); ok {
		t.Error("made a user in spite of the error")
	}
	if a.PutGroup(t.Context(), executor.Group{Name: "shoal-b", GID: 5001}) == nil {
		t.Error("two groups of one number")
	}
	if _, ok, _ := a.LookupGroup("shoal-b"); ok {
		t.Error("made a group in spite of the error")
	}
}

func missingGroup(t *testing.T, a executor.Accounts) {
	err := a.PutUser(t.Context(), executor.User{Name: "shoal-u", Home: "/u", Shell: "/bin/sh", Groups: []string{"shoal-none"}})
	if err == nil {
		t.Error("put a user into a group that does not exist")
	}
	if _, ok, _ := a.LookupUser("shoal-u"); ok {
		t.Error("made the user in spite of the error")
	}
	if _, ok, _ := a.LookupGroup("shoal-u"); ok {
		t.Error("made its group in spite of the error")
	}
}

func primaryZero(t *testing.T, a executor.Accounts) {
	putUser(t, a, executor.User{Name: "shoal-u", UID: 6001, Home: "/u", Shell: "/bin/sh"})
	u := lookupUser(t, a, "shoal-u")
	u.GID = 0
	putUser(t, a, u)
	if got := lookupUser(t, a, "shoal-u"); got.GID != 0 {
		t.Errorf("got %+v", got)
	}
}

func removingTwice(t *testing.T, a executor.Accounts) {
	for range 2 {
		if err := a.RemoveUser(t.Context(), "shoal-u"); err != nil {
			t.Error(err)
		}
		if err := a.RemoveGroup(t.Context(), "shoal-u"); err != nil {
			t.Error(err)
		}
	}
}

func groupByNumber(t *testing.T, a executor.Accounts) {
	putGroup(t, a, executor.Group{Name: "shoal-a", GID: 5001})
	g, ok, err := a.GroupByID(5001)
	if err != nil || !ok || g.Name != "shoal-a" {
		t.Errorf("got %+v, %v, %v", g, ok, err)
	}
}

func sameRowAgain(t *testing.T, a executor.Accounts) {
	putUser(t, a, executor.User{Name: "shoal-u", Home: "/u", Shell: "/bin/sh"})
	before := lookupUser(t, a, "shoal-u")
	putUser(t, a, before)
	if after := lookupUser(t, a, "shoal-u"); !reflect.DeepEqual(before, after) {
		t.Errorf("before %+v, after %+v", before, after)
	}
}
