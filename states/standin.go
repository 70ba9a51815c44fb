package states

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"slices"
)

// What stands for a secret in the second compilation (tainting.go).

// standIn is a value of the same shape whose leaves all differ.
func standIn(n *docNode) *docNode {
	out := *n
	switch n.kind {
	case kindBool:
		out.boolean = !n.boolean
	case kindInt:
		out.integer = standInInt(n.integer)
		out.text = asText(out.integer)
	case kindFloat:
		out.float = standInFloat(n.float)
		out.text = asText(out.float)
	case kindString:
		out.text = standInText(n.text)
	case kindList:
		out.items = make([]*docNode, len(n.items))
		for i, item := range n.items {
			out.items[i] = standIn(item)
		}
	case kindMap:
		out.entries = slices.Clone(n.entries)
		for i := range out.entries {
			out.entries[i].value = standIn(out.entries[i].value)
		}
	}
	return &out
}

// standInText is as long as the text, or longer.
func standInText(s string) string {
	sum := sha256.Sum256([]byte("stand-in:" + s))
	text := hex.EncodeToString(sum[:])
	for len(text) < len(s) {
		text += text
	}
	b := []byte(text[:max(len(s), 8)])
	if s == "" {
		return string(b)
	}
	// Both ends of each line differ, so that what two texts share is no part of the secret; and it has as many lines.
	b[0] = unlike(s[0])
	for i := range len(s) {
		if s[i] != '\n' {
			continue
		}
		b[i] = '\n'
		if i > 0 && s[i-1] != '\n' {
			b[i-1] = unlike(s[i-1])
		}
		if i+1 < len(s) && s[i+1] != '\n' {
			b[i+1] = unlike(s[i+1])
		}
	}
	if last := s[len(s)-1]; last != '\n' {
		b[len(b)-1] = unlike(last)
	}
	return string(b)
}

// standInInt has as many digits, each of them another.
func standInInt(n int64) int64 {
	if n < 0 {
		return -standInInt(-max(n, -math.MaxInt64))
	}
	var out, place int64 = 0, 1
	for rest := n; rest > 0; rest, place = rest/10, place*10 {
		digit := 9 - rest%10
		switch {
		case rest < 10 && digit == 0: // a leading zero would be lost
			digit = 1
		case rest < 10 && place >= 1e18:
			digit = 10 - max(rest, 9) // it fits
		}
		out += digit * place
	}
	if n == 0 {
		return 7
	}
	return out
}

func standInFloat(f float64) float64 { return -1.5*f - 0.7 }

// unlike is a letter that is not c, in either case.
func unlike(c byte) byte {
	if c == 'x' || c == 'X' {
		return 'y'
	}
	return 'x'
}

// standInValue is standIn for a plain value.
func standInValue(v any) any {
	switch v := v.(type) {
	case bool:
		return !v
	case int64:
		return standInInt(v)
	case float64:
		return standInFloat(v)
	case string:
		return standInText(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = standInValue(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = standInValue(v[k])
		}
		return out
	}
	return v
}

// StandIn is another value of the same shape: what is evaluated with it in the place of a secret differs where it holds the
// secret.
func StandIn(v any) any { return standInValue(v) }
