package states

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

var updateFormat = flag.Bool("update-format", false, "write testdata/format/*.want")

func TestFormatGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/format/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out := formatted(t, string(data))
		if *updateFormat {
			if err := os.WriteFile(name+".want", []byte(out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name + ".want")
		if err != nil {
			t.Fatal(err)
		}
		if out != string(want) {
			t.Errorf("%s becomes\n%s", name, out)
		}
	}
}

// formatted formats and checks what every result must be: stable, the same ink, and the same value to another parser.
func formatted(t testing.TB, text string) string {
	t.Helper()
	out, err := Format("x.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v\nin:\n%s", err, text)
	}
	again, err := Format("x.yaml", out)
	if err != nil || !bytes.Equal(again, out) {
		t.Fatalf("formatted twice (%v):\n%s\nonce:\n%s\nin:\n%s", err, again, out, text)
	}
	if ink := func(s string) string { return strings.Join(strings.Fields(s), "") }; ink(text) != ink(string(out)) {
		t.Fatalf("more than white space was changed:\n%s\nin:\n%s", out, text)
	}
	if before, after := otherValue(text), otherValue(string(out)); !reflect.DeepEqual(before, after) {
		t.Fatalf("another value: %v, and not %v\nof:\n%s\nin:\n%s", after, before, out, text)
	}
	return string(out)
}

// otherValue is what another parser reads.
func otherValue(text string) any {
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		return "not YAML for the other parser"
	}
	return v
}

// Whoever wrote it and however, a document of the language can be formatted.
func TestFormatProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := yamlWriter{t: t}
		w.block(0, 0, rapid.Bool().Draw(t, "map"))
		text := w.b.String()
		doc, wrong := readYAML("x.yaml", []byte(text))
		if len(wrong) > 0 {
			t.Fatalf("the generator writes what is not YAML: %v\n%s", wrong, text)
		}
		if fmt.Sprint(doc.value()) != fmt.Sprint(otherValue(text)) {
			t.Skip("the parsers differ, so that nobody can tell what it means") // such as a list's empty item before a key
		}
		out, err := Format("x.yaml", []byte(text))
		if err != nil {
			t.Fatalf("%v\nin:\n%s", err, text)
		}
		again, err := Format("x.yaml", out)
		if err != nil || !bytes.Equal(again, out) {
			t.Fatalf("formatted twice (%v):\n%s\nonce:\n%s\nin:\n%s", err, again, out, text)
		}
		if before, after := otherValue(text), otherValue(string(out)); !reflect.DeepEqual(before, after) {
			t.Fatalf("another value: %v, and not %v\nof:\n%s\nin:\n%s", after, before, out, text)
		}
		if !w.inside && strings.Contains(string(out), "\n\n\n") {
			t.Fatalf("two empty lines:\n%s\nin:\n%s", out, text)
		}
	})
}

// yamlWriter writes random documents in random styles.
type yamlWriter struct {
	t      *rapid.T
	b      strings.Builder
	keys   int
	inside bool // a value holds empty lines, which count
}

func (w *yamlWriter) one(of ...string) string { return rapid.SampledFrom(of).Draw(w.t, "one") }

func (w *yamlWriter) upTo(n int) int { return rapid.IntRange(0, n).Draw(w.t, "n") }

func (w *yamlWriter) pad(n int) { w.b.WriteString(strings.Repeat(" ", n)) }

// between writes comments and empty lines.
func (w *yamlWriter) between(column int) {
	for range w.upTo(6) - 3 {
		switch w.upTo(3) {
		case 0:
			w.b.WriteString("\n")
		case 1:
			w.b.WriteString("  \n")
		case 2:
			w.pad(column)
			w.b.WriteString("# same\n")
		default:
			w.pad(w.upTo(9))
			w.b.WriteString("#elsewhere: {\n")
		}
	}
}

