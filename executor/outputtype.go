package executor

import (
	"path"
	"regexp"
	"slices"
	"time"

	"shoal/states"
)

var octalMode = regexp.MustCompile(`^[0-7]{3,4}$`)

// OutputFits says whether a module may return v for an output that it declares with this type. Numbers are whole, paths absolute and
// clean, modes three or four octal digits as text.
func OutputFits(declared states.Type, v any) bool {
	text, isText := v.(string)
	switch declared {
	case states.String:
		return isText
	case states.Duration:
		_, err := time.ParseDuration(text)
		return isText && err == nil
	case states.Path:
		return isText && path.IsAbs(text) && path.Clean(text) == text
	case states.Mode:
		return isText && octalMode.MatchString(text)
	case states.Bool:
		_, ok := v.(bool)
		return ok
	case states.Int:
		switch v.(type) {
		case int, int64, uint32:
			return true
		}
		return false
	case states.Strings:
		return isTexts(v)
	case states.Map:
		_, ok := v.(map[string]any)
		return ok
	}
	return v != nil
}

func isTexts(v any) bool {
	if _, ok := v.([]string); ok {
		return true
	}
	list, ok := v.([]any)
	return ok && !slices.ContainsFunc(list, func(item any) bool { _, text := item.(string); return !text })
}
