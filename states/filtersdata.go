package states

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/goccy/go-yaml"
)

// dataFilters write and read data: JSON, YAML, base64, hashes.
var dataFilters = map[string]ownFilter{
	"to_json":      {"indent? sort_keys? ensure_ascii?", toJSON},
	"json":         {"indent? sort_keys? ensure_ascii?", toJSON},
	"to_nice_json": {"indent? sort_keys? ensure_ascii?", toNiceJSON},
	"tojson":       {"indent?", htmlJSON},
	"from_json":    {"", fromJSON},
	"to_yaml":      {"indent? default_flow_style? sort_keys? width?", toYAML},
	"yaml":         {"default_flow_style? indent? sort_keys? width?", toYAML},
	"to_nice_yaml": {"indent? sort_keys? width? default_flow_style?", toNiceYAML},
	"from_yaml":    {"", fromYAML},
	"b64encode": {"encoding?", func(c filterCall) (any, error) {
		return base64.StdEncoding.EncodeToString([]byte(pythonText(c.in))), nil
	}},
	"b64decode": {"encoding?", decode64},
	"hash":      {"hashtype?", func(c filterCall) (any, error) { return hashText(c.text("hashtype", "sha1"), pythonText(c.in)) }},
	"md5":       {"", func(c filterCall) (any, error) { return hashText("md5", pythonText(c.in)) }},
	"sha1":      {"", func(c filterCall) (any, error) { return hashText("sha1", pythonText(c.in)) }},
	"sha256":    {"", func(c filterCall) (any, error) { return hashText("sha256", pythonText(c.in)) }},
	"sha512":    {"", func(c filterCall) (any, error) { return hashText("sha512", pythonText(c.in)) }},
	"checksum":  {"", func(c filterCall) (any, error) { return hashText("sha1", pythonText(c.in)) }},
}

func decode64(c filterCall) (any, error) {
	data, err := base64.StdEncoding.DecodeString(pythonText(c.in))
	if err != nil {
		return nil, errors.New("it is not base64")
	}
	return string(data), nil
}

func hashText(how, s string) (any, error) {
	switch how {
	case "md5":
		sum := md5.Sum([]byte(s))
		return hex.EncodeToString(sum[:]), nil
	case "sha1":
		sum := sha1.Sum([]byte(s))
		return hex.EncodeToString(sum[:]), nil
	case "sha224":
		sum := sha256.Sum224([]byte(s))
		return hex.EncodeToString(sum[:]), nil
	case "sha256":
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:]), nil
	case "sha384":
		sum := sha512.Sum384([]byte(s))
		return hex.EncodeToString(sum[:]), nil
	case "sha512":
		sum := sha512.Sum512([]byte(s))
		return hex.EncodeToString(sum[:]), nil
	}
	return nil, fmt.Errorf("unknown hash %q: there are md5, sha1, sha224, sha256, sha384 and sha512", how)
}

// jsonStyle is how a document is written.
type jsonStyle struct {
	indent      string
	comma       string
	sort, ascii bool
}

func (c filterCall) jsonStyle(indent int, comma string, sorted bool) (jsonStyle, error) {
	n, err := c.whole("indent", indent)
	if n > 64 {
		err = fmt.Errorf("the indent %d is too large here", n)
	}
	s := jsonStyle{comma: comma, sort: sorted, ascii: true}
	if n > 0 && err == nil {
		s.indent, s.comma = strings.Repeat(" ", n), ","
	}
	if v, ok := c.args["sort_keys"]; ok {
		s.sort = truth(v)
	}
	if v, ok := c.args["ensure_ascii"]; ok {
		s.ascii = truth(v)
	}
	return s, err
}

func toJSON(c filterCall) (any, error) {
	s, err := c.jsonStyle(0, ", ", false)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	err = s.write(&b, c.in, 0)
	return b.String(), err
}

func toNiceJSON(c filterCall) (any, error) {
	s, err := c.jsonStyle(4, ",", true)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	err = s.write(&b, c.in, 0)
	return b.String(), err
}

