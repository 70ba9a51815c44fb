package attacks

import (
	"crypto/ed25519"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"shoal/internal/keyring"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/secrets"
	"shoal/secrets/agebox"
	"shoal/store"
)

func secretAttacks() []attack {
	return []attack{
		{"key-of-a-foreign-secret", "foreign secret", Member, "asks a database for the key of a secret that its own tags do not give it", "keys-for-anybody", foreignKey},
		{"key-of-another-environment", "foreign secret", Member, "asks with the right role, granted in another environment", "keys-across-environments", stagingKey},
		{"answer-for-the-holder", "foreign secret", Member, "answers a question for keys that another was asked", "anybody-answers-for-keys", answersForHolder},
		{"flood-of-key-questions", "flood", Member, "has a holder wrap keys a thousand times in a second", "keys-at-any-rate", keyFlood},
	}
}

// safe is a machine with a secret's value, or one that is after it.
type safe struct {
	membership.Member
	opener agebox.Opener
	ring   *keyring.Keyring
}

func newSafe(t *testing.T, name string, tags map[string]string) safe {
	key := meshtest.Key(name)
	opener := must(agebox.NewNodeKey(key))(t)
	return safe{
		Member: membership.Member{ID: membership.IDOf(key.Public().(ed25519.PublicKey)), Name: name, Tags: tags},
		opener: opener, ring: keyring.New(filepath.Join(t.TempDir(), "secrets"), opener),
	}
}

const password = "correct-horse-battery"

// password of the databases in production, sealed for the first of them, which has read it.
func sealedPassword(t *testing.T) (holder safe, sealed secrets.Sealed) {
	holder = newSafe(t, "db-1", map[string]string{"role": "db"})
	data, _, err := agebox.Seal(secrets.Statement{Env: "production", Name: "db/password", Version: 1, On: "role=db"}, []byte(password), []membership.Member{holder.Member})
	if err != nil {
		t.Fatal(err)
	}
	sealed = must(secrets.Decode(data))(t)
	tree := fstest.MapFS{secrets.PathOf("db/password"): {Data: data}}
	given := must(holder.ring.Read(tree, "production", holder.Member, nil))(t)
	if given.Named["db/password"].Value != password {
		t.Fatal("the holder cannot read it")
	}
	return holder, sealed
}

// asks has the thief ask the holder, and open what comes.
func asks(t *testing.T, tags map[string]string) string {
	holder, sealed := sealedPassword(t)
	thief := newSafe(t, "mallory", tags)
	wrapped, err := holder.ring.WrapKey(thief.Member, "production", sealed.Hash)
	if err != nil {
		return ""
	}
	key := must(agebox.OpenKey(sealed, wrapped, thief.opener))(t)
	if value := must(agebox.Reveal(sealed, key))(t); string(value) == password {
		return "mallory has the password of the databases"
	}
	return ""
}

func foreignKey(t *testing.T) string { return asks(t, map[string]string{"role": "web"}) }

func stagingKey(t *testing.T) string {
	return asks(t, map[string]string{"role": "db", "env": "staging"})
}

func answersForHolder(t *testing.T) string {
	a := newArena(t, 3)
	asker, holder := a.nodes[0], a.nodes[1]
	a.SecretKeys = func(n *meshtest.Node, _ mesh.SendSecretKeys) [][]byte {
		if n == holder {
			return [][]byte{[]byte("right")}
		}
		return nil
	}
	id := asker.Ask(func(id uint64) mesh.Event {
		return mesh.AskSecretKeys{ID: id, Peer: holder.ID, Env: "production", Secrets: []store.Hash{store.HashOf([]byte("statement"))}}
	})
	for guess := range uint64(64) {
		asker.Tell(a.mallory, &mesh.SecretTell{ID: guess, Keys: [][]byte{[]byte("wrong")}})
	}
	a.Run(10 * time.Second)
	if keys, ok := asker.Answers[id].Value.([][]byte); ok && string(keys[0]) == "wrong" {
		return "n1 takes mallory's answer for the holder's"
	}
	return ""
}

func keyFlood(t *testing.T) string {
	a := newArena(t, 3)
	wrapped := 0
	a.SecretKeys = func(*meshtest.Node, mesh.SendSecretKeys) [][]byte { wrapped++; return [][]byte{[]byte("key")} }
	for i := range uint64(1000) {
		a.nodes[0].Tell(a.mallory, &mesh.SecretAsk{ID: i, Env: "production", Secrets: []store.Hash{store.HashOf([]byte("statement"))}})
	}
	if wrapped > 10 {
		return "n1 wraps a key for each of a thousand questions"
	}
	return ""
}
