package signkey

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"shoal/membership"
)

func keyOf(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

// serve is an agent on a socket that holds keys, by comment.
func serve(t *testing.T, ring agent.Agent) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = agent.ServeAgent(ring, conn)
			}()
		}
	}()
	return path
}

func TestAgentSignsPlainEd25519(t *testing.T) {
	ring := agent.NewKeyring()
	for i, comment := range []string{"alice@laptop", "alice@token"} {
		if err := ring.Add(agent.AddedKey{PrivateKey: keyOf(byte(i)), Comment: comment}); err != nil {
			t.Fatal(err)
		}
	}
	socket := serve(t, ring)
	public := keyOf(1).Public().(ed25519.PublicKey)
	for _, which := range []string{"alice@token", Fingerprint(public)} {
		signer, err := InAgent(socket, which)
		if err != nil {
			t.Fatal(err)
		}
		unsigned, err := membership.Unsigned(membership.DomainRevocation, membership.Revocation{Why: "x"})
		if err != nil {
			t.Fatal(err)
		}
		signed, err := unsigned.Endorsed(signer)
		if err != nil {
			t.Fatal(err)
		}
		var back membership.Revocation
		keys, err := signed.Open(membership.DomainRevocation, &back)
		if err != nil || len(keys) != 1 || !keys[0].Equal(public) {
			t.Errorf("%s: %v, %v", which, keys, err)
		}
		if _, err := signed.Open(membership.DomainGrant, &back); err == nil {
			t.Error("the signature counts in another domain")
		}
	}
	for _, which := range []string{"", "mallory", "SHA256:nothing"} {
		if _, err := InAgent(socket, which); !errors.Is(err, ErrNoKey) {
			t.Errorf("%q: %v", which, err)
		}
	}
	if _, err := InAgent(filepath.Join(t.TempDir(), "none"), ""); err == nil {
		t.Error("an agent that is not there")
	}
}

// liar signs with another key than it is asked for.
type liar struct{ agent.Agent }

func (liar) Sign(_ ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	return &ssh.Signature{Format: ssh.KeyAlgoED25519, Blob: ed25519.Sign(keyOf(9), data)}, nil
}

func TestAgentThatLiesIsFound(t *testing.T) {
	signer := agentKey{agent: liar{agent.NewKeyring()}, key: keyOf(1).Public().(ed25519.PublicKey)}
	if _, err := signer.Sign(nil, []byte("m"), crypto.Hash(0)); err == nil || !strings.Contains(err.Error(), "does not fit") {
		t.Error(err)
	}
}

func TestFiles(t *testing.T) {
	dir, key := t.TempDir(), keyOf(7)
	ask := func(secret string) func() ([]byte, error) {
		return func() ([]byte, error) { return []byte(secret), nil }
	}
	for name, passphrase := range map[string]string{"open": "", "locked": "correct horse"} {
		path := filepath.Join(dir, name)
		data, err := Encode(key, []byte(passphrase))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(path, ask(passphrase)); err != nil || !got.Equal(key) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "locked" {
			if strings.Contains(string(data), "PRIVATE KEY") {
				t.Error("it is not encrypted")
			}
			if _, err := Read(path, ask("wrong")); !errors.Is(err, ErrPassphrase) {
				t.Error(err)
			}
		}
		for _, mode := range []os.FileMode{0o640, 0o604, 0o620} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			if _, err := Read(path, ask(passphrase)); !errors.Is(err, ErrMode) {
				t.Errorf("%s with mode %o: %v", name, mode, err)
			}
		}
	}
}

func TestPublicKeys(t *testing.T) {
	public := keyOf(3).Public().(ed25519.PublicKey)
	line := Line(public, "carol")
	got, err := ParsePublic("\n" + line + "\n")
	if err != nil || !got.Equal(public) || !strings.HasPrefix(line, "ssh-ed25519 ") || !strings.HasSuffix(line, " carol") {
		t.Error(line, err)
	}
	for _, bad := range []string{"", "abcd", "ssh-rsa AAAA", "ssh-ed25519 AAAA", line[:40]} {
		if _, err := ParsePublic(bad); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
}
