package executor

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"shoal/internal/codec"
	"shoal/states"
)

func sampleCall(t testing.TB) call {
	c, err := newCall("file.managed", Params{
		"path": "/etc/x", "on": true, "off": false, "n": int64(-5), "list": []any{"a", int64(1)}, "map": map[string]any{"k": "v", "none": nil},
		"contents": states.Content{Hash: "sha256:00", Size: 3, Source: "files/x", From: "source files/x"}, "f": 1.5,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func encode(t testing.TB, v any) []byte {
	data, err := codec.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParamsKeepTheirTypes(t *testing.T) {
	want := Params{
		"path": "/etc/x", "on": true, "off": false, "n": int64(-5), "list": []any{"a", int64(1)}, "map": map[string]any{"k": "v", "none": nil},
		"contents": states.Content{Hash: "sha256:00", Size: 3, Source: "files/x", From: "source files/x"}, "f": 1.5,
	}
	var back call
	if err := codec.Unmarshal(encode(t, sampleCall(t)), &back); err != nil {
		t.Fatal(err)
	}
	got, err := back.params()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%#v, %v", got, err)
	}
	if _, err := newCall("x.y", Params{"bad": struct{}{}}); err == nil {
		t.Error("a parameter of no known type was written down")
	}
}

func FuzzJournal(f *testing.F) {
	f.Add(encode(f, record{Begin: &begin{Sequence: 3, Env: "production", Stages: []string{"/etc/x"}}}), encode(f, record{Done: &done{Order: 4}}))
	f.Add(encode(f, record{Begin: &begin{Sequence: 1}}), encode(f, record{Intent: &intent{Order: 4, ID: "c/x", Saved: saved{Call: sampleCall(f), Reversible: true, Data: []byte{1}}}}))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		first, log, err := decodeJournal([][]byte{one, two})
		if err != nil {
			return
		}
		if first == nil && len(log.intents) > 0 {
			t.Fatal("intents of nothing")
		}
		for _, in := range log.backwards() {
			_, _ = in.Saved.Call.params()
		}
	})
}

func FuzzLedger(f *testing.F) {
	l, err := decodeLedger(nil)
	if err != nil {
		f.Fatal(err)
	}
	if err := l.own(entry{Key: "path:/etc/x", ID: "c/x", Number: 1}, saved{Call: sampleCall(f), Blobs: []string{"sha256:00"}}); err != nil {
		f.Fatal(err)
	}
	l.Pending = []trigger{{"c/y", 1, "c/x"}}
	if err := l.remember(invocation{"c/x", 1}, map[string]any{"stdout": "x"}, []string{"stdout"}); err != nil {
		f.Fatal(err)
	}
	f.Add(encode(f, l))
	f.Fuzz(func(t *testing.T, data []byte) {
		if data == nil {
			data = []byte{}
		}
		l, err := decodeLedger(data)
		if err != nil {
			return
		}
		if l.Format != ledgerFormat {
			t.Fatal("a ledger of another format")
		}
		for _, en := range l.Entries {
			if s, err := en.saved(); err == nil {
				_, _ = s.Call.params()
			}
		}
		for _, m := range l.Outputs {
			_, _ = l.remembered(invocation{m.ID, m.Number})
		}
	})
}

// TestDiffTellsBothSides: the lines of a script that are not added are the old file, those that are not removed the new one, and
// it is as short as the obvious dynamic program says.
func TestDiffTellsBothSides(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.SampledFrom([]string{"a\n", "b\n", "c\n"})
		a, b := rapid.SliceOfN(line, 0, 12).Draw(t, "a"), rapid.SliceOfN(line, 0, 12).Draw(t, "b")
		script, ok := edits(a, b)
		if !ok {
			t.Fatal("too different")
		}
		var left, right []string
		changes := 0
		for _, e := range script {
			if e.op != '+' {
				left = append(left, a[e.a])
			}
			if e.op != '-' {
				right = append(right, b[e.b])
			}
			if e.op != ' ' {
				changes++
			}
		}
		if strings.Join(left, "") != strings.Join(a, "") || strings.Join(right, "") != strings.Join(b, "") {
			t.Fatalf("left %q, right %q", left, right)
		}
		if want := len(a) + len(b) - 2*common(a, b); changes != want {
			t.Fatalf("%d changes, %d would do", changes, want)
		}
	})
}

