package secrets_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"shoal/membership"
	"shoal/secrets"
	"shoal/store"
)

func statement() secrets.Statement {
	return secrets.Statement{Env: "production", Name: "db/password", Version: 1, On: "role=db", Public: "age1x", Value: []byte("sealed"), Time: 7}
}

func encoded(t *testing.T, s secrets.Statement) []byte {
	t.Helper()
	data, err := secrets.Encode(s, func(store.Hash) ([]byte, error) { return []byte("keys"), nil })
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func decoded(t *testing.T, s secrets.Statement) secrets.Sealed {
	t.Helper()
	sealed, err := secrets.Decode(encoded(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func member(name string, tags ...string) membership.Member {
	m := membership.Member{ID: membership.NodeID("id-" + name), Name: name, Tags: map[string]string{}}
	for i := 0; i < len(tags); i += 2 {
		m.Tags[tags[i]] = tags[i+1]
	}
	return m
}

func TestRoundTrip(t *testing.T) {
	s := statement()
	s.Gone = [][]byte{secrets.Mark("a"), secrets.Mark("b")}
	slices.SortFunc(s.Gone, bytes.Compare)
	got := decoded(t, s)
	if fmt.Sprint(got.Statement) != fmt.Sprint(s) || string(got.Keys) != "keys" || got.Hash.IsZero() {
		t.Errorf("%+v", got)
	}
	if again := decoded(t, s); again.Hash != got.Hash {
		t.Error("one statement has two hashes")
	}
	if s.On = "*"; decoded(t, s).Hash == got.Hash {
		t.Error("the hash does not bind the selector")
	}
}

func TestBadStatements(t *testing.T) {
	for what, spoil := range map[string]func(*secrets.Statement){
		"environment": func(s *secrets.Statement) { s.Env = "Prod/../x" },
		"name":        func(s *secrets.Statement) { s.Name = "../password" },
		"version":     func(s *secrets.Statement) { s.Version = 0 },
		"no selector": func(s *secrets.Statement) { s.On = "" },
		"selector":    func(s *secrets.Statement) { s.On = strings.Repeat("x", secrets.MaxSelector+1) },
		"no key":      func(s *secrets.Statement) { s.Public = "" },
		"no value":    func(s *secrets.Statement) { s.Value = nil },
		"value":       func(s *secrets.Statement) { s.Value = make([]byte, 2*secrets.MaxValue) },
		"mark":        func(s *secrets.Statement) { s.Gone = [][]byte{{1}} },
		"marks":       func(s *secrets.Statement) { s.Gone = [][]byte{secrets.Mark("a"), secrets.Mark("a")} },
	} {
		s := statement()
		spoil(&s)
		if _, err := secrets.Encode(s, func(store.Hash) ([]byte, error) { return nil, nil }); !errors.Is(err, secrets.ErrSecret) {
			t.Errorf("%s: %v", what, err)
		}
	}
	s := statement()
	s.On = "group.db"
	if _, err := secrets.Decode(encoded(t, s)); err == nil || !strings.Contains(err.Error(), "group") {
		t.Errorf("a selector by a group: %v", err)
	}
	if _, err := secrets.Decode(make([]byte, secrets.MaxSealed+1)); !errors.Is(err, secrets.ErrSecret) {
		t.Errorf("too large: %v", err)
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "db/password", "tls/web-1.example.org/key", "A_b"} {
		if err := secrets.CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "/", "a/", "/a", "a//b", "..", "a/../b", ".a", "-a", "a b", "a\n", "ä", "a.sealed/b", strings.Repeat("a", secrets.MaxName+1)} {
		if secrets.CheckName(name) == nil {
			t.Errorf("%q is a name", name)
		}
	}
}

// TestGrants: only what was granted counts, and only in the environment that the node follows.
func TestGrants(t *testing.T) {
	s := decoded(t, statement())
	for _, c := range []struct {
		m    membership.Member
		want bool
	}{
		{member("a", "role", "db"), true},
		{member("a", "role", "web"), false},
		{member("a"), false},
		{member("a", "role", "db", "env", "staging"), false},
		{member("a", "role", "db", "env", "production"), true},
	} {
		if got := s.Grants(c.m); got != c.want {
			t.Errorf("%v: %v", c.m.Tags, got)
		}
	}
}

// TestExposed follows a secret through an eviction, a change of tags, and a set after each.
func TestExposed(t *testing.T) {
	s := statement()
	db1, db2, web := member("db-1", "role", "db"), member("db-2", "role", "db"), member("web-1", "role", "web")
	exposed := func(former, now []membership.Member) (names []string) {
		for _, m := range decoded(t, s).Exposed(former, now) {
			names = append(names, m.Name)
		}
		return names
	}
	set := func(former, now []membership.Member) {
		gone, err := secrets.Gone(s, former, now)
		if err != nil {
			t.Fatal(err)
		}
		s.Version, s.Gone = s.Version+1, gone
	}
	check := func(when string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: exposed to %v, want %v", when, got, want)
		}
	}
	now := []membership.Member{db1, db2, web}
	check("at first", exposed(nil, now))
	check("a web node is evicted", exposed([]membership.Member{web}, []membership.Member{db1, db2}))
	check("an older grant of a node that is granted anew", exposed([]membership.Member{db1}, now))
	former, now := []membership.Member{db2}, []membership.Member{db1, web}
	check("evicted", exposed(former, now), "db-2")
	set(former, now)
	check("set again", exposed(former, now))
	retagged := member("db-1", "role", "web")
	former, now = append(former, db1), []membership.Member{retagged, web}
	check("retagged", exposed(former, now), "db-1")
	set(former, now)
	check("set after that", exposed(former, now))
	now[0] = db1
	set([]membership.Member{db2}, now)
	check("granted again", exposed([]membership.Member{db2, retagged}, now))
	check("and retagged again", exposed(former, []membership.Member{retagged, web}), "db-1")
}

func TestTree(t *testing.T) {
	s := statement()
	tree := fstest.MapFS{
		"site.yaml":                   {Data: []byte("targets: []\n")},
		secrets.PathOf("db/password"): {Data: encoded(t, s)},
	}
	all, err := secrets.Read(tree, "production")
	if err != nil || len(all) != 1 || all[0].Name != "db/password" {
		t.Fatalf("%v %v", all, err)
	}
	if _, err := secrets.Read(tree, "staging"); !errors.Is(err, secrets.ErrSecret) {
		t.Errorf("of another environment: %v", err)
	}
	tree[secrets.PathOf("db/other")] = tree[secrets.PathOf("db/password")]
	if _, err := secrets.Read(tree, "production"); !errors.Is(err, secrets.ErrSecret) {
		t.Errorf("under another name: %v", err)
	}
	if all, err := secrets.Read(fstest.MapFS{"site.yaml": {}}, "production"); err != nil || len(all) != 0 {
		t.Errorf("none: %v %v", all, err)
	}
	large := fstest.MapFS{secrets.PathOf("x"): {Data: make([]byte, secrets.MaxSealed+1)}}
	if _, err := secrets.Read(large, "production"); !errors.Is(err, secrets.ErrSecret) {
		t.Errorf("too large: %v", err)
	}
	many := fstest.MapFS{}
	for i := range secrets.MaxSecrets + 1 {
		s.Name = fmt.Sprint("s", i)
		many[secrets.PathOf(s.Name)] = &fstest.MapFile{Data: encoded(t, s)}
	}
	if _, err := secrets.Read(many, "production"); !errors.Is(err, secrets.ErrSecret) {
		t.Errorf("too many: %v", err)
	}
}

// TestCarry: a push keeps the secrets of the head and brings none of its own.
func TestCarry(t *testing.T) {
	entry := func(path string) store.Entry { return store.Entry{Path: path, Mode: store.ModeFile} }
	head := store.Manifest{Entries: []store.Entry{entry(".shoal/secrets/a.sealed"), entry("old.yaml")}}
	pushed := store.Manifest{Entries: []store.Entry{entry(".shoal/secrets/b.sealed"), entry(".shoalx"), entry("site.yaml")}}
	got := secrets.Carry(head, pushed)
	var paths []string
	for _, e := range got.Entries {
		paths = append(paths, e.Path)
	}
	if want := []string{".shoal/secrets/a.sealed", ".shoalx", "site.yaml"}; !slices.Equal(paths, want) || got.Check() != nil {
		t.Errorf("%v, want %v (%v)", paths, want, got.Check())
	}
	replaced := secrets.Replace(got, "a", entry("a"))
	if replaced = secrets.Replace(replaced, ".shoalx", store.Entry{}); len(replaced.Entries) != 3 || replaced.Check() != nil {
		t.Errorf("%v %v", replaced, replaced.Check())
	}
}

func FuzzDecode(f *testing.F) {
	data, err := secrets.Encode(statement(), func(store.Hash) ([]byte, error) { return []byte("keys"), nil })
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := secrets.Decode(data)
		if err != nil {
			return
		}
		again, err := secrets.Encode(s.Statement, func(h store.Hash) ([]byte, error) {
			if h != s.Hash {
				t.Errorf("hash %s, then %s", s.Hash, h)
			}
			return s.Keys, nil
		})
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("it is encoded in another way (%v)", err)
		}
		s.Grants(member("a", "role", "db"))
	})
}

func FuzzDecodeKey(f *testing.F) {
	h := store.HashOf([]byte("x"))
	data, err := secrets.EncodeKey(secrets.Key{Statement: h, Private: "AGE-SECRET-KEY-1"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if k, err := secrets.DecodeKey(data, h); err == nil && k.Statement != h {
			t.Error("the key of another statement")
		}
	})
}
