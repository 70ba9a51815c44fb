package states

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"
)

// readJSON reads one JSON document with places. It goes by tokens, so that it can see duplicate keys and stop at the
// depth limit.
func readJSON(file string, data []byte) (*docNode, []placedError) {
	r := jsonReader{file: file, data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	r.dec.UseNumber()
	r.lines = lineStarts(data)
	n, err := r.read(0)
	if err == nil {
		if _, extra := r.dec.Token(); !errors.Is(extra, io.EOF) {
			err = r.fail(r.next(), "something after the end of the document")
		}
	}
	if err != nil {
		r.problems = append(r.problems, r.placed(err))
	}
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	return n, nil
}

type jsonReader struct {
	file     string
	data     []byte
	dec      *json.Decoder
	lines    []int // offsets of the lines' beginnings
	total    int
	problems []placedError
}

func (r *jsonReader) fail(offset int, format string, args ...any) error {
	return placedError{place: r.place(offset), message: fmt.Sprintf(format, args...)}
}

// placed finds the place of an error of the decoder.
func (r *jsonReader) placed(err error) placedError {
	var own placedError
	if errors.As(err, &own) {
		return own
	}
	offset := int(r.dec.InputOffset())
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		offset = int(syntax.Offset) - 1
	}
	message, hint := err.Error(), ""
	if m := jsonCharacter.FindStringSubmatch(message); m != nil {
		c := strings.TrimPrefix(m[1], `\`)[0]
		for i := max(0, offset-1); i < len(r.data) && i < offset+1000; i++ {
			if r.data[i] == c {
				offset = i
				break
			}
		}
		hint = map[byte]string{'/': "JSON has no comments", '\'': "strings and keys are written in double quotes", '}': "is there a comma or a colon too many before it?",
			']': "is there a comma too many before it?"}[c]
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		offset, message = len(r.data), "unexpected end"
	}
	return placedError{place: r.place(offset), message: "not valid JSON: " + message, hint: hint}
}

var jsonCharacter = regexp.MustCompile(`invalid character '(\\?.)'`)

func (r *jsonReader) place(offset int) Place {
	offset = max(0, min(offset, len(r.data)))
	line := sort.SearchInts(r.lines, offset+1)
	return Place{File: r.file, Line: line, Column: offset - r.lines[line-1] + 1}
}

// next is the offset of the token that Token will return.
func (r *jsonReader) next() int {
	i := int(r.dec.InputOffset())
	for i < len(r.data) && bytes.IndexByte([]byte(" \t\r\n,:"), r.data[i]) >= 0 {
		i++
	}
	return i
}

func (r *jsonReader) read(depth int) (*docNode, error) {
	offset := r.next()
	if depth > MaxDepth {
		return nil, r.fail(offset, "nested deeper than %d levels", MaxDepth)
	}
	if r.total++; r.total > MaxDocumentNodes {
		return nil, r.fail(offset, "more than %d values in one file", MaxDocumentNodes)
	}
	t, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	n := &docNode{place: r.place(offset), size: 1}
	switch t := t.(type) {
	case bool:
		n.kind, n.boolean = kindBool, t
	case string:
		n.kind, n.text = kindString, t
	case json.Number:
		return n, r.number(n, t, offset)
	case json.Delim:
		if t == '[' {
			return n, r.list(n, depth)
		}
		return n, r.object(n, depth)
	}
	return n, nil
}

func (r *jsonReader) number(n *docNode, t json.Number, offset int) error {
	n.text = t.String()
	var err error
	if n.integer, err = t.Int64(); err == nil {
		n.kind = kindInt
		return nil
	}
	n.kind = kindFloat
	if n.float, err = t.Float64(); err != nil {
		return r.fail(offset, "the number %s is too large", n.text)
	}
	return nil
}

func (r *jsonReader) list(n *docNode, depth int) error {
	n.kind = kindList
	for r.dec.More() {
		c, err := r.read(depth + 1)
		if err != nil {
			return err
		}
		n.items = append(n.items, c)
		n.size += c.size
	}
	_, err := r.dec.Token()
	return err
}

func (r *jsonReader) object(n *docNode, depth int) error {
	n.kind = kindMap
	seen := map[string]Place{}
	for r.dec.More() {
		place := r.place(r.next())
		t, err := r.dec.Token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return placedError{place: place, message: "not valid JSON: a key must be a string"}
		}
		c, err := r.read(depth + 1)
		if err != nil {
			return err
		}
		if first, dup := seen[key]; dup {
			r.problems = append(r.problems, placedError{place: place, message: fmt.Sprintf("duplicate key %q, first written in line %d", key, first.Line)})
			continue
		}
		seen[key] = place
		n.entries = append(n.entries, docEntry{key, place, c})
		n.size += c.size
	}
	_, err := r.dec.Token()
	return err
}