// common is the length of the longest common subsequence.
func common(a, b []string) int {
	table := make([][]int, len(a)+1)
	for i := range table {
		table[i] = make([]int, len(b)+1)
	}
	for i := range a {
		for j := range b {
			table[i+1][j+1] = max(table[i][j+1], table[i+1][j])
			if a[i] == b[j] {
				table[i+1][j+1] = table[i][j] + 1
			}
		}
	}
	return table[len(a)][len(b)]
}

func TestTextDiff(t *testing.T) {
	numbers := func(except string) string {
		var b strings.Builder
		for i := range 30 {
			s := string(rune('a'+i%26)) + "\n"
			if i == 3 || i == 25 {
				s = except + s
			}
			b.WriteString(s)
		}
		return b.String()
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"same", "x", "x", ""},
		{"new", "", "a\nb", "--- n\n+++ n\n@@ -0,0 +1,2 @@\n+a\n+b\n\\ No newline at end of file\n"},
		{"emptied", "a\n", "", "--- n\n+++ n\n@@ -1 +0,0 @@\n-a\n"},
		{"binary", "a\x00", "b", "binary files differ: n, 2 -> 1 bytes\n"},
		{"two hunks", numbers(""), numbers("!"), "--- n\n+++ n\n@@ -1,7 +1,7 @@\n a\n b\n c\n-d\n+!d\n e\n f\n g\n@@ -23,7 +23,7 @@\n w\n x\n y\n-z\n+!z\n a\n b\n c\n"},
		{"long", strings.Repeat("x", MaxDiffInput+1), "", "n: 262145 -> 0 bytes, too long to show\n"},
		{"different", strings.Repeat("x\n", 2000), strings.Repeat("y\n", 2000), "n: 2000 -> 2000 lines, too different to show\n"},
	} {
		if got := TextDiff("n", []byte(c.old), []byte(c.new)); got != c.want {
			t.Errorf("%s:\n%s\nwanted\n%s", c.name, got, c.want)
		}
	}
	if got := TextDiff("n", nil, []byte(strings.Repeat("long line\n", 20000))); len(got) > maxDiffBytes+100 {
		t.Errorf("%d bytes of diff", len(got))
	}
}

// TestOldFormats: what an older version wrote is read by this one. A new format gets a new file here, and keeps the old ones.
func TestOldFormats(t *testing.T) {
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		data, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	l, err := decodeLedger(read("ledger-1.hex"))
	if err != nil || l.Sequence != 7 || len(l.Entries) != 1 || l.Entries[0].ID != "c/x" || len(l.Pending) != 1 || l.Folders[0] != "/etc/app" {
		t.Fatalf("%+v, %v", l, err)
	}
	s, err := l.Entries[0].saved()
	if err != nil || s.Call.Function != "file.managed" || !s.Reversible {
		t.Fatalf("%+v, %v", s, err)
	}
	first, log, err := decodeJournal([][]byte{read("begin-1.hex"), read("intent-1.hex")})
	if err != nil || first.Sequence != 8 || len(log.intents) != 1 || log.intents[0].Order != 4 {
		t.Fatalf("%+v, %+v, %v", first, log, err)
	}
	l, err = decodeLedger(read("ledger-2.hex"))
	if outputs, _ := l.remembered(invocation{"c/x", 2}); err != nil || l.Sequence != 9 || outputs["stdout"] != "said" {
		t.Fatalf("%+v, %v", l, err)
	}
	first, log, err = decodeJournal([][]byte{read("begin-1.hex"), read("intent-2.hex"), read("moved-2.hex"), read("reverted-2.hex")})
	if err != nil || first.Sequence != 8 || log.intents[0].Turn != 3 || log.moved[5] != 6 || !log.reverted[7] {
		t.Fatalf("%+v, %+v, %v", first, log, err)
	}
}
