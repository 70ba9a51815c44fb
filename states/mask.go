package states

import (
	"slices"
	"strings"
)

// Masked stands where a secret was.
const Masked = "********"

// Mask hides texts wherever they appear.
type Mask struct{ replacer *strings.Replacer }

// NewMask makes a Mask of texts. Of two that overlap the longer is hidden.
func NewMask(texts []string) Mask {
	texts = slices.Clone(texts)
	slices.SortFunc(texts, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, text := range texts {
		if text != "" {
			pairs = append(pairs, text, Masked)
		}
	}
	if pairs == nil {
		return Mask{}
	}
	return Mask{strings.NewReplacer(pairs...)}
}

// Empty: there is nothing to hide.
func (m Mask) Empty() bool { return m.replacer == nil }

// Text returns s without the texts.
func (m Mask) Text(s string) string {
	if m.replacer == nil {
		return s
	}
	return m.replacer.Replace(s)
}