// htmlJSON is Jinja2's own: safe inside of HTML.
func htmlJSON(c filterCall) (any, error) {
	c.args["sort_keys"] = true
	out, err := toJSON(c)
	if err != nil {
		return nil, err
	}
	return strings.NewReplacer("<", `\u003c`, ">", `\u003e`, "&", `\u0026`, "'", `\u0027`).Replace(out.(string)), nil
}

func (s jsonStyle) write(b *strings.Builder, v any, depth int) error {
	if b.Len() > MaxRenderedBytes {
		return tooLong()
	}
	line := func(depth int) {
		if s.indent != "" {
			b.WriteString("\n" + strings.Repeat(s.indent, depth))
		}
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case string:
		s.text(b, v)
	case []any:
		return s.sequence(b, len(v), "[", "]", line, depth, func(i int) error { return s.write(b, v[i], depth+1) })
	case *dict:
		keys := v.keys
		if s.sort {
			keys = keysOf(v.values)
		}
		return s.sequence(b, len(keys), "{", "}", line, depth, func(i int) error {
			s.text(b, keys[i])
			b.WriteString(": ")
			return s.write(b, v.values[keys[i]], depth+1)
		})
	default:
		b.WriteString(pythonText(v))
	}
	return nil
}

func (s jsonStyle) sequence(b *strings.Builder, n int, open, end string, line func(int), depth int, item func(int) error) error {
	b.WriteString(open)
	for i := range n {
		if i > 0 {
			b.WriteString(s.comma)
		}
		line(depth + 1)
		if err := item(i); err != nil {
			return err
		}
	}
	if n > 0 {
		line(depth)
	}
	b.WriteString(end)
	return nil
}

var jsonEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}

