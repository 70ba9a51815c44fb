package main

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"shoal/internal/ownfile"
	"shoal/internal/signkey"
)

// operatorKeyNameFile names a key of an SSH agent that is this operator's.
const operatorKeyNameFile = "operator.ssh"

// keyFlag adds --key; the function returned has it, or SHOAL_KEY.
func keyFlag(cmd *cobra.Command) func() string {
	key := cmd.Flags().String("key", "", "the key that signs, `KEY`: a file, or ssh:SHA256:… or ssh:COMMENT of an SSH agent (default: SHOAL_KEY, then that of SHOAL_HOME)")
	return func() string {
		if *key != "" {
			return *key
		}
		return os.Getenv("SHOAL_KEY")
	}
}

// operatorKey is the key that this operator signs with: the one that is named, or that of the folder.
func (h home) operatorKey(named string) (crypto.Signer, error) {
	if named == "" {
		name, err := os.ReadFile(filepath.Join(h.dir, operatorKeyNameFile))
		switch {
		case err == nil:
			named = strings.TrimSpace(string(name))
		case errors.Is(err, fs.ErrNotExist):
			named = filepath.Join(h.dir, operatorKeyFile)
		default:
			return nil, err
		}
	}
	if which, ok := strings.CutPrefix(named, signkey.AgentPrefix); ok {
		key, err := signkey.InAgent(os.Getenv("SSH_AUTH_SOCK"), which)
		if err != nil {
			return nil, badInput("%v", err)
		}
		return key, nil
	}
	key, err := signkey.Read(named, func() ([]byte, error) { return passphrase("Passphrase of " + named) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil, badInput("no key in %s; make one with: shoal trust key", named)
	}
	if err != nil {
		return nil, badInput("%v", err)
	}
	return key, nil
}

// makeOperatorKey makes the folder's key, or notes which of the agent's it is.
func (h home) makeOperatorKey(named string, generate func() (ed25519.PrivateKey, error), locked bool) (crypto.Signer, error) {
	if strings.HasPrefix(named, signkey.AgentPrefix) {
		key, err := h.operatorKey(named)
		if err != nil {
			return nil, err
		}
		name := signkey.AgentPrefix + signkey.Fingerprint(signkey.Public(key)) + "\n"
		return key, ownfile.Write(filepath.Join(h.dir, operatorKeyNameFile), []byte(name), 0o600)
	}
	if named != "" {
		return h.operatorKey(named)
	}
	var secret []byte
	var err error
	if locked || os.Getenv("SHOAL_PASSPHRASE_FILE") != "" {
		if secret, err = newPassphrase(); err != nil {
			return nil, err
		}
	}
	key, err := generate()
	if err != nil {
		return nil, err
	}
	data, err := signkey.Encode(key, secret)
	if err != nil {
		return nil, err
	}
	return key, ownfile.Write(filepath.Join(h.dir, operatorKeyFile), data, 0o600)
}

func newPassphrase() ([]byte, error) {
	first, err := passphrase("A passphrase for the operator's key")
	if err != nil || os.Getenv("SHOAL_PASSPHRASE_FILE") != "" {
		return first, err
	}
	again, err := passphrase("Once more")
	if err == nil && !bytes.Equal(first, again) {
		err = badInput("the two are not the same")
	}
	return first, err
}

// passphrase reads the file that SHOAL_PASSPHRASE_FILE names, for scripts, or asks on the terminal.
func passphrase(question string) ([]byte, error) {
	var secret []byte
	var err error
	if path := os.Getenv("SHOAL_PASSPHRASE_FILE"); path != "" {
		if secret, err = signkey.ReadPrivate(path); err != nil {
			return nil, badInput("%v", err)
		}
		secret, _, _ = bytes.Cut(secret, []byte("\n"))
	} else {
		tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		if err != nil {
			return nil, badInput("a passphrase is needed, and there is no terminal to ask on; name a file with SHOAL_PASSPHRASE_FILE")
		}
		defer tty.Close()
		fmt.Fprintf(tty, "%s: ", question)
		secret, err = term.ReadPassword(int(tty.Fd()))
		fmt.Fprintln(tty)
		if err != nil {
			return nil, err
		}
	}
	if len(secret) == 0 {
		return nil, badInput("the passphrase is empty")
	}
	return secret, nil
}

// confirmed asks a person for a yes on the terminal.
func confirmed(question string) (bool, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return false, badInput("there is no terminal to ask on; say --yes when it is what you want")
	}
	defer tty.Close()
	fmt.Fprintf(tty, "%s (yes/no) ", question)
	line := make([]byte, 16)
	n, err := tty.Read(line)
	return strings.TrimSpace(string(line[:n])) == "yes", err
}

// readPublic reads a public key that is written out, or in a file.
func readPublic(text string) (ed25519.PublicKey, error) {
	if key, err := signkey.ParsePublic(text); err == nil {
		return key, nil
	}
	data, err := os.ReadFile(text)
	if err != nil {
		return nil, badInput("%q is neither a public key nor a file that can be read (%v)", text, err)
	}
	key, err := signkey.ParsePublic(string(data))
	if err != nil {
		return nil, badInput("%s: %v", text, err)
	}
	return key, nil
}
