package user

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"shoal/executor"
)

// The fields of shadow(5) without the name.
const (
	shadowHash   = 0
	shadowExpiry = 6
	shadowFields = 8
)

// noPassword is the hash of a user that cannot log in with one.
const noPassword = "!"

// crypted is what crypt(5) makes: a scheme between dollars, or the 13 characters of the oldest one. Anything else would be a
// password in the clear, and no one could log in with it.
var crypted = regexp.MustCompile(`^(\$[0-9a-z]+\$[^:\s]+|[./0-9A-Za-z]{13}|[!*]+)$`)

func validatePassword(p executor.Params) error {
	if hash, ok := p["password"].(string); ok && !crypted.MatchString(hash) {
		return errors.New("password is not a hash: give what `openssl passwd -6` or mkpasswd prints, or \"!\" for none")
	}
	_, err := expiry(p)
	return err
}

// expiry is the field of shadow for expires, in days since 1970.
func expiry(p executor.Params) (string, error) {
	switch text := p.String("expires"); text {
	case "", "never":
		return "", nil
	default:
		day, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return "", fmt.Errorf("expires: %q is neither a date such as 2030-12-31 nor never", text)
		}
		return strconv.FormatInt(day.Unix()/(24*60*60), 10), nil
	}
}

// managesShadow: the parameters say something that stands in shadow.
func managesShadow(p executor.Params) bool {
	return managesHash(p) || p["expires"] != nil
}

func managesHash(p executor.Params) bool { return p["password"] != nil || p["locked"] != nil }

// wantedShadow is the row as it is to be. That of a user who is not there yet begins without a password.
func wantedShadow(now string, p executor.Params) (string, error) {
	row := shadowRow(now)
	if row[shadowHash] == "" {
		row[shadowHash] = noPassword // an empty field lets in without a password
	}
	if hash, ok := p["password"].(string); ok {
		locked := strings.HasPrefix(row[shadowHash], "!") && p["locked"] == nil && strings.TrimLeft(row[shadowHash], "!") == hash
		if !locked { // one that an administrator locked stays locked, where nothing is said of it
			row[shadowHash] = hash
		}
	}
	if locked, ok := p.Bool("locked"); ok {
		hash := strings.TrimLeft(row[shadowHash], "!")
		if locked || hash == "" {
			hash = "!" + hash
		}
		row[shadowHash] = hash
	}
	if p["expires"] != nil {
		day, err := expiry(p)
		if err != nil {
			return "", err
		}
		row[shadowExpiry] = day
	}
	return strings.Join(row, ":"), nil
}

func shadowRow(s string) []string {
	row := strings.Split(s, ":")
	for len(row) < shadowFields {
		row = append(row, "")
	}
	return row
}

// shadowDiff names what changes, and never a hash.
func shadowDiff(now, want string) string {
	old, row := shadowRow(now), shadowRow(want)
	var b strings.Builder
	if old[shadowHash] != row[shadowHash] {
		fmt.Fprintf(&b, "password: %s -> %s\n", describeHash(old[shadowHash]), describeHash(row[shadowHash]))
	}
	if old[shadowExpiry] != row[shadowExpiry] {
		fmt.Fprintf(&b, "expires: %s -> %s\n", describeDay(old[shadowExpiry]), describeDay(row[shadowExpiry]))
	}
	return b.String()
}

func describeHash(hash string) string {
	switch {
	case strings.Trim(hash, "!*") == "" && hash != "":
		return "none"
	case strings.HasPrefix(hash, "!"):
		return "locked"
	case hash == "":
		return "empty"
	}
	return "set"
}

func describeDay(days string) string {
	n, err := strconv.ParseInt(days, 10, 64)
	if err != nil {
		return "never"
	}
	return time.Unix(n*24*60*60, 0).UTC().Format(time.DateOnly)
}

// oldShadow is now's row with the fields that p manages as they were.
func oldShadow(now, old string, p executor.Params) string {
	row, was := shadowRow(now), shadowRow(old)
	if managesHash(p) {
		row[shadowHash] = was[shadowHash]
	}
	if p["expires"] != nil {
		row[shadowExpiry] = was[shadowExpiry]
	}
	return strings.Join(row, ":")
}
