package keyring_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"shoal/internal/keyring"
	"shoal/membership"
	"shoal/mesh"
	"shoal/secrets"
	"shoal/secrets/agebox"
	"shoal/states"
)

const value = "correct-horse-battery"

type machine struct {
	membership.Member
	dir    string
	opener agebox.Opener
	*keyring.Keyring
}

func newMachine(t *testing.T, name, role string) *machine {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	opener, err := agebox.NewNodeKey(private)
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{
		Member: membership.Member{ID: membership.IDOf(public), Name: name, Tags: map[string]string{"role": role}},
		dir:    filepath.Join(t.TempDir(), "secrets"), opener: opener,
	}
	m.restart()
	return m
}

func (m *machine) restart() { m.Keyring = keyring.New(m.dir, m.opener) }

// world is a tree with one secret, sealed for one machine, and all that there are.
type world struct {
	t                 *testing.T
	holder, late, web *machine
	tree              fstest.MapFS
	fleet             []mesh.MemberInfo
	sealed            secrets.Sealed
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, holder: newMachine(t, "db-1", "db"), late: newMachine(t, "db-2", "db"), web: newMachine(t, "web-1", "web")}
	data, _, err := agebox.Seal(secrets.Statement{Env: "production", Name: "db/password", Version: 1, On: "role=db"}, []byte(value), []membership.Member{w.holder.Member})
	if err != nil {
		t.Fatal(err)
	}
	if w.sealed, err = secrets.Decode(data); err != nil {
		t.Fatal(err)
	}
	w.tree = fstest.MapFS{secrets.PathOf("db/password"): {Data: data}}
	for _, m := range []*machine{w.holder, w.late, w.web} {
		w.fleet = append(w.fleet, mesh.MemberInfo{ID: m.ID, Name: m.Name, Tags: m.Tags})
	}
	return w
}

func (w *world) read(m *machine) states.Secret {
	w.t.Helper()
	given, err := m.Read(w.tree, "production", m.Member, w.fleet)
	if err != nil {
		w.t.Fatal(err)
	}
	return given.Named["db/password"]
}

func (w *world) handOn(from, to *machine) ([]byte, error) {
	return from.WrapKey(to.Member, "production", w.sealed.Hash)
}

func TestKeyIsHandedOn(t *testing.T) {
	w := newWorld(t)
	if s := w.read(w.holder); s.Value != value || s.Lacking != "" || len(w.holder.Lacking()) != 0 {
		t.Errorf("the holder: %+v", s)
	}
	if s := w.read(w.web); s.Value != "" || s.Lacking != states.Denied || len(w.web.Lacking()) != 0 {
		t.Errorf("the web node: %+v", s)
	}
	if s := w.read(w.late); s.Value != "" || s.Lacking != states.Locked {
		t.Errorf("the late one: %+v", s)
	}
	lacking := w.late.Lacking()
	if len(lacking) != 1 || len(lacking[0].From) != 2 || lacking[0].Secret != w.sealed.Hash {
		t.Fatalf("lacking: %+v", lacking)
	}
	if _, err := w.handOn(w.late, w.late); !errors.Is(err, secrets.ErrLocked) {
		t.Errorf("handed on by one without it: %v", err)
	}
	wrapped, err := w.handOn(w.holder, w.late)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.late.TakeKey("production", w.sealed.Hash, wrapped); err != nil {
		t.Fatal(err)
	}
	if s := w.read(w.late); s.Value != value || len(w.late.Lacking()) != 0 {
		t.Errorf("after it came: %+v", s)
	}
	w.late.restart()
	if s := w.read(w.late); s.Value != value {
		t.Errorf("after a restart: %+v", s)
	}
	w.clean(w.late, 1)
	if _, err := w.handOn(w.late, w.holder); err != nil {
		t.Errorf("it hands on what it was handed: %v", err)
	}
}

// clean: a machine keeps so many files, none of which has the value, and nobody else can read them.
func (w *world) clean(m *machine, want int) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(m.dir, "*"))
	if err != nil || len(files) != want {
		w.t.Errorf("%s keeps %v (%v)", m.Name, files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil || bytes.Contains(data, []byte(value)) || bytes.Contains(data, []byte("AGE-SECRET-KEY")) {
			w.t.Errorf("%s is in clear (%v)", file, err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 {
			w.t.Errorf("%s has mode %v (%v)", file, info.Mode(), err)
		}
	}
}

// TestNobodyElseIsHandedIt: what counts is the grant that the holder knows of whoever asks, and the environment.
func TestNobodyElseIsHandedIt(t *testing.T) {
	w := newWorld(t)
	w.read(w.holder)
	if _, err := w.handOn(w.holder, w.web); !errors.Is(err, secrets.ErrDenied) {
		t.Errorf("a web node: %v", err)
	}
	elsewhere := *w.late
	elsewhere.Tags = map[string]string{"role": "db", "env": "staging"}
	if _, err := w.handOn(w.holder, &elsewhere); !errors.Is(err, secrets.ErrDenied) {
		t.Errorf("one of another environment: %v", err)
	}
	if _, err := w.holder.WrapKey(w.late.Member, "staging", w.sealed.Hash); !errors.Is(err, secrets.ErrLocked) {
		t.Errorf("for another environment: %v", err)
	}
}

// TestWrongKeyIsRefused, and whatever is asked of afterwards may still bring the right one.
func TestWrongKeyIsRefused(t *testing.T) {
	w := newWorld(t)
	other := newWorld(t)
	w.read(w.late)
	other.read(other.holder)
	wrapped, err := other.holder.WrapKey(w.late.Member, "production", other.sealed.Hash)
	if err != nil {
		t.Fatal(err)
	}
	for what, lie := range map[string][]byte{"another's": wrapped, "rubbish": []byte("x"), "nothing": nil} {
		if err := w.late.TakeKey("production", w.sealed.Hash, lie); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
	w.clean(w.late, 0)
	if len(w.late.Lacking()) != 1 {
		t.Error("it is not lacking any more")
	}
	w.read(w.holder)
	if wrapped, err = w.handOn(w.holder, w.late); err != nil {
		t.Fatal(err)
	}
	if err := w.late.TakeKey("production", w.sealed.Hash, wrapped); err != nil {
		t.Error(err)
	}
}

// TestKeysGo with the secret, and with the right to it.
func TestKeysGo(t *testing.T) {
	for what, lose := range map[string]func(w *world){
		"removed":  func(w *world) { w.tree = fstest.MapFS{} },
		"retagged": func(w *world) { w.late.Tags = map[string]string{"role": "web"} },
	} {
		w := newWorld(t)
		w.read(w.holder)
		w.read(w.late)
		wrapped, err := w.handOn(w.holder, w.late)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.late.TakeKey("production", w.sealed.Hash, wrapped); err != nil {
			t.Fatal(err)
		}
		w.clean(w.late, 1)
		lose(w)
		if s := w.read(w.late); s.Value != "" {
			t.Errorf("%s: it still has the value", what)
		}
		w.clean(w.late, 0)
		if _, err := w.late.WrapKey(w.holder.Member, "production", w.sealed.Hash); err == nil {
			t.Errorf("%s: it hands the key on", what)
		}
	}
}
