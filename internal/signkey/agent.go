package signkey

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// AgentPrefix begins the name of a key that an SSH agent holds.
const AgentPrefix = "ssh:"

// ErrNoKey is returned when the agent does not hold a key, or more than one of a name.
var ErrNoKey = errors.New("no such key")

// InAgent finds the key that the SSH agent behind socket holds: which is its fingerprint (SHA256:…), its comment, or, when the
// agent holds one ssh-ed25519 key alone, empty. The private key stays in the agent.
func InAgent(socket, which string) (crypto.Signer, error) {
	if socket == "" {
		return nil, errors.New("ssh agent: SSH_AUTH_SOCK is not set")
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("ssh agent: %w", err)
	}
	client := agent.NewClient(conn)
	held, err := client.List()
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("ssh agent: %w", err)
	}
	var found []*agent.Key
	var others []string
	for _, k := range held {
		fits := which == "" || which == ssh.FingerprintSHA256(k) || which == k.Comment
		switch {
		case fits && k.Type() == ssh.KeyAlgoED25519:
			found = append(found, k)
		case fits:
			others = append(others, k.Type())
		}
	}
	if len(found) != 1 {
		conn.Close()
		why := fmt.Sprintf("%d ssh-ed25519 keys", len(found))
		if len(others) > 0 {
			why += ", and of types that cannot sign here: " + strings.Join(others, ", ")
		}
		return nil, fmt.Errorf("ssh agent: %w: for %q it holds %s", ErrNoKey, which, why)
	}
	public, err := ssh.ParsePublicKey(found[0].Blob)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("ssh agent: %w", err)
	}
	key, err := fromSSH(public)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("ssh agent: %w", err)
	}
	return agentKey{client, public, key}, nil
}

// agentKey signs through an agent. Its connection lasts as long as the command.
type agentKey struct {
	agent  agent.Agent
	public ssh.PublicKey
	key    ed25519.PublicKey
}

// Public implements crypto.Signer.
func (k agentKey) Public() crypto.PublicKey { return k.key }

// Sign implements crypto.Signer. For an ssh-ed25519 key an agent signs the bytes as they are (RFC 8709, section 6), so what comes
// back is a plain Ed25519 signature; it is verified before it is believed.
func (k agentKey) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != 0 {
		return nil, errors.New("ssh agent: it signs messages, not hashes")
	}
	sig, err := k.agent.Sign(k.public, message)
	if err != nil {
		return nil, fmt.Errorf("ssh agent: %w", err)
	}
	if sig.Format != ssh.KeyAlgoED25519 || !ed25519.Verify(k.key, message, sig.Blob) {
		return nil, fmt.Errorf("ssh agent: it gave a signature of kind %q that does not fit the key", sig.Format)
	}
	return sig.Blob, nil
}
