package states

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// drawLayer makes a variable layer of few keys, so that layers meet.
func drawLayer(t *rapid.T, depth int) map[string]any {
	m := map[string]any{}
	for _, key := range []string{"a", "b"} {
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			m[key] = int64(rapid.IntRange(0, 99).Draw(t, "scalar"))
		case 1:
			m[key] = []any{int64(rapid.IntRange(0, 99).Draw(t, "item"))}
		case 2, 3, 4:
			if depth > 0 {
				m[key] = drawLayer(t, depth-1)
			}
		}
	}
	return m
}

// layered is the dumb twin of merge: of one key's values in all layers, those maps that come after the last value that is
// no map are laid over each other.
func layered(layers []map[string]any) map[string]any {
	out := map[string]any{}
	for _, key := range []string{"a", "b"} {
		var maps []map[string]any
		var last any
		has := false
		for _, l := range layers {
			v, ok := l[key]
			if !ok {
				continue
			}
			has, last = true, v
			if m, isMap := v.(map[string]any); isMap {
				maps = append(maps, m)
			} else {
				maps = nil
			}
		}
		if _, isMap := last.(map[string]any); isMap {
			out[key] = layered(maps)
		} else if has {
			out[key] = last
		}
	}
	return out
}

func TestMergeAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var layers []map[string]any
		merged := map[string]any{}
		for range rapid.IntRange(0, 5).Draw(t, "layers") {
			l := drawLayer(t, 3)
			before := deepCopy(l)
			layers = append(layers, l)
			merged = merge(merged, l)
			if !reflect.DeepEqual(before, l) {
				t.Fatal("merge changed a layer")
			}
		}
		if want := layered(layers); !reflect.DeepEqual(merged, want) {
			t.Fatalf("%v: got %v, want %v", layers, merged, want)
		}
	})
}

func FuzzYAML(f *testing.F) {
	for _, s := range []string{"a: 1\n", "a: &x [1, *x]\n", "a: {b: [c, 'd', \"e\"]}\n? x\n: y\n", "<<: {a: 1}\n", "a: |\n  x\n", "- - - a\n", "a: !!str 1\n", "--- \n...\n---\n", "\t", "a: 0x1F\nb: 1e9\nc: .inf\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 4096 {
			return
		}
		n, errs := readYAML("x.yaml", []byte(s))
		if (n == nil) == (len(errs) == 0) {
			t.Fatalf("node %v, errors %v", n, errs)
		}
		for _, e := range errs {
			if e.place.Line < 1 || e.place.Column < 0 || e.message == "" {
				t.Errorf("an error without a place: %+v", e)
			}
		}
		if n != nil {
			n.value()
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a": [1, 2.5, null, true, "x"]}`, `{"a": 1, "a": 2}`, `[`, `{"a"`, `1e999`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, errs := readJSON("x.json", []byte(s))
		if (n == nil) == (len(errs) == 0) {
			t.Fatalf("node %v, errors %v", n, errs)
		}
		for _, e := range errs {
			if e.place.Line < 1 || e.place.Column < 1 || e.message == "" {
				t.Errorf("an error without a place: %+v", e)
			}
		}
	})
}
