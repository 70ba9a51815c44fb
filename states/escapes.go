package states

import (
	"bytes"
	"strings"
)

// pythonEscapes doubles the backslash of those escapes in a template's string literals that Python leaves alone and gonja
// refuses, such as '\.' and '\1' in a regular expression.
func pythonEscapes(source []byte) []byte {
	if bytes.IndexByte(source, '\\') < 0 {
		return source
	}
	var out bytes.Buffer
	for len(source) > 0 {
		i := bytes.IndexByte(source, '{')
		if i < 0 || i+1 == len(source) {
			break
		}
		end := 0
		switch source[i+1] {
		case '#':
			end = after(source, i+2, "#}")
		case '{':
			end = doubleEscapes(&out, source[:i], source[i:], "}}")
		case '%':
			end = doubleEscapes(&out, source[:i], source[i:], "%}")
			if isRaw(source[i : i+end]) {
				raw := end
				if next := bytes.Index(source[i+end:], []byte("endraw")); next >= 0 {
					raw = end + next
				}
				out.Write(source[i+end : i+raw])
				end = raw
			}
		default:
			end = -1
		}
		switch {
		case end == -1 || source[i+1] == '#':
			stop := max(end, i+1)
			out.Write(source[:stop])
			source = source[stop:]
		default:
			source = source[i+end:]
		}
	}
	out.Write(source)
	return out.Bytes()
}

// after is the offset behind the next end, or the length.
func after(source []byte, from int, end string) int {
	i := bytes.Index(source[from:], []byte(end))
	if i < 0 {
		return len(source)
	}
	return from + i + len(end)
}

func isRaw(tag []byte) bool {
	inner := strings.Trim(string(tag), "{}%-+ \t\r\n")
	return inner == "raw"
}

// doubleEscapes writes what is before a tag and the tag, and returns the tag's length.
func doubleEscapes(out *bytes.Buffer, before, tag []byte, end string) int {
	out.Write(before)
	quote := byte(0)
	for i := 0; i < len(tag); i++ {
		c := tag[i]
		switch {
		case quote == 0 && bytes.HasPrefix(tag[i:], []byte(end)):
			out.WriteString(end)
			return i + len(end)
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == c:
			quote = 0
		case quote != 0 && c == '\\' && i+1 < len(tag):
			if !strings.ContainsRune("abfnrtvxuU\\'\"", rune(tag[i+1])) {
				out.WriteByte('\\')
			}
			out.WriteByte(c)
			i++
			c = tag[i]
		}
		out.WriteByte(c)
	}
	return len(tag)
}
