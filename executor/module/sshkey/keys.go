package sshkey

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"shoal/executor"
)

// maxFile bounds an authorized_keys file, in bytes; maxKeys the keys of one state.
const (
	maxFile = 4 << 20
	maxKeys = 1000
)

// key is one line of authorized_keys.
type key struct {
	blob    string // the public key itself, as SSH encodes it: what makes two lines the same key
	kind    string
	options []string
	comment string
}

// parse reads one line.
func parse(line string) (key, error) {
	if strings.ContainsAny(line, "\n\r\x00") {
		return key{}, errors.New("a key is one line")
	}
	public, comment, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return key{}, fmt.Errorf("%q is not a public key in the form of authorized_keys", shorten(line))
	}
	return key{blob: string(public.Marshal()), kind: public.Type(), options: options, comment: comment}, nil
}

func shorten(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

func (k key) fingerprint() string {
	public, err := ssh.ParsePublicKey([]byte(k.blob))
	if err != nil {
		return ""
	}
	return ssh.FingerprintSHA256(public)
}

func (k key) line() string {
	public, err := ssh.ParsePublicKey([]byte(k.blob))
	if err != nil {
		return ""
	}
	s := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
	if len(k.options) > 0 {
		s = strings.Join(k.options, ",") + " " + s
	}
	if k.comment != "" {
		s += " " + k.comment
	}
	return s
}

// keysOf reads the parameters key, keys, options and comment.
func keysOf(p executor.Params) ([]key, error) {
	lines, _ := p.Strings("keys")
	if one := p.String("key"); one != "" {
		lines = append([]string{one}, lines...)
	}
	if exclusive, _ := p.Bool("exclusive"); len(lines) == 0 && !(exclusive && p["keys"] != nil) {
		return nil, errors.New("needs one of key and keys; no keys at all are an empty list of keys that is exclusive")
	}
	if len(lines) > maxKeys {
		return nil, fmt.Errorf("more than %d keys", maxKeys)
	}
	options, given := p.Strings("options")
	comment := p.String("comment")
	if strings.ContainsAny(strings.Join(options, "")+comment, "\n\r") {
		return nil, errors.New("options and comment are of one line")
	}
	var all []key
	for _, line := range lines {
		k, err := parse(line)
		if err != nil {
			return nil, err
		}
		if given {
			k.options = options
		}
		if comment != "" {
			k.comment = comment
		}
		if slices.ContainsFunc(all, func(other key) bool { return other.blob == k.blob }) {
			return nil, fmt.Errorf("the key %s is named twice", k.fingerprint())
		}
		if again, err := parse(k.line()); err != nil || again.blob != k.blob || !slices.Equal(again.options, k.options) {
			return nil, fmt.Errorf("options %q do not read back", strings.Join(k.options, ","))
		}
		all = append(all, k)
	}
	return all, nil
}

// file is an authorized_keys file, line by line; a line that is no key stays as it is.
type file struct {
	lines []string
	keys  []*key // nil: a comment, an empty line, or something that is not understood
}

func read(data []byte) file {
	var f file
	for line := range bytes.Lines(data) {
		text := strings.TrimRight(string(line), "\r\n")
		f.lines = append(f.lines, text)
		if k, err := parse(text); err == nil && !strings.HasPrefix(strings.TrimSpace(text), "#") {
			f.keys = append(f.keys, &k)
		} else {
			f.keys = append(f.keys, nil)
		}
	}
	return f
}

func (f *file) bytes() []byte {
	var b bytes.Buffer
	for _, line := range f.lines {
		b.WriteString(line + "\n")
	}
	return b.Bytes()
}

func (f *file) delete(i int) {
	f.lines, f.keys = slices.Delete(f.lines, i, i+1), slices.Delete(f.keys, i, i+1)
}

func (f *file) append(line string) {
	k, err := parse(line)
	f.lines = append(f.lines, line)
	if err != nil {
		f.keys = append(f.keys, nil)
		return
	}
	f.keys = append(f.keys, &k)
}

func (f *file) find(blob string) int {
	return slices.IndexFunc(f.keys, func(k *key) bool { return k != nil && k.blob == blob })
}

// ensure has a key once, with its options and, where it has one, its comment.
func (f *file) ensure(k key) {
	at := f.find(k.blob)
	if at < 0 {
		f.append(k.line())
		return
	}
	have := f.keys[at]
	if k.comment == "" {
		k.comment = have.comment
	}
	if !slices.Equal(have.options, k.options) || have.comment != k.comment {
		f.lines[at], f.keys[at] = k.line(), &k
	}
	for i := len(f.keys) - 1; i > at; i-- {
		if f.keys[i] != nil && f.keys[i].blob == k.blob {
			f.delete(i)
		}
	}
}

// remove takes a key out.
func (f *file) remove(blob string) {
	for i := len(f.keys) - 1; i >= 0; i-- {
		if f.keys[i] != nil && f.keys[i].blob == blob {
			f.delete(i)
		}
	}
}

// keepOnly removes every key but these.
func (f *file) keepOnly(keys []key) {
	for i := len(f.keys) - 1; i >= 0; i-- {
		have := f.keys[i]
		if have != nil && !slices.ContainsFunc(keys, func(k key) bool { return k.blob == have.blob }) {
			f.delete(i)
		}
	}
}
