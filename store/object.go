package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// MaxObject is the largest object in bytes; larger files are lists of chunks.
const MaxObject = 256 << 10

// ErrCorrupt is returned for bytes that do not have the hash they are named by. They are never served.
var ErrCorrupt = errors.New("content does not match its hash")

// Hash names an object: SHA-256 of its bytes.
type Hash [sha256.Size]byte

// HashOf returns the name of data.
func HashOf(data []byte) Hash { return sha256.Sum256(data) }

// String is "sha256:" and 64 hexadecimal digits.
func (h Hash) String() string { return "sha256:" + hex.EncodeToString(h[:]) }

// Short is the first twelve digits, for people.
func (h Hash) Short() string { return hex.EncodeToString(h[:6]) }

// IsZero says that there is no hash, as for the parent of a first revision.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText makes a Hash print as its String in JSON.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (h *Hash) UnmarshalText(text []byte) error {
	parsed, err := ParseHash(string(text))
	*h = parsed
	return err
}

// ParseHash reads what String wrote, with or without the "sha256:".
func ParseHash(s string) (Hash, error) {
	var h Hash
	raw, err := hex.DecodeString(strings.TrimPrefix(s, "sha256:"))
	if err != nil || len(raw) != len(h) {
		return h, fmt.Errorf("%q is not a sha256 in hexadecimal", s)
	}
	return Hash(raw), nil
}

// UnmarshalCBOR takes a byte string of exactly 32 bytes; left alone, the decoder would pad or cut one of another length.
func (h *Hash) UnmarshalCBOR(data []byte) error {
	if len(data) != 2+len(h) || data[0] != 0x58 || data[1] != byte(len(h)) {
		return errors.New("a hash that is not a byte string of 32 bytes")
	}
	copy(h[:], data[2:])
	return nil
}
