package sshdial

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// maxKeyFile is the most bytes of a file with a key; maxKeys how many keys are shown to one machine, which itself gives up
// after a few (MaxAuthTries of sshd_config(5)).
const (
	maxKeyFile = 1 << 20
	maxKeys    = 16
)

// ErrNoTerminal is returned by a Keyring's Ask when there is nobody to be asked.
var ErrNoTerminal = errors.New("there is no terminal to ask on")

// Keyring is the keys of this side. It is shared by all connections, so that each passphrase is asked for once.
type Keyring struct {
	// AgentSocket of ssh-agent(1); empty: none.
	AgentSocket string
	// Ask asks a person for a secret; nil: there is nobody.
	Ask func(question string) ([]byte, error)

	mu   sync.Mutex
	open map[string]unlocked // by file
}

type unlocked struct {
	signer ssh.Signer
	err    error
}

// keys are the signers for one machine, with what could not be used. Close it when the machine has answered.
type keys struct {
	signers []ssh.Signer
	notes   []error
	agent   io.Closer
}

func (k *keys) close() {
	if k.agent != nil {
		_ = k.agent.Close()
	}
}

func (k *keys) add(s ssh.Signer) {
	same := func(other ssh.Signer) bool {
		return bytes.Equal(other.PublicKey().Marshal(), s.PublicKey().Marshal())
	}
	if len(k.signers) < maxKeys && !slices.ContainsFunc(k.signers, same) {
		k.signers = append(k.signers, s)
	}
}

// keysFor collects the keys of a hop: those that its configuration names first, then the agent's, then the usual files.
func (r *Keyring) keysFor(h hop) *keys {
	k := &keys{}
	fromAgent := r.fromAgent(k)
	var fromFiles []ssh.Signer
	for _, file := range h.identities {
		s, err := r.fromFile(file)
		switch {
		case err == nil:
			fromFiles = append(fromFiles, s)
		case !errors.Is(err, fs.ErrNotExist) || h.chosen:
			k.notes = append(k.notes, err)
		}
	}
	if h.chosen {
		// The agent may have the same key open, and then nobody has to be asked.
		for _, s := range fromFiles {
			k.add(preferred(s, fromAgent))
		}
		fromFiles = nil
	}
	if !h.identitiesOnly {
		for _, s := range fromAgent {
			k.add(s)
		}
	}
	for _, s := range fromFiles {
		k.add(s)
	}
	return k
}

func preferred(s ssh.Signer, others []ssh.Signer) ssh.Signer {
	for _, o := range others {
		if bytes.Equal(o.PublicKey().Marshal(), s.PublicKey().Marshal()) {
			return o
		}
	}
	return s
}

func (r *Keyring) fromAgent(k *keys) []ssh.Signer {
	if r.AgentSocket == "" {
		return nil
	}
	conn, err := net.Dial("unix", r.AgentSocket)
	if err != nil {
		k.notes = append(k.notes, fmt.Errorf("agent: %w", err))
		return nil
	}
	k.agent = conn
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		k.notes = append(k.notes, fmt.Errorf("agent: %w", err))
	}
	return signers
}

// fromFile reads a private key. An encrypted one is opened when the machine has said that it would take it.
func (r *Keyring) fromFile(file string) (ssh.Signer, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		return nil, fmt.Errorf("key %s: it is no file of a key", file)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("key %s: others may read it (mode %04o): chmod 600 it", file, info.Mode().Perm())
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(data)
	var locked *ssh.PassphraseMissingError
	if !errors.As(err, &locked) {
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", file, err)
		}
		return signer, nil
	}
	public := locked.PublicKey
	if public == nil { // the old format keeps it beside
		if public, err = publicBeside(file); err != nil {
			return nil, err
		}
	}
	return &lockedKey{ring: r, file: file, data: data, public: public}, nil
}

func publicBeside(file string) (ssh.PublicKey, error) {
	data, err := os.ReadFile(file + ".pub")
	if err != nil {
		return nil, fmt.Errorf("key %s is encrypted in an old format, and its public key is not beside it: %w", file, err)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil, fmt.Errorf("key %s.pub: %w", file, err)
	}
	return public, nil
}

// lockedKey asks for its passphrase when it has to sign.
type lockedKey struct {
	ring   *Keyring
	file   string
	data   []byte
	public ssh.PublicKey
}

func (k *lockedKey) PublicKey() ssh.PublicKey { return k.public }

func (k *lockedKey) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	return k.SignWithAlgorithm(nil, data, "")
}

// SignWithAlgorithm implements ssh.AlgorithmSigner, which keys of RSA need for the newer hashes.
func (k *lockedKey) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	s, err := k.ring.unlock(k)
	if err != nil {
		return nil, err
	}
	if a, ok := s.(ssh.AlgorithmSigner); ok && algorithm != "" {
		return a.SignWithAlgorithm(rand.Reader, data, algorithm)
	}
	return s.Sign(rand.Reader, data)
}

// passphraseTries is how often a wrong one may be given.
const passphraseTries = 3

// unlock asks once for all connections, and one question at a time. A failure is remembered too.
func (r *Keyring) unlock(k *lockedKey) (ssh.Signer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if u, ok := r.open[k.file]; ok {
		return u.signer, u.err
	}
	signer, err := r.ask(k)
	if r.open == nil {
		r.open = map[string]unlocked{}
	}
	r.open[k.file] = unlocked{signer, err}
	return signer, err
}

func (r *Keyring) ask(k *lockedKey) (ssh.Signer, error) {
	if r.Ask == nil {
		return nil, fmt.Errorf("key %s is encrypted: %w; give it to an agent with ssh-add", k.file, ErrNoTerminal)
	}
	for range passphraseTries {
		secret, err := r.Ask("passphrase of " + k.file)
		if err != nil {
			return nil, fmt.Errorf("key %s is encrypted: %w; give it to an agent with ssh-add", k.file, err)
		}
		if signer, err := ssh.ParsePrivateKeyWithPassphrase(k.data, secret); err == nil {
			return signer, nil
		}
	}
	return nil, fmt.Errorf("key %s: none of %d passphrases was right", k.file, passphraseTries)
}
