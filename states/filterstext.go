package states

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// textFilters make text of text.
var textFilters = map[string]ownFilter{
	"regex_replace": {"pattern? replacement? ignorecase? multiline? count?", regexReplace},
	"regex_search":  {"pattern ignorecase? multiline? groups*", regexSearch},
	"regex_findall": {"pattern multiline? ignorecase?", regexFindAll},
	"regex_escape":  {"", func(c filterCall) (any, error) { return regexp.QuoteMeta(pythonText(c.in)), nil }},
	"quote":         {"", func(c filterCall) (any, error) { return shellQuote(pythonText(c.in)), nil }},
	"comment":       {"style? decoration? prefix? prefix_count? postfix? postfix_count? beginning? end? newline?", comment},
	"center":        {"width?", center},
	"wordwrap":      {"width? break_long_words? wrapstring? break_on_hyphens?", wordWrap},
	"format":        {"values**", format},
	"urlencode":     {"", urlEncode},
	"basename": {"", func(c filterCall) (any, error) {
		s := pythonText(c.in)
		return s[strings.LastIndexByte(s, '/')+1:], nil
	}},
	"dirname":    {"", func(c filterCall) (any, error) { return dirname(pythonText(c.in)), nil }},
	"splitext":   {"", splitExt},
	"path_join":  {"", pathJoin},
	"splitlines": {"", func(c filterCall) (any, error) { return splitLines(pythonText(c.in)), nil }},
	"split":      {"sep? maxsplit?", split},
	"string":     {"", func(c filterCall) (any, error) { return pythonText(c.in), nil }},
	"join":       {"d? attribute?", join},
}

// textMethods are methods of strings that gonja has otherwise.
var textMethods = map[string]ownFilter{
	"split":  {"sep? maxsplit?", split},
	"rsplit": {"sep? maxsplit?", rsplit},
	"count":  {"sub", func(c filterCall) (any, error) { return strings.Count(pythonText(c.in), c.text("sub", "")), nil }},
	"find": {"sub", func(c filterCall) (any, error) {
		s := pythonText(c.in)
		i := strings.Index(s, c.text("sub", ""))
		if i < 0 {
			return -1, nil
		}
		return utf8.RuneCountInString(s[:i]), nil
	}},
	"splitlines": {"", func(c filterCall) (any, error) { return splitLines(pythonText(c.in)), nil }},
	"replace": {"old new count?", func(c filterCall) (any, error) {
		n, err := c.whole("count", -1)
		return strings.Replace(pythonText(c.in), c.text("old", ""), c.text("new", ""), n), err
	}},
}

