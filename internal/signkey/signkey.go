// Package signkey finds the keys that people sign with: in a file, which a passphrase may lock, or in an SSH agent.
package signkey

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
)

// ErrMode is returned for a file that others than its owner may read.
var ErrMode = errors.New("others than its owner may read it; chmod 600 it")

// ErrPassphrase is returned when a locked key cannot be opened.
var ErrPassphrase = errors.New("wrong passphrase")

// maxFile bounds the bytes of a key file.
const maxFile = 64 << 10

// Encode is key as PEM (PKCS #8, RFC 5958). With a passphrase that is encrypted with age (scrypt), as text.
func Encode(key ed25519.PrivateKey, passphrase []byte) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	plain := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if len(passphrase) == 0 {
		return plain, nil
	}
	recipient, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	body, err := age.Encrypt(text, recipient)
	if err != nil {
		return nil, err
	}
	_, err = body.Write(plain)
	err = errors.Join(err, body.Close(), text.Close())
	return out.Bytes(), err
}

// Read reads a key file that Encode wrote. passphrase is asked for when the file is locked.
func Read(path string, passphrase func() ([]byte, error)) (ed25519.PrivateKey, error) {
	data, err := ReadPrivate(path)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(data, []byte(armor.Header)) {
		secret, err := passphrase()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if data, err = unlock(data, secret); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	key, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// ReadPrivate reads a small file that its owner alone may read.
func ReadPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o: %w", path, info.Mode().Perm(), ErrMode)
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// Decode reads a key in PEM.
func Decode(data []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("it is not a PEM file")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("it holds a %T, an Ed25519 key is needed", key)
	}
	return private, nil
}

func unlock(data, passphrase []byte) ([]byte, error) {
	identity, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return nil, err
	}
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(data)), identity)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrPassphrase, err)
	}
	return io.ReadAll(io.LimitReader(r, maxFile))
}

// ParsePublic reads a public key: 64 hexadecimal digits, or a line of authorized_keys (ssh-ed25519).
func ParsePublic(text string) (ed25519.PublicKey, error) {
	text = strings.TrimSpace(text)
	if raw, err := hex.DecodeString(text); err == nil && len(raw) == ed25519.PublicKeySize {
		return raw, nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil {
		return nil, errors.New("it is no public key: 64 hexadecimal digits, or a line that begins with ssh-ed25519")
	}
	return fromSSH(key)
}

func fromSSH(key ssh.PublicKey) (ed25519.PublicKey, error) {
	if holder, ok := key.(ssh.CryptoPublicKey); ok && key.Type() == ssh.KeyAlgoED25519 {
		if public, ok := holder.CryptoPublicKey().(ed25519.PublicKey); ok {
			return public, nil
		}
	}
	return nil, fmt.Errorf("it is of type %s, an ssh-ed25519 key is needed", key.Type())
}

// Line is a public key as a line of authorized_keys.
func Line(key ed25519.PublicKey, comment string) string {
	public, err := ssh.NewPublicKey(key)
	if err != nil {
		return hex.EncodeToString(key)
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
	if comment != "" {
		line += " " + comment
	}
	return line
}

// Fingerprint is how people compare keys: as ssh-keygen -l shows it.
func Fingerprint(key ed25519.PublicKey) string {
	public, err := ssh.NewPublicKey(key)
	if err != nil {
		return hex.EncodeToString(key)
	}
	return ssh.FingerprintSHA256(public)
}

// Public is the key of a signer.
func Public(s crypto.Signer) ed25519.PublicKey {
	key, _ := s.Public().(ed25519.PublicKey)
	return key
}
