package membership

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Limits of what a peer, or an operator in a hurry, can put into a record.
const (
	MaxName       = 63
	MaxTags       = 64
	MaxTagBytes   = 128 // of a key, a value and a zone
	MaxOperators  = 16
	MaxStatements = 256
	MaxForked     = 64 // statements beside the line of the trust chain that holds
	MaxEnvs       = 16
	MaxEnvBytes   = 64
	MaxNonce      = 64
	MaxUses       = MaxRoster
	MaxRoster     = 10000    // grants, redemptions and revocations together
	MaxRecord     = 16 << 10 // bytes of one record's body
	MaxTicketText = 128 << 10
	MaxCredential = 64 << 10 // bytes of what a stranger shows, encoded
)

// ErrLimit is returned for a record that is malformed or larger than the limits.
var ErrLimit = errors.New("out of limits")

// CheckName tells whether a node may be called name: as a DNS name is written, at most MaxName of a-z, 0-9, '-' and '.',
// with no label empty or edged by a hyphen.
func CheckName(name string) error {
	if name == "" || len(name) > MaxName {
		return fmt.Errorf("node name %q: %w: 1 to %d characters", name, ErrLimit, MaxName)
	}
	previous := byte('.')
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case c == '-' && previous != '.':
		case c == '.' && previous != '.' && previous != '-':
		default:
			return fmt.Errorf("node name %q: %w: a-z, 0-9, '-' and '.' as in a DNS name", name, ErrLimit)
		}
		previous = c
	}
	if previous == '-' || previous == '.' {
		return fmt.Errorf("node name %q: %w: ends in %q", name, ErrLimit, previous)
	}
	return nil
}

// CheckTags tells whether tags may stand in a grant.
func CheckTags(tags map[string]string) error {
	if len(tags) > MaxTags {
		return fmt.Errorf("%d tags: %w: at most %d", len(tags), ErrLimit, MaxTags)
	}
	for key, value := range tags {
		if key == "" {
			return fmt.Errorf("tag with an empty key: %w", ErrLimit)
		}
		if err := checkText("tag key", key); err != nil {
			return err
		}
		if err := checkText("tag "+key, value); err != nil {
			return err
		}
	}
	return nil
}

// checkText refuses what would break a terminal or a table: control characters and broken UTF-8.
func checkText(what, text string) error {
	if len(text) > MaxTagBytes || !utf8.ValidString(text) {
		return fmt.Errorf("%.*q: %w: at most %d bytes of UTF-8", 200, what, ErrLimit, MaxTagBytes)
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%.*q: %w: character %U", 200, what, ErrLimit, r)
		}
	}
	return nil
}