func (s jsonStyle) text(b *strings.Builder, text string) {
	b.WriteByte('"')
	for _, r := range text {
		switch e, has := jsonEscapes[r]; {
		case has:
			b.WriteString(e)
		case r < ' ' || s.ascii && r > 126:
			units := []uint16{uint16(r)}
			if r > 0xffff {
				high, low := utf16.EncodeRune(r)
				units = []uint16{uint16(high), uint16(low)}
			}
			for _, u := range units {
				fmt.Fprintf(b, `\u%04x`, u)
			}
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}

func (c filterCall) read(read func(string, []byte) (*docNode, []placedError)) (any, error) {
	s := pythonText(c.in)
	if len(s) > MaxDocumentBytes {
		return nil, fmt.Errorf("a document of more than %s", sizeText(MaxDocumentBytes))
	}
	n, errs := read("", []byte(s))
	if len(errs) > 0 {
		return nil, fmt.Errorf("line %d of the text: %s", errs[0].place.Line, errs[0].message)
	}
	if err := c.budget.spend(n.size); err != nil {
		return nil, err
	}
	return dictOf(n.value()), nil
}

func fromJSON(c filterCall) (any, error) { return c.read(readJSON) }
func fromYAML(c filterCall) (any, error) { return c.read(readYAML) }

// toYAML is toNiceYAML with an indent of two: block style as well, since that is what configuration files want.
func toYAML(c filterCall) (any, error) {
	if _, ok := c.args["indent"]; !ok {
		c.args["indent"] = 2
	}
	return toNiceYAML(c)
}

// toNiceYAML writes block style, keys sorted where not told otherwise, as PyYAML does with an indent.
func toNiceYAML(c filterCall) (any, error) {
	indent, err := c.whole("indent", 4)
	if err != nil || indent < 1 || indent > 64 {
		return nil, fmt.Errorf("indent must be a number from 1 to 64")
	}
	sorted := true
	if v, ok := c.args["sort_keys"]; ok {
		sorted = truth(v)
	}
	w := blockWriter{indent: indent, sort: sorted}
	w.value(c.in, 0, false)
	if w.b.Len() > MaxRenderedBytes {
		return nil, tooLong()
	}
	return strings.TrimPrefix(w.b.String(), "\n"), nil
}

// blockWriter writes block style: a list in a map is not indented, and one in a list begins on the line of its dash.
type blockWriter struct {
	b      strings.Builder
	indent int
	sort   bool
}

func (w *blockWriter) value(v any, column int, inList bool) {
	if w.b.Len() > MaxRenderedBytes {
		return
	}
	switch v := v.(type) {
	case *dict:
		if len(v.keys) == 0 {
			w.b.WriteString("{}\n")
			return
		}
		keys := v.keys
		if w.sort {
			keys = keysOf(v.values)
		}
		for i, k := range keys {
			if i > 0 || !inList {
				w.b.WriteString(strings.Repeat(" ", column))
			}
			w.b.WriteString(yamlScalar(k) + ":")
			w.inMap(v.values[k], column)
		}
	case []any:
		if len(v) == 0 {
			w.b.WriteString("[]\n")
			return
		}
		for i, e := range v {
			if i > 0 || !inList {
				w.b.WriteString(strings.Repeat(" ", column))
			}
			w.b.WriteString("-" + strings.Repeat(" ", w.gap(e)))
			w.value(e, column+1+w.gap(e), true)
		}
	default:
		w.b.WriteString(w.scalar(v, column) + "\n")
	}
}

// gap is how far a value stands from its dash.
func (w *blockWriter) gap(v any) int {
	switch v := v.(type) {
	case *dict:
		if len(v.keys) > 0 {
			return max(1, w.indent-1)
		}
	case []any:
		if len(v) > 0 {
			return max(1, w.indent-1)
		}
	}
	return 1
}

func (w *blockWriter) inMap(v any, column int) {
	switch e := v.(type) {
	case *dict:
		if len(e.keys) > 0 {
			w.b.WriteByte('\n')
			w.value(e, column+w.indent, false)
			return
		}
	case []any:
		if len(e) > 0 {
			w.b.WriteByte('\n')
			w.value(e, column, false)
			return
		}
	}
	w.b.WriteByte(' ')
	w.value(v, column+w.indent, true)
}

// scalar writes text of more than one line as a block, which is what a person would write.
func (w *blockWriter) scalar(v any, column int) string {
	s, ok := v.(string)
	if !ok {
		if v == nil {
			return "null"
		}
		return strings.ToLower(pythonText(v))
	}
	if strings.Contains(s, "\n") && !strings.ContainsAny(s, "\t\r\x00") && !strings.HasPrefix(s, " ") && !strings.HasPrefix(s, "\n") && !strings.HasSuffix(s, "\n\n") {
		keep := "|"
		if !strings.HasSuffix(s, "\n") {
			keep = "|-"
		}
		pad := strings.Repeat(" ", max(column, w.indent))
		lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
		for i, line := range lines {
			if line != "" {
				lines[i] = pad + line
			}
		}
		return keep + "\n" + strings.Join(lines, "\n")
	}
	return yamlScalar(s)
}

var yamlPlain = regexp.MustCompile(`^[A-Za-z_/\pL][\pL\pN_./@%+ -]*$`)

// yamlScalar quotes a text where it could be read as something else, in YAML 1.1 too: what reads it may be Python.
func yamlScalar(s string) string {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "":
		if s != "y" && s != "n" && strings.ToLower(s) != "none" {
			return "'" + s + "'"
		}
	}
	if yamlPlain.MatchString(s) && !strings.HasSuffix(s, " ") {
		return s
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return strconv.QuoteToASCII(s)
		}
	}
	if plain, ok := yamlAsWritten(s); ok {
		return plain
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// yamlAsWritten asks the reader whether a text reads back as itself without quotes.
func yamlAsWritten(s string) (string, bool) {
	if strings.ContainsAny(s, "#:{}[]&*!|>\"%@`,") || strings.TrimSpace(s) != s || strings.ContainsAny(s[:1], "-?0123456789+.=~'") {
		return "", false
	}
	n, errs := readYAML("", []byte(s+"\n"))
	return s, len(errs) == 0 && n.kind == kindString && n.text == s
}

func yamlText(v any) (string, error) {
	data, err := yaml.MarshalWithOptions(v, yaml.IndentSequence(false))
	return string(data), err
}
