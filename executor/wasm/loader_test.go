package wasm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/moduletest"
	"shoal/executor/wasm"
	"shoal/states"
)

// binary writes WebAssembly by hand (sections of its specification, 5.5), for modules that no compiler would make.
type binary struct {
	imports, exports []string
	memory           byte // pages; 0: none
}

func vec(items ...string) string { return string([]byte{byte(len(items))}) + strings.Join(items, "") }
func name(s string) string       { return string([]byte{byte(len(s))}) + s }

func (b binary) bytes() []byte {
	section := func(id byte, body string) string { return string([]byte{id, byte(len(body))}) + body }
	var imports, exports []string
	for _, i := range b.imports {
		module, field, _ := strings.Cut(i, ".")
		imports = append(imports, name(module)+name(field)+"\x00\x00")
	}
	for _, e := range b.exports {
		index := byte(len(b.imports)) // of its one function
		if e == "memory" {
			exports = append(exports, name(e)+"\x02\x00")
			continue
		}
		exports = append(exports, name(e)+"\x00"+string([]byte{index}))
	}
	out := "\x00asm\x01\x00\x00\x00" + section(1, vec("\x60\x01\x7f\x00")) // (i32) -> ()
	out += section(2, vec(imports...)) + section(3, vec("\x00"))
	if b.memory > 0 {
		out += section(5, vec("\x00"+string([]byte{b.memory})))
	}
	return []byte(out + section(7, vec(exports...)) + section(10, vec("\x02\x00\x0b")))
}

func extensionOf(data []byte) states.Extension {
	return states.Extension{
		Name: "x", Binary: states.Content{Hash: "sha256:" + hashOf(data), Size: int64(len(data))}, Limits: states.DefaultExtensionLimits,
		Functions: []states.Function{{Module: "x", Name: "does"}},
	}
}

// Nothing of a module that has another hash, or is made for another interface, ever runs.
func TestWhatDoesNotFitIsRefused(t *testing.T) {
	fitting := binary{exports: []string{"memory", "shoal_call"}, memory: 1}
	limited := func(x *states.Extension) { x.Limits.MemoryMB = 1 }
	for _, c := range []struct {
		name string
		data []byte
		with func(*states.Extension)
		want string
	}{
		{"another hash", fitting.bytes(), func(x *states.Extension) { x.Binary.Hash = "sha256:" + strings.Repeat("0", 64) }, "its hash is sha256:"},
		{"it fits and does nothing", fitting.bytes(), nil, "it ended without a reply"},
		{"another version", binary{imports: []string{"shoal_2.request"}, exports: fitting.exports, memory: 1}.bytes(), nil, "it imports shoal_2.request: this shoal offers shoal_1 and wasi_snapshot_preview1"},
		{"no memory", binary{exports: []string{"shoal_call"}}.bytes(), nil, `it exports no memory named "memory"`},
		{"no entry", binary{exports: []string{"memory", "call"}, memory: 1}.bytes(), nil, "it exports no function shoal_call"},
		{"an operation that there is not", binary{imports: []string{"shoal_1.reboot"}, exports: fitting.exports, memory: 1}.bytes(), nil, "reboot"},
		{"more memory than its limit", binary{exports: fitting.exports, memory: 100}.bytes(), limited, "over limit of 16 pages"},
		{"no WebAssembly", []byte("#!/bin/sh\n"), nil, "compile:"},
		{"cut off", fitting.bytes()[:20], nil, "compile:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := extensionOf(c.data)
			if c.with != nil {
				c.with(&x)
			}
			modules, err := sharedLoader(t).Load(x, c.data)
			if err == nil {
				_, err = modules[0].Check(t.Context(), fake.New(), nil, executor.Params{})
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
		})
	}
}

// More modules than are kept compiled work all the same.
func TestCompiledModulesAreLimited(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "compiled")
	l := &wasm.Loader{CacheDir: dir}
	for round := range 2 {
		for n := range 40 {
			data := binary{exports: []string{"memory", "shoal_call", fmt.Sprint("other", n)}, memory: 1}.bytes()
			modules, err := l.Load(extensionOf(data), data)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := modules[0].Check(t.Context(), fake.New(), nil, nil); err == nil || !strings.Contains(err.Error(), "without a reply") {
				t.Fatalf("round %d, module %d: %v", round, n, err)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	files := func() (n int) {
		all, err := filepath.Glob(filepath.Join(dir, "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	if n := files(); n < 40 {
		t.Errorf("%d files are kept, of 40 modules", n)
	}
	if err := wasm.Trim(dir, 0); err != nil {
		t.Fatal(err)
	}
	if n := files(); n != 0 {
		t.Errorf("%d files are kept over the limit", n)
	}
	if err := wasm.Trim(filepath.Join(dir, "none"), 0); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}

// A module that says in its capture that it works on a whole folder has that folder put back.
func TestFoldersArePutBack(t *testing.T) {
	tree := trial{}.tree(t)
	params := executor.Params{"path": "/srv/bad/tree", "in": "never", "how": "tree"}
	moduletest.Run(t, moduletest.Suite{
		Module: functionOf(t, tree, "bad.does"), Host: machine, Snapshot: moduletest.Files,
		Cases: []moduletest.Case{
			{Name: "nothing there", Params: params},
			{Name: "a folder", Params: params, Setup: func(t *testing.T, h executor.Host) {
				moduletest.Put(t, h, "/srv/bad/tree/old/file", "old\n")
				moduletest.Put(t, h, "/srv/bad/tree/one", "another one\n")
			}},
		},
	})
}
