package states

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Masked stands where a secret was.
const Masked = "********"

const (
	// minSecret is the shortest text that is masked within words too: a shorter one is in too many of them. It is masked where
	// it stands by itself.
	minSecret = 4
	// minShort is the shortest that is masked at all.
	minShort = 2
	// minEncoded is the shortest whose encodings are masked as well.
	minEncoded = 6
	// maxEncoded bounds the texts whose encodings are masked.
	maxEncoded = 200
	cutMark    = "…" // stands where a text was cut
)

// Mask hides texts wherever they appear: as they are, line by line, and in the encodings that programs use when they quote
// what they were given. A program that changes a text in another way defeats it.
type Mask struct {
	replacer *strings.Replacer
	long     []string // the texts that are hidden as they are
	short    []string
}

// NewMask makes a Mask of texts. Of two that overlap the longer is hidden.
func NewMask(texts []string) Mask {
	var m Mask
	hide := map[string]bool{}
	encoded := 0
	for _, text := range texts {
		for _, line := range linesOf(text) {
			if len(line) < minSecret {
				if len(line) >= minShort {
					m.short = append(m.short, line)
				}
				continue
			}
			hide[line] = true
		}
		if len(text) >= minEncoded && encoded < maxEncoded {
			encoded++
			for _, form := range encodings(text) {
				hide[form] = true
			}
		}
	}
	for text := range hide {
		if len(text) >= minSecret {
			m.long = append(m.long, text)
		}
	}
	slices.SortFunc(m.long, func(a, b string) int { return 2*(len(b)-len(a)) + strings.Compare(a, b) })
	slices.Sort(m.short)
	m.short = slices.Compact(m.short)
	if m.long != nil {
		pairs := make([]string, 0, 2*len(m.long))
		for _, text := range m.long {
			pairs = append(pairs, text, Masked)
		}
		m.replacer = strings.NewReplacer(pairs...)
	}
	return m
}

// linesOf is a text and, where it has several, each of its lines: whoever prints it may indent them.
func linesOf(text string) []string {
	all := []string{text}
	if !strings.Contains(text, "\n") {
		return all
	}
	for line := range strings.Lines(text) {
		all = append(all, strings.TrimSpace(line))
	}
	return all
}

// encodings are the forms in which programs print a text that they were given.
func encodings(text string) []string {
	raw := []byte(text)
	quoted := strconv.Quote(text)
	plain := strconv.QuoteToASCII(text)
	asJSON, _ := json.Marshal(text)
	forms := []string{
		quoted[1 : len(quoted)-1], plain[1 : len(plain)-1], string(asJSON[1 : len(asJSON)-1]),
		strings.ToUpper(text), strings.ToLower(text), url.QueryEscape(text), url.PathEscape(text), regexp.QuoteMeta(text),
		strings.ReplaceAll(text, "'", `'\''`), strings.ReplaceAll(text, "'", "''"),
		hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
	}
	// Base64 of a longer text that holds this one, as in user:password: what depends on it alone, for each of the three ways in
	// which it may lie on the groups of three bytes.
	for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			code := alphabet.EncodeToString(append(make([]byte, before), raw...))
			from, to := (8*before+5)/6, (8*(before+len(raw)))/6
			forms = append(forms, code[from:to])
		}
	}
	return forms
}

// Empty: there is nothing to hide.
func (m Mask) Empty() bool { return m.replacer == nil && m.short == nil }

// Text returns s without the texts.
func (m Mask) Text(s string) string {
	if m.replacer != nil {
		s = m.replacer.Replace(s)
		if strings.Contains(s, cutMark) {
			s = m.atCuts(s)
		}
	}
	for _, word := range m.short {
		s = maskWord(s, word)
	}
	return s
}

// Value is Text for all that a value holds.
func (m Mask) Value(v any) any {
	switch v := v.(type) {
	case string:
		return m.Text(v)
	case []string:
		out := make([]string, len(v))
		for i := range v {
			out[i] = m.Text(v[i])
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = m.Value(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[m.Text(k)] = m.Value(v[k])
		}
		return out
	case int64, float64, int, uint32, uint64:
		if text := asText(v); m.Text(text) != text {
			return Masked
		}
	}
	return v
}

// atCuts hides what is left of a text that was cut: its beginning before the mark, its end after it.
func (m Mask) atCuts(s string) string {
	parts := strings.Split(s, cutMark)
	for i := range parts {
		if i+1 < len(parts) {
			ink := strings.TrimRight(parts[i], "\n")
			if n := m.overlap(ink, func(text string, n int) bool { return strings.HasSuffix(ink, text[:n]) }); n > 0 {
				parts[i] = ink[:len(ink)-n] + Masked + parts[i][len(ink):]
			}
		}
		if i > 0 {
			part := parts[i]
			if n := m.overlap(part, func(text string, n int) bool { return strings.HasPrefix(part, text[len(text)-n:]) }); n > 0 {
				parts[i] = Masked + part[n:]
			}
		}
	}
	return strings.Join(parts, cutMark)
}

// overlap is the most bytes of any of the texts for which is holds.
func (m Mask) overlap(s string, is func(text string, n int) bool) int {
	best := 0
	for _, text := range m.long {
		for n := min(len(text), len(s)); n >= minSecret && n > best; n-- {
			if is(text, n) {
				best = n
			}
		}
	}
	return best
}

// maskWord hides a word where neither a letter nor a digit touches it.
func maskWord(s, word string) string {
	var b strings.Builder
	for from := 0; ; {
		at := strings.Index(s[from:], word)
		if at < 0 {
			if b.Len() == 0 && from == 0 {
				return s
			}
			b.WriteString(s[from:])
			return b.String()
		}
		at += from
		before, _ := utf8.DecodeLastRuneInString(s[:at])
		after, _ := utf8.DecodeRuneInString(s[at+len(word):])
		b.WriteString(s[from:at])
		if wordRune(before) || wordRune(after) {
			b.WriteString(word)
		} else {
			b.WriteString(Masked)
		}
		from = at + len(word)
	}
}

func wordRune(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}
