package sshdial_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"shoal/internal/sshdial"
	"shoal/internal/sshdtest"
)

// dialer is this side with the home folder of a server.
func dialer(t *testing.T, s *sshdtest.Server, config string) *sshdial.Dialer {
	t.Helper()
	t.Setenv("HOME", s.Home)
	file := ""
	if config != "" {
		file = filepath.Join(s.Home, "config")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := sshdial.LoadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	return &sshdial.Dialer{Config: c, Keys: &sshdial.Keyring{}}
}

// says connects and runs a command.
func says(t *testing.T, d *sshdial.Dialer, target string) (string, error) {
	t.Helper()
	parsed, err := sshdial.ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := d.Dial(t.Context(), parsed)
	if err != nil {
		return "", err
	}
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	session, err := conn.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.Output("echo $SSH_CONNECTION")
	return strings.TrimSpace(string(out)), err
}

func refused(t *testing.T, err error, words ...string) {
	t.Helper()
	if !errors.Is(err, sshdial.ErrRefused) {
		t.Fatalf("error %v, wanted a refusal", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("no %q in: %v", w, err)
		}
	}
}

func TestKnownKey(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	if _, err := says(t, dialer(t, s, ""), s.Target()); err != nil {
		t.Fatal(err)
	}
}

func TestUnknownKey(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	if err := os.Remove(s.KnownHosts()); err != nil {
		t.Fatal(err)
	}
	d := dialer(t, s, "")
	_, err := says(t, d, s.Target())
	refused(t, err, "is not known", ssh.FingerprintSHA256(s.HostKey), s.KnownHosts())
	// What it says to do is what helps.
	text := err.Error()
	line := strings.TrimSpace(text[strings.LastIndex(text, "\n"):])
	if err := os.WriteFile(s.KnownHosts(), []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := says(t, d, s.Target()); err != nil {
		t.Fatal(err)
	}
}

func TestChangedKey(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	other, err := sshdtest.WriteKey(filepath.Join(t.TempDir(), "other"), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(s.KnownHosts()), s.Know(other)); err != nil {
		t.Fatal(err)
	}
	_, err = says(t, dialer(t, s, ""), s.Target())
	refused(t, err, "HAS CHANGED", ssh.FingerprintSHA256(s.HostKey), ssh.FingerprintSHA256(other), s.KnownHosts()+":1")
	var key *sshdial.HostKeyError
	if !errors.As(err, &key) || !key.Changed {
		t.Errorf("%T", err)
	}
}

// TestChangedKind: a machine that no longer has a key of the kind that is known is not asked for another.
func TestChangedKind(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(s.KnownHosts()), s.Know(other)); err != nil {
		t.Fatal(err)
	}
	_, err = says(t, dialer(t, s, ""), s.Target())
	refused(t, err, "HAS CHANGED")
}

func TestRefusedKey(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	if err := os.WriteFile(filepath.Join(s.Dir, "authorized"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := says(t, dialer(t, s, ""), s.Target())
	refused(t, err, "log in to", "keys that were shown: SHA256:")
}

func TestEncryptedKey(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	file := filepath.Join(s.Home, "locked")
	key, err := sshdtest.WriteKey(file, "open sesame")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Authorize(key), os.Remove(filepath.Join(s.Home, ".ssh", "id_ed25519"))); err != nil {
		t.Fatal(err)
	}
	d := dialer(t, s, "Host *\n  IdentityFile "+file+"\n  UserKnownHostsFile "+s.KnownHosts()+"\n")
	_, err = says(t, d, s.Target())
	refused(t, err, file, "no terminal", "ssh-add")
	answers, asked := []string{"wrong", "open sesame"}, 0
	d.Keys = &sshdial.Keyring{Ask: func(question string) ([]byte, error) {
		if !strings.Contains(question, file) {
			t.Errorf("asked %q", question)
		}
		asked++
		return []byte(answers[asked-1]), nil
	}}
	for range 2 {
		if _, err := says(t, d, s.Target()); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	d.Keys = &sshdial.Keyring{Ask: func(string) ([]byte, error) { return []byte("wrong"), nil }}
	_, err = says(t, d, s.Target())
	refused(t, err, "none of 3 passphrases")
}

func TestOpenKeyFile(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	if err := os.Chmod(filepath.Join(s.Home, ".ssh", "id_ed25519"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := says(t, dialer(t, s, ""), s.Target())
	refused(t, err, "others may read it")
}

func TestAgent(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	data, err := os.ReadFile(filepath.Join(s.Home, ".ssh", "id_ed25519"))
	if err != nil {
		t.Fatal(err)
	}
	private, err := ssh.ParseRawPrivateKey(data)
	if err != nil {
		t.Fatal(err)
	}
	keys := agent.NewKeyring()
	if err := errors.Join(keys.Add(agent.AddedKey{PrivateKey: private}), os.Remove(filepath.Join(s.Home, ".ssh", "id_ed25519"))); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "agent-") // a socket's path may not be as long as t.TempDir's
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(keys, conn) }()
		}
	}()
	d := dialer(t, s, "")
	d.Keys.AgentSocket = l.Addr().String()
	if _, err := says(t, d, s.Target()); err != nil {
		t.Fatal(err)
	}
}

// TestProxyJump: the second is reached through the first alone, each checked by its own key, by names of the configuration.
func TestProxyJump(t *testing.T) {
	first := sshdtest.Start(t, sshdtest.Options{})
	second := sshdtest.Start(t, sshdtest.Options{Home: first.Home})
	third := sshdtest.Start(t, sshdtest.Options{Home: first.Home})
	config := fmt.Sprintf(`Host edge
  HostName 127.0.0.1
  Port %d
  User root
Host inner
  HostName 127.0.0.1
  Port %d
  User root
  ProxyJump edge
Host innermost
  HostName 127.0.0.1
  Port %d
  User root
  ProxyJump inner
Host listed
  HostName 127.0.0.1
  Port %d
  User root
  ProxyJump edge,%s
Host circle
  ProxyJump circle
`, first.Port, second.Port, third.Port, third.Port, second.Target())
	d := dialer(t, first, config)
	for _, c := range []struct {
		target string
		last   *sshdtest.Server
	}{{"inner", second}, {"innermost", third}, {"listed", third}} {
		got, err := says(t, d, c.target)
		if err != nil {
			t.Fatalf("%s: %v", c.target, err)
		}
		if !strings.HasSuffix(got, fmt.Sprintf(" 127.0.0.1 %d", c.last.Port)) {
			t.Errorf("%s: %q", c.target, got)
		}
	}
	target, _ := sshdial.ParseTarget("circle")
	if _, err := d.Dial(t.Context(), target); err == nil || !strings.Contains(err.Error(), "circle") {
		t.Errorf("a circle: %v", err)
	}
	// A key that changed on the way is refused there.
	other, err := sshdtest.WriteKey(filepath.Join(t.TempDir(), "other"), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(first.KnownHosts()), first.Know(other), second.Know(second.HostKey)); err != nil {
		t.Fatal(err)
	}
	_, err = says(t, d, "inner")
	refused(t, err, "jump edge", "HAS CHANGED")
	// Without the jump nobody gets in.
	first.Stop()
	if _, err := says(t, d, "inner"); err == nil || errors.Is(err, sshdial.ErrRefused) {
		t.Errorf("the jump is down: %v", err)
	}
}

// TestSilentServer: one that takes the connection and says nothing is given up when the caller wants.
func TestSilentServer(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	go func() {
		if conn, err := l.Accept(); err == nil {
			cancel(why)
			defer conn.Close()
			<-t.Context().Done()
		}
	}()
	target, err := sshdial.ParseTarget(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dialer(t, s, "").Dial(ctx, target); !errors.Is(err, why) {
		t.Errorf("error %v", err)
	}
}

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]sshdial.Target{
		"web-1":                  {Host: "web-1"},
		"deploy@web-1:2222":      {User: "deploy", Host: "web-1", Port: 2222},
		"ssh://a@b/":             {User: "a", Host: "b"},
		"[2001:db8::1]:22":       {Host: "2001:db8::1", Port: 22},
		"2001:db8::1":            {Host: "2001:db8::1"},
		"who@realm@web-1.domain": {User: "who@realm", Host: "web-1.domain"},
	} {
		got, err := sshdial.ParseTarget(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if again, err := sshdial.ParseTarget(got.String()); err != nil || again.Host != want.Host || again.User != want.User {
			t.Errorf("%s again: %+v, %v", got, again, err)
		}
	}
	for _, text := range []string{"", "@host", "user@", "-oProxyCommand=x", "-a@b", "host:0", "host:65536", "host:x", "a b", "a;b`c`", "a'b", "a/b"} {
		if got, err := sshdial.ParseTarget(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}
