//go:build wasip1

// The module misbehaves does what a module must not, for the tests: in the phase that in names, what how says.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"
	"unsafe"

	"shoal/examples/modules/guest"
)

func main() {}

//go:wasmimport shoal_1 reply
func reply(ptr unsafe.Pointer, size uint32)

//go:wasmexport shoal_call
func call(size uint32) {
	guest.Answer(size, func(r guest.Request) (guest.Reply, error) {
		out, err := behave(r)
		if r.Phase == r.Text("in") {
			if err := misbehave(r); err != nil {
				return out, err
			}
			twist(r, &out)
		}
		return out, err
	})
	if garbage {
		text := []byte("it is {no} JSON")
		reply(unsafe.Pointer(&text[0]), uint32(len(text)))
	}
}

var (
	garbage bool
	kept    [][]byte
)

// behave is a file with one line.
func behave(r guest.Request) (guest.Reply, error) {
	if r.Text("how") == "tree" {
		return folder(r)
	}
	text := "well done\n"
	path := r.Text("path")
	o := guest.Operation{Op: "differs", Path: path, Text: &text}
	switch r.Phase {
	case "capture":
		out := guest.Reply{Paths: []guest.Path{{Path: path}}}
		if r.Text("how") == "commands" {
			out.Data = map[string]string{"before": "nothing"}
		}
		return out, nil
	case "revert":
		_, err := guest.Do(guest.Operation{Op: "run", Argv: []string{"/bin/acme", "undo"}})
		return guest.Reply{}, err
	case "apply":
		o.Op = "write"
		if r.Text("how") == "commands" {
			if _, err := guest.Do(guest.Operation{Op: "run", Argv: []string{"/bin/acme", "do"}}); err != nil {
				return guest.Reply{}, err
			}
		}
	}
	got, err := guest.Do(o)
	return guest.Reply{Needed: got.Needed, Diff: got.Diff, Outputs: map[string]any{"path": path, "seen": seen()}}, err
}

// folder is one with two files, and nothing else.
func folder(r guest.Request) (guest.Reply, error) {
	path := r.Text("path")
	var out guest.Reply
	switch r.Phase {
	case "revert":
		return out, nil
	case "capture":
		out.Paths = []guest.Path{{Path: path, Deep: true}}
		return out, nil
	}
	out.Outputs = map[string]any{"path": path, "seen": seen()}
	there, err := guest.Do(guest.Operation{Op: "stat", Path: path + "/old"})
	if err != nil {
		return out, err
	}
	if there.Exists {
		out.Needed, out.Diff = true, "remove old\n"
	}
	if there.Exists && r.Phase == "apply" {
		for _, name := range []string{"/old/file", "/old"} {
			if _, err := guest.Do(guest.Operation{Op: "remove", Path: path + name}); err != nil {
				return out, err
			}
		}
	}
	op := map[string]string{"check": "differs", "apply": "write"}[r.Phase]
	for _, name := range []string{"one", "below/two"} {
		got, err := guest.Do(guest.Operation{Op: op, Path: path + "/" + name, Text: &name, Mode: "0600"})
		if err != nil {
			return out, err
		}
		out.Needed, out.Diff = out.Needed || got.Needed, out.Diff+got.Diff
	}
	return out, nil
}

// seen is all that it can tell of clock, dice and environment.
func seen() string {
	dice := make([]byte, 8)
	_, _ = rand.Read(dice)
	return fmt.Sprintf("%d %s %q %q", time.Now().UnixNano(), hex.EncodeToString(dice), os.Environ(), os.Args)
}

func misbehave(r guest.Request) error {
	do := func(o guest.Operation) error {
		_, _ = guest.Do(o) // it does not even look at the answer
		return nil
	}
	text := "x"
	switch r.Text("how") {
	case "loop":
		for n := 0; ; n++ {
			kept = kept[:0]
		}
	case "allocate":
		for {
			kept = append(kept, make([]byte, 1<<20))
		}
	case "trap":
		var p *[4]byte
		p[3] = byte(len(kept))
	case "panic":
		panic("on purpose")
	case "exit":
		os.Exit(7)
	case "garbage":
		garbage = true
	case "pointer":
		reply(unsafe.Pointer(uintptr(0xfffffff0)), 64)
	case "long":
		kept = append(kept, make([]byte, 3<<20))
		reply(unsafe.Pointer(&kept[0][0]), 3<<20)
	case "operations":
		for {
			_, _ = guest.Do(guest.Operation{Op: "user", Name: "root"})
		}
	case "read outside":
		return do(guest.Operation{Op: "read", Path: "/etc/secret"})
	case "read dots":
		_, err := guest.Do(guest.Operation{Op: "read", Path: "/srv/bad/../../etc/secret"})
		return err
	case "write outside":
		return do(guest.Operation{Op: "write", Path: "/etc/passwd", Text: &text})
	case "write uncaptured":
		return do(guest.Operation{Op: "write", Path: "/srv/bad/other", Text: &text})
	case "write":
		return do(guest.Operation{Op: "write", Path: r.Text("path"), Text: &text})
	case "symlink":
		if err := do(guest.Operation{Op: "remove", Path: r.Text("path")}); err != nil {
			return err
		}
		if err := do(guest.Operation{Op: "symlink", Path: r.Text("path"), Target: "/etc"}); err != nil {
			return err
		}
		return do(guest.Operation{Op: "read", Path: r.Text("path") + "/secret"})
	case "setuid":
		return do(guest.Operation{Op: "write", Path: r.Text("path"), Text: &text, Mode: "4755"})
	case "command":
		return do(guest.Operation{Op: "run", Argv: []string{"/bin/sh", "-c", "true"}})
	case "command in check":
		return do(guest.Operation{Op: "run", Argv: []string{"/bin/acme", "do"}})
	case "query":
		r, err := guest.Do(guest.Operation{Op: "run", Argv: []string{"/bin/acme", "show", "all"}})
		if err == nil && !strings.Contains(r.Stdout, "shown") {
			err = fmt.Errorf("it says %q", r.Stdout)
		}
		return err
	case "fetch":
		return do(guest.Operation{Op: "write", Path: r.Text("path"), URL: "http://elsewhere.example/x", SHA256: strings.Repeat("0", 64), Limit: 1})
	case "content":
		_, err := guest.Do(guest.Operation{Op: "content", Hash: "sha256:" + strings.Repeat("0", 64)})
		return err
	case "unknown operation":
		_, err := guest.Do(guest.Operation{Op: "reboot"})
		return err
	case "missing":
		return &guest.Error{Code: "failed", Missing: &guest.Missing{Kind: "user", Name: "nobody-here"}}
	}
	return nil
}

// twist makes a reply wrong.
func twist(r guest.Request, out *guest.Reply) {
	no := false
	switch r.Text("how") {
	case "undeclared output":
		out.Outputs["other"] = 1
	case "wrong output":
		out.Outputs["path"] = "not/absolute"
	case "no diff":
		out.Needed, out.Diff = true, ""
	case "never done":
		out.Needed, out.Diff = true, "again\n"
	case "irreversible":
		out.Reversible = &no
	case "captures outside":
		out.Paths = append(out.Paths, guest.Path{Path: "/etc/passwd"})
	}
}
