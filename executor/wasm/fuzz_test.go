package wasm

import (
	"testing"

	"shoal/executor"
	"shoal/internal/bounded"
	"shoal/states"
)

// FuzzReply: what an extension module answers; it may be anything.
func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"error":{"message":"no"}}`))
	f.Add([]byte(`{"change":{"needed":true,"diff":"a -> b","outputs":{"n":1}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		bounded.Run(t, 8*bounded.MiB+500*uint64(len(data)), func() {
			_, _ = decodeReply(data)
			_, _, _ = decodeUndo(executor.Undo{Data: data})
		})
	})
}

// fitting is a module of one function, (i32) -> (), and a memory of one page, both exported under the names that are wanted.
const fitting = "\x00asm\x01\x00\x00\x00" + "\x01\x05\x01\x60\x01\x7f\x00" + "\x03\x02\x01\x00" + "\x05\x03\x01\x00\x01" +
	"\x07\x17\x02\x06memory\x02\x00\x0ashoal_call\x00\x00" + "\x0a\x04\x01\x02\x00\x0b"

// FuzzModule: the binary of a module is a file of a tree. It is refused or compiled, within bounds; nothing of it runs.
func FuzzModule(f *testing.F) {
	f.Add([]byte(fitting))
	l := &Loader{}
	if _, _, err := l.program(f.Context(), states.Extension{Limits: states.DefaultExtensionLimits}, []byte(fitting)); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("#!/bin/sh\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := &Loader{}
		x := states.Extension{Limits: states.DefaultExtensionLimits}
		bounded.Run(t, 64*bounded.MiB+10_000*uint64(len(data)), func() { _, _, _ = l.program(t.Context(), x, data) })
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}
