package codec_test

import (
	"bytes"
	"strings"
	"testing"

	"shoal/internal/codec"
)

type record struct {
	Name string            `cbor:"1,keyasint"`
	Tags map[string]string `cbor:"2,keyasint"`
}

// Equal values have equal bytes, in whatever order their maps were filled: signatures rest on it.
func TestEqualValuesHaveEqualBytes(t *testing.T) {
	a := record{"n", map[string]string{}}
	b := record{"n", map[string]string{}}
	keys := strings.Fields("one two three four five six seven eight nine ten")
	for i, k := range keys {
		a.Tags[k] = "x"
		b.Tags[keys[len(keys)-1-i]] = "x"
	}
	first, err := codec.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := codec.Marshal(b)
		if err != nil || !bytes.Equal(first, again) {
			t.Fatalf("%x and %x, %v", first, again, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, data := range map[string]string{
		"nothing":                "",
		"trailing bytes":         "\xa1\x01\x61n\x00",
		"unknown field":          "\xa1\x03\x61n",
		"duplicate key":          "\xa2\x01\x61n\x01\x61m",
		"indefinite length":      "\xbf\x01\x61n\xff",
		"tag":                    "\xc1\xa1\x01\x61n",
		"wrong type":             "\xa1\x01\x01",
		"not UTF-8":              "\xa1\x01\x61\xff",
		"a map of 2^40 pairs":    "\xbb\x00\x00\x01\x00\x00\x00\x00\x00",
		"a string of 2^40 bytes": "\xa1\x01\x7b\x00\x00\x01\x00\x00\x00\x00\x00",
	} {
		if err := codec.Unmarshal([]byte(data), &record{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	var deep any
	if err := codec.Unmarshal([]byte(strings.Repeat("\x81", 1000)+"\x01"), &deep); err == nil {
		t.Error("a list in a list a thousand times: accepted")
	}
}

// What decodes encodes again to something that decodes to the same.
func FuzzRoundTrip(f *testing.F) {
	seed, err := codec.Marshal(record{"n", map[string]string{"role": "web"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		var r record
		if codec.Unmarshal(data, &r) != nil {
			return
		}
		again, err := codec.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back record
		if err := codec.Unmarshal(again, &back); err != nil {
			t.Fatalf("%x does not decode: %v", again, err)
		}
		if third, err := codec.Marshal(back); err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%x and %x, %v", again, third, err)
		}
	})
}
