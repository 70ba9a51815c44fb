package sshdial

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// ErrRefused is the kind of every error that has to do with trust: a key of the other side that is unknown, has changed or
// was revoked, or keys of this side that it does not take.
var ErrRefused = errors.New("refused")

// HostKeyError says why the key of a machine is not believed, and what to do.
type HostKeyError struct {
	Changed bool // false: it is not known
	Text    string
}

func (e *HostKeyError) Error() string { return e.Text }

// Unwrap makes it an ErrRefused.
func (e *HostKeyError) Unwrap() error { return ErrRefused }

// hostKeys checks the key of one machine against the files of known ones.
type hostKeys struct {
	hop   hop
	check ssh.HostKeyCallback
	known []knownhosts.KnownKey // what the files have for it
}

func newHostKeys(h hop) (*hostKeys, error) {
	var files []string
	for _, f := range h.known {
		if info, err := os.Stat(f); err == nil && info.Mode().IsRegular() {
			files = append(files, f)
		}
	}
	check, err := knownhosts.New(files...)
	if err != nil {
		return nil, fmt.Errorf("known hosts: %w", err)
	}
	k := &hostKeys{hop: h, check: check}
	var unlike *knownhosts.KeyError
	if errors.As(check(h.knownAs(), &net.TCPAddr{}, nobody{}), &unlike) {
		k.known = unlike.Want
	}
	return k, nil
}

// nobody is a key that no machine has: the check then tells which keys are known.
type nobody struct{}

func (nobody) Type() string                        { return "none" }
func (nobody) Marshal() []byte                     { return nil }
func (nobody) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

// algorithms are those of the known keys, so that a machine that has several shows the one that is known; nil: any.
func (k *hostKeys) algorithms() []string {
	var all []string
	for _, known := range k.known {
		for _, name := range algorithmsOf(known.Key.Type()) {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

func algorithmsOf(keyType string) []string {
	if keyType == ssh.KeyAlgoRSA { // a key of this type signs with a newer hash
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{keyType}
}

// verify implements ssh.HostKeyCallback.
func (k *hostKeys) verify(_ string, remote net.Addr, key ssh.PublicKey) error {
	if _, ok := remote.(*net.TCPAddr); !ok {
		remote = &net.TCPAddr{} // through a jump: only the name counts
	}
	err := k.check(k.hop.knownAs(), remote, key)
	var unlike *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &revoked):
		return &HostKeyError{Changed: true, Text: fmt.Sprintf("THE KEY OF %s WAS REVOKED (%s:%d): %s %s", k.hop.alias, revoked.Revoked.Filename, revoked.Revoked.Line, key.Type(), ssh.FingerprintSHA256(key))}
	case errors.As(err, &unlike) && len(unlike.Want) == 0:
		return k.unknown(key)
	case errors.As(err, &unlike):
		return k.changed("it shows " + key.Type() + " " + ssh.FingerprintSHA256(key))
	}
	return fmt.Errorf("%w: key of %s: %w", ErrRefused, k.hop.alias, err)
}

// file is where the user adds a key.
func (k *hostKeys) file() string {
	if len(k.hop.known) == 0 {
		return "known_hosts"
	}
	return k.hop.known[0]
}

func (k *hostKeys) unknown(key ssh.PublicKey) error {
	name := knownhosts.Normalize(k.hop.knownAs())
	return &HostKeyError{Text: fmt.Sprintf(`the key of %s (%s) is not known: %s %s
    Ask the machine itself for its fingerprint (ssh-keygen -lf /etc/ssh/ssh_host_%s_key.pub there). When it is the same, add this line to %s:
    %s`, k.hop.alias, k.hop.addr(), key.Type(), ssh.FingerprintSHA256(key), shortType(key.Type()), k.file(), knownhosts.Line([]string{name}, key))}
}

// shortType is how the file of a host's key is called.
func shortType(keyType string) string {
	for _, name := range []string{"ed25519", "ecdsa", "rsa"} {
		if strings.Contains(keyType, name) {
			return name
		}
	}
	return keyType
}

func (k *hostKeys) changed(shows string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "THE KEY OF %s (%s) HAS CHANGED. Somebody may stand between, or the machine was installed anew. Nothing was sent.\n", k.hop.alias, k.hop.addr())
	fmt.Fprintf(&b, "    %s\n", shows)
	for _, known := range k.known {
		fmt.Fprintf(&b, "    known is %s %s (%s:%d)\n", known.Key.Type(), ssh.FingerprintSHA256(known.Key), known.Filename, known.Line)
	}
	fmt.Fprintf(&b, "    If you know why: ssh-keygen -R '%s' -f %s, and try again to see the new one", knownhosts.Normalize(k.hop.knownAs()), k.file())
	return &HostKeyError{Changed: true, Text: b.String()}
}