// pattern compiles a regular expression in Go's syntax (RE2).
func (c filterCall) pattern(prefix string) (*regexp.Regexp, error) {
	flags := ""
	if c.is("ignorecase") {
		flags += "i"
	}
	if c.is("multiline") {
		flags += "m"
	}
	if flags != "" {
		flags = "(?" + flags + ")"
	}
	re, err := regexp.Compile(flags + prefix + c.text("pattern", ""))
	if err != nil {
		return nil, fmt.Errorf("the pattern %q: %s", shorten(c.text("pattern", "")), strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return re, nil
}

var pythonReference = regexp.MustCompile(`\\(\d)|\\g<(\w+)>`)

func goReplacement(s string) string {
	return pythonReference.ReplaceAllString(strings.ReplaceAll(s, "$", "$$"), "$${$1$2}")
}

func regexReplace(c filterCall) (any, error) {
	re, err := c.pattern("")
	if err != nil {
		return nil, err
	}
	count, err := c.whole("count", 0)
	if err != nil {
		return nil, err
	}
	s, with := pythonText(c.in), []byte(goReplacement(c.text("replacement", "")))
	var out []byte
	last := 0
	if count <= 0 {
		count = -1
	}
	for _, m := range re.FindAllStringSubmatchIndex(s, count) {
		out = append(out, s[last:m[0]]...)
		if out = re.ExpandString(out, string(with), s, m); len(out) > MaxRenderedBytes {
			return nil, tooLong()
		}
		last = m[1]
	}
	return string(out) + s[last:], nil
}

// regexSearch gives the match, or the groups that are named as \\1 or \\g<name>; none where nothing matches.
func regexSearch(c filterCall) (any, error) {
	groups := c.rest
	for _, name := range []string{"multiline", "ignorecase"} { // given by place, they are groups
		if s, ok := c.args[name].(string); ok {
			groups = append([]any{s}, groups...)
			delete(c.args, name)
		}
	}
	re, err := c.pattern("")
	if err != nil {
		return nil, err
	}
	m := re.FindStringSubmatch(pythonText(c.in))
	if m == nil {
		return nil, nil
	}
	if len(groups) == 0 {
		return m[0], nil
	}
	var out []any
	for _, g := range groups {
		ref := pythonReference.FindStringSubmatch(pythonText(g))
		if ref == nil {
			return nil, fmt.Errorf(`a group is named '\\1' or '\\g<name>', not %s`, jinjaType(g))
		}
		i := re.SubexpIndex(ref[2])
		if ref[1] != "" {
			i, _ = strconv.Atoi(ref[1])
		}
		if i < 0 || i >= len(m) {
			return nil, fmt.Errorf("the pattern has no group %s", ref[1]+ref[2])
		}
		out = append(out, m[i])
	}
	return out, nil
}

func regexFindAll(c filterCall) (any, error) {
	re, err := c.pattern("")
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, m := range re.FindAllStringSubmatch(pythonText(c.in), -1) {
		switch len(m) {
		case 1, 2:
			out = append(out, m[len(m)-1])
		default:
			var groups []any
			for _, g := range m[1:] {
				groups = append(groups, g)
			}
			out = append(out, groups)
		}
	}
	return out, nil
}

var shellSafe = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// shellQuote quotes for a POSIX shell, where that is needed.
func shellQuote(s string) string {
	if shellSafe.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'"
}

// commentStyles are those of Ansible: what begins, precedes each line, and ends.
var commentStyles = map[string][3]string{
	"plain": {"", "# ", ""}, "erlang": {"", "% ", ""}, "c": {"", "// ", ""}, "cblock": {"/*", " * ", " */"}, "xml": {"<!--", " - ", "-->"},
}

func comment(c filterCall) (any, error) {
	style, ok := commentStyles[c.text("style", "plain")]
	if !ok {
		return nil, fmt.Errorf("style must be one of %s, not %q", strings.Join(keysOf(commentStyles), ", "), c.text("style", ""))
	}
	newline := c.text("newline", "\n")
	decoration := c.text("decoration", style[1])
	prefix := c.text("prefix", strings.TrimRight(decoration, " "))
	postfix := c.text("postfix", strings.TrimRight(decoration, " "))
	before, err := c.whole("prefix_count", 1)
	if err != nil {
		return nil, err
	}
	after, err := c.whole("postfix_count", 1)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	if begin := c.text("beginning", style[0]); begin != "" {
		b.WriteString(begin + newline)
	}
	if prefix != "" {
		b.WriteString(strings.Repeat(prefix+newline, max(0, before)))
	}
	for _, line := range strings.Split(pythonText(c.in), newline) {
		if line == "" {
			b.WriteString(strings.TrimRight(decoration, " ") + newline)
			continue
		}
		b.WriteString(decoration + line + newline)
	}
	if postfix != "" && after > 0 {
		b.WriteString(strings.TrimSuffix(strings.Repeat(postfix+newline, after), newline))
	}
	if end := c.text("end", style[2]); end != "" {
		b.WriteString(newline + end)
	}
	return b.String(), nil
}

func center(c filterCall) (any, error) {
	width, err := c.whole("width", 80)
	s := pythonText(c.in)
	pad := width - utf8.RuneCountInString(s)
	if err != nil || pad <= 0 {
		return s, err
	}
	left := pad/2 + pad&width&1
	return strings.Repeat(" ", left) + s + strings.Repeat(" ", pad-left), nil
}

// wordWrap breaks lines at blanks, and words that are longer than a line where that is asked for.
func wordWrap(c filterCall) (any, error) {
	width, err := c.whole("width", 79)
	if err != nil || width < 1 {
		return nil, fmt.Errorf("width must be 1 or more")
	}
	long := true
	if v, ok := c.args["break_long_words"]; ok {
		long = truth(v)
	}
	newline := c.text("wrapstring", "\n")
	var out []string
	for _, paragraph := range splitLines(pythonText(c.in)) {
		out = append(out, strings.Join(wrapLine(paragraph.(string), width, long), newline))
	}
	return strings.Join(out, newline), nil
}

func wrapLine(s string, width int, long bool) []string {
	var lines []string
	line := ""
	for _, word := range strings.Split(s, " ") {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
			continue
		default:
			lines, line = append(lines, line), word
		}
		for r := []rune(line); long && len(r) > width; r = []rune(line) {
			lines, line = append(lines, string(r[:width])), string(r[width:])
		}
	}
	return append(lines, line)
}

func urlEncode(c filterCall) (any, error) {
	one := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	switch v := c.in.(type) {
	case *dict:
		var parts []string
		for _, k := range v.keys {
			parts = append(parts, url.QueryEscape(k)+"="+url.QueryEscape(pythonText(v.values[k])))
		}
		return strings.Join(parts, "&"), nil
	default:
		return strings.ReplaceAll(one(pythonText(v)), "%2F", "/"), nil
	}
}

func dirname(s string) string {
	i := strings.LastIndexByte(s, '/') + 1
	head := s[:i]
	if strings.Trim(head, "/") != "" {
		head = strings.TrimRight(head, "/")
	}
	return head
}

func splitExt(c filterCall) (any, error) {
	s := pythonText(c.in)
	ext := path.Ext(s)
	if strings.Trim(s[strings.LastIndexByte(s, '/')+1:len(s)-len(ext)], ".") == "" {
		ext = ""
	}
	return []any{s[:len(s)-len(ext)], ext}, nil
}

func pathJoin(c filterCall) (any, error) {
	list, err := c.list()
	if s, ok := c.in.(string); ok {
		return s, nil
	}
	out := ""
	for _, e := range list {
		s := pythonText(e)
		if strings.HasPrefix(s, "/") || out == "" {
			out = s
			continue
		}
		out = strings.TrimSuffix(out, "/") + "/" + s
	}
	return out, err
}

func splitLines(s string) []any {
	out := []any{}
	if s == "" {
		return out
	}
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	for _, line := range strings.Split(strings.TrimSuffix(s, "\n"), "\n") {
		out = append(out, line)
	}
	return out
}

func split(c filterCall) (any, error) {
	s := pythonText(c.in)
	n, err := c.whole("maxsplit", -1)
	if err != nil {
		return nil, err
	}
	var parts []string
	switch sep := c.args["sep"].(type) {
	case nil:
		parts = strings.Fields(s)
	case string:
		if sep == "" {
			return nil, fmt.Errorf("the separator must not be empty")
		}
		if n >= 0 {
			n++
		}
		parts = strings.SplitN(s, sep, n)
	default:
		return nil, fmt.Errorf("the separator must be a string, not %s", jinjaType(sep))
	}
	out := make([]any, len(parts))
	for i, p := range parts {
		out[i] = p
	}
	return out, nil
}

// rsplit splits from the end.
func rsplit(c filterCall) (any, error) {
	n, err := c.whole("maxsplit", -1)
	sep := c.text("sep", "")
	if n < 0 || sep == "" || err != nil {
		delete(c.args, "maxsplit")
		return split(c)
	}
	s, out := pythonText(c.in), []any{}
	for ; n > 0; n-- {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		out = append([]any{s[i+len(sep):]}, out...)
		s = s[:i]
	}
	return append([]any{s}, out...), nil
}

func join(c filterCall) (any, error) {
	list, err := c.list()
	if err != nil {
		return nil, err
	}
	if name, ok := c.args["attribute"]; ok {
		for i, e := range list {
			if list[i], ok = attribute(e, pythonText(name)); !ok {
				return nil, fmt.Errorf("an item has no %q", pythonText(name))
			}
		}
	}
	parts, size, sep := make([]string, len(list)), 0, c.text("d", "")
	for i, e := range list {
		parts[i] = pythonText(e)
		if size += len(parts[i]) + len(sep); size > MaxRenderedBytes {
			return nil, tooLong()
		}
	}
	return strings.Join(parts, sep), nil
}

// attribute finds a dotted name in maps and lists.
func attribute(v any, name string) (any, bool) {
	for _, part := range strings.Split(name, ".") {
		switch at := v.(type) {
		case *dict:
			inner, ok := at.values[part]
			if !ok {
				return nil, false
			}
			v = inner
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(at) {
				return nil, false
			}
			v = at[i]
		default:
			return nil, false
		}
	}
	return v, true
}
