//go:build wasip1

// The module hosts: names of machines in /etc/hosts. It leaves capture and revert to shoal.
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o hosts.wasm ./examples/modules/hosts
package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"shoal/examples/modules/guest"
)

func main() {} // not called: the module is a library

//go:wasmexport shoal_call
func call(size uint32) { guest.Answer(size, handle) }

func handle(r guest.Request) (guest.Reply, error) {
	if r.Function != "entries" {
		return guest.Reply{}, fmt.Errorf("no function %q", r.Function)
	}
	op := "differs"
	switch r.Phase {
	case "check":
	case "apply":
		op = "write"
	default:
		return guest.Reply{}, guest.Unsupported
	}
	path := r.Text("file")
	now, err := guest.Read(path)
	if err != nil {
		return guest.Reply{}, err
	}
	wanted := now
	entries, _ := r.Params["entries"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		address, ok := entries[name].(string)
		if !ok || strings.ContainsAny(name+address, " \t\n#") || name == "" || address == "" {
			return guest.Reply{}, fmt.Errorf("entries: %q: the name of a machine and its address", name)
		}
		wanted = withEntry(wanted, address, name)
	}
	got, err := guest.Do(guest.Operation{Op: op, Path: path, Text: &wanted})
	if err != nil {
		return guest.Reply{}, err
	}
	out := map[string]any{"path": path, "lines": strings.Count(wanted, "\n"), "changed": got.Needed}
	return guest.Reply{Needed: got.Needed, Diff: got.Diff, Outputs: out}, nil
}

// withEntry takes a name out of all other lines, and adds a line for it.
func withEntry(text, address, name string) string {
	var lines []string
	found := false
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		words, comment, _ := strings.Cut(line, "#")
		fields := strings.Fields(words)
		if len(fields) < 2 || text == "" {
			lines = append(lines, line)
			continue
		}
		kept := fields[:1]
		for _, f := range fields[1:] {
			if f != name || fields[0] == address && !found {
				kept = append(kept, f)
				found = found || f == name
			}
		}
		switch {
		case len(kept) == len(fields):
			lines = append(lines, line)
		case len(kept) > 1 && comment != "":
			lines = append(lines, strings.Join(kept, " ")+" #"+comment)
		case len(kept) > 1:
			lines = append(lines, strings.Join(kept, " "))
		}
	}
	if text == "" {
		lines = nil
	}
	if !found {
		lines = append(lines, address+" "+name)
	}
	return strings.Join(lines, "\n") + "\n"
}
