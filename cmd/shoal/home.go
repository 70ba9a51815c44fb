package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"shoal/internal/codec"
	"shoal/internal/ownfile"
	"shoal/internal/signkey"
	"shoal/membership"
)

// home is the operator's folder: the key that signs, the trust chain, and the key that gossip is encrypted with.
type home struct{ dir string }

const (
	operatorKeyFile = "operator.key"
	chainFile       = "chain"
	gossipKeyFile   = "gossip.key"
)

// openHome names the folder: dir, or SHOAL_HOME, or the user's configuration folder.
func openHome(dir string) (home, error) {
	if dir == "" {
		dir = os.Getenv("SHOAL_HOME")
	}
	if dir == "" {
		base, err := os.UserConfigDir()
		if err != nil {
			return home{}, badInput("where are your keys? set SHOAL_HOME (%v)", err)
		}
		dir = filepath.Join(base, "shoal")
	}
	return home{dir}, nil
}

func (h home) saveChain(chain *membership.Chain) error {
	data, err := codec.Marshal(chain.All())
	if err != nil {
		return err
	}
	return ownfile.Write(filepath.Join(h.dir, chainFile), data, 0o600)
}

func (h home) chain() (*membership.Chain, error) {
	data, err := os.ReadFile(filepath.Join(h.dir, chainFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, badInput("no cluster in %s\n    make one with: shoal init    or name its folder with SHOAL_HOME", h.dir)
	}
	if err != nil {
		return nil, err
	}
	var statements []membership.Signed
	if err := codec.Unmarshal(data, &statements); err != nil {
		return nil, fmt.Errorf("trust chain in %s: %w", h.dir, err)
	}
	chain, err := membership.RestoreChain(statements)
	if err != nil {
		return nil, fmt.Errorf("trust chain in %s: %w", h.dir, err)
	}
	return chain, nil
}

func (h home) gossipKey() ([]byte, error) {
	return signkey.ReadPrivate(filepath.Join(h.dir, gossipKeyFile))
}

// writeKey keeps a private key as PEM (PKCS #8, RFC 5958), readable by its owner alone.
func writeKey(path string, key ed25519.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return ownfile.Write(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

func readKey(path string) (ed25519.PrivateKey, error) {
	data, err := ownfile.Read(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s is not a PEM file", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds a %T, an Ed25519 key is needed", path, key)
	}
	return private, nil
}
