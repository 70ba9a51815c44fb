package wasm

import (
	"testing"

	"shoal/internal/bounded"
)

// A dozen bytes that announce what they do not hold are refused before there is room for it.
func TestAnnouncedSizes(t *testing.T) {
	const header, huge = "\x00asm\x01\x00\x00\x00", "\xff\xff\xff\xff\x0f"
	if out, err := measured([]byte(fitting + "\x00\x05\x04name")); err != nil || string(out) != fitting {
		t.Errorf("%q, %v", out, err)
	}
	// A table without an end gets one: the instruction that makes it longer would stop at nothing.
	if out, err := measured([]byte(header + "\x04\x07\x02\x70\x00\x03\x70\x01\x01\x02")); err == nil {
		t.Errorf("a section that is longer than it says: %q", out)
	}
	least := header + "\x06\x0f\x01\x7e\x00\x42\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7f\x0b" // a global that begins as the least number of 64 bits
	if out, err := measured([]byte(least)); err != nil || string(out) != least {
		t.Errorf("%q, %v", out, err)
	}
	out, err := measured([]byte(header + "\x04\x08\x02\x70\x00\x03\x70\x01\x01\x02"))
	if want := header + "\x04\x0b\x02\x70\x01\x03\xc0\x84\x3d\x70\x01\x01\x02"; err != nil || string(out) != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
	for name, body := range map[string]string{
		"types":      "\x01\x05" + huge,
		"parameters": "\x01\x07\x01\x60" + huge,
		"results":    "\x01\x08\x01\x60\x00" + huge,
		"imports":    "\x02\x05" + huge,
		"a name":     "\x02\x06\x01" + huge,
		"functions":  "\x03\x05" + huge,
		"a table":    "\x04\x08\x01\x70\x00" + huge,
		"globals":    "\x06\x05" + huge,
		"exports":    "\x07\x05" + huge,
		"elements":   "\x09\x05" + huge,
		"references": "\x09\x0a\x01\x00\x41\x00\x0b" + huge,
		"functions'": "\x0a\x05" + huge,
		"locals":     "\x0a\x0a\x01\x08\x01" + huge + "\x7f\x0b",
		"data":       "\x0b\x05" + huge,
		"bytes":      "\x0b\x07\x01\x01" + huge,
		"a section":  "\x01" + huge,
	} {
		bounded.Run(t, bounded.MiB, func() {
			if _, err := measured([]byte(header + body)); err == nil {
				t.Errorf("%s: it is taken", name)
			}
		})
	}
}