func (w *yamlWriter) end() { w.b.WriteString(w.one("\n", "\n", "  \n", "   # why\n", " #: x\n")) }

// block writes a map or a list in a column; the first line is begun already when depth says so.
func (w *yamlWriter) block(column, depth int, isMap bool) {
	for i := range 1 + w.upTo(2) {
		if i > 0 || depth == 0 {
			w.between(column)
			w.pad(column)
		}
		if isMap {
			w.keys++
			w.b.WriteString(fmt.Sprintf(w.one("k%d", "k%d ", `"k: %d"`, "'k # %d'", "k-%d#"), w.keys) + ":")
		} else {
			w.b.WriteString("-")
		}
		w.item(column, depth+1, isMap)
	}
}

func (w *yamlWriter) item(column, depth int, inMap bool) {
	kind := w.upTo(9)
	if depth > 3 && kind < 4 {
		kind += 4
	}
	switch kind {
	case 0, 1: // a block below
		w.end()
		deeper := column + 1 + w.upTo(4)
		isMap := w.upTo(1) == 0
		if inMap && !isMap && w.upTo(1) == 0 {
			deeper = column
		}
		w.between(deeper)
		w.pad(deeper)
		w.block(deeper, depth, isMap)
	case 2, 3: // a block in the same line
		if inMap {
			w.b.WriteString(" &a" + fmt.Sprint(w.keys))
			w.end()
			w.pad(column + 2)
			w.block(column+2, depth, true)
			return
		}
		blanks := 1 + w.upTo(3)
		w.pad(blanks)
		w.block(column+1+blanks, depth, w.upTo(1) == 0)
	case 4: // | and >
		w.inside = true
		w.b.WriteString("  " + w.one("|", ">", "|-", ">-", "|+"))
		w.b.WriteString(w.one("\n", " # text\n"))
		deeper := column + 1 + w.upTo(5)
		for range 1 + w.upTo(3) {
			w.pad(deeper)
			w.b.WriteString(w.one("text", "# no comment", "- a: {", "key: value  ", "text\n") + "\n")
		}
	case 5: // quotes, over some lines
		w.inside = true
		w.pad(1 + w.upTo(2))
		w.b.WriteString(w.one(`"a # b"`, `'it''s: '`, `"\"{"`, `""`, "\"a\n"+strings.Repeat(" ", column+1+w.upTo(3))+"b\"", "'a\n\n\n"+strings.Repeat(" ", column+2)+"b'"))
		w.end()
	case 6: // flows
		w.pad(1 + w.upTo(2))
		w.b.WriteString(w.one("[]", "{ }", "[ a,b , 'c, d' ]", "{a: 1,b: [x,  y],  \"c\":2}", "{ a : {b: }}", "[a b,\n"+strings.Repeat(" ", column+2)+"c # d\n"+strings.Repeat(" ", column+1)+"]", "[-1, '}', \"]\"]"))
		w.end()
	case 7: // plain, over some lines
		w.b.WriteString(" plain  text#")
		if w.upTo(2) == 0 {
			w.inside = true
			w.b.WriteString(strings.Repeat("\n", 1+w.upTo(2)))
			w.pad(column + 1 + w.upTo(4))
			w.b.WriteString("more - of it")
		}
		w.end()
	default:
		w.b.WriteString(w.one("", "  1", " true", "    ${vars.x}", " 'x'", " -x", " http://x:80/#y", " a&b *c !d", " &z v"))
		w.end()
	}
}

func FuzzFormat(f *testing.F) {
	files, _ := filepath.Glob("testdata/format/*.yaml*")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<12 {
			return
		}
		out, err := Format("x.yaml", []byte(text))
		if err != nil {
			return // refused: nothing is written
		}
		again, err := Format("x.yaml", out)
		if err != nil || !bytes.Equal(again, out) {
			t.Fatalf("formatted twice (%v):\n%q\nonce:\n%q\nin:\n%q", err, again, out, text)
		}
	})
}
