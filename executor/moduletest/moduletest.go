// Package moduletest is the conformance suite of executor.Module: the laws that its interface states, tried on each case
// that a module gives.
package moduletest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/states"
)

// Suite tries one module on a kind of host.
type Suite struct {
	Module executor.Module
	// Host makes a fresh host; what it holds ends with the test.
	Host func(t *testing.T) executor.Host
	// Snapshot reads all that the module may touch, in a form that reflect.DeepEqual compares: contents, owners, modes, times.
	Snapshot func(t *testing.T, h executor.Host) any
	Cases    []Case
	// NoFaults says why the operations of its Applies and Reverts are not let fail, as of a machine of which there is only one;
	// empty: they are. Each of them needs a fresh host.
	NoFaults string
}

// Case is one machine and the parameters that are asked of it.
type Case struct {
	Name   string
	Params executor.Params
	// Contents of the Content parameters, by hash; see Text.
	Contents Texts
	// Setup brings the fresh host to the machine before; nil leaves it.
	Setup func(t *testing.T, h executor.Host)
	// Matches: the machine is as asked from the start.
	Matches bool
	// Fails: Apply returns an error, and leaves the machine as it was.
	Fails bool
	// Irreversible: Capture says so, and the suite does not revert.
	Irreversible bool
}

// Texts holds contents by hash. It is an executor.Contents.
type Texts map[string][]byte

// Text adds s and returns the parameter value that names it.
func (ts Texts) Text(s string) states.Content {
	sum := sha256.Sum256([]byte(s))
	hash := "sha256:" + hex.EncodeToString(sum[:])
	ts[hash] = []byte(s)
	return states.Content{Hash: hash, Size: int64(len(s)), From: "content"}
}

// Bytes returns what Text was given.
func (ts Texts) Bytes(_ context.Context, c states.Content) ([]byte, error) {
	data, ok := ts[c.Hash]
	if !ok {
		return nil, fmt.Errorf("no contents %s", c.Hash)
	}
	return data, nil
}

// Run tries every case of the suite against the laws of executor.Module, and then lets every operation of every Apply and
// Revert fail once in each way.
func Run(t *testing.T, s Suite) {
	t.Helper()
	f := s.Module.Function()
	for _, c := range s.Cases {
		t.Run(c.Name, func(t *testing.T) { s.run(t, c) })
		tried(f.FullName(), nil)
		if c.Matches || c.Irreversible || s.NoFaults != "" {
			continue
		}
		t.Run(c.Name+", with faults", func(t *testing.T) { tried(f.FullName(), s.faults(t, c)) })
	}
}

// stages are the paths that the engine sweeps after a crash.
func (s Suite) stages(c Case, u executor.Undo) []string {
	paths := u.Stages
	for _, p := range s.Module.Function().Params {
		if name, ok := c.Params[p.Name].(string); ok && p.Provides == states.ResourcePath {
			paths = append(paths, p.Resource(name))
		}
	}
	return paths
}

func (s Suite) run(t *testing.T, c Case) {
	h := s.Host(t)
	if c.Setup != nil {
		c.Setup(t, h)
	}
	before := s.Snapshot(t, h)
	change := s.check(t, h, c)
	s.same(t, h, before, "Check changed the machine")
	if c.Matches {
		if change.Needed {
			t.Fatalf("Check wants to change a machine that matches:\n%s", change.Diff)
		}
		return
	}
	if !change.Needed {
		t.Fatal("Check says that nothing is needed")
	}
	if change.Diff == "" {
		t.Error("Check gave no diff")
	}
	undo := s.capture(t, h, c)
	s.same(t, h, before, "Capture changed the machine")
	s.revertIsHarmless(t, h, c, undo, before)
	s.apply(t, h, c, change, before)
	if !c.Fails && !c.Irreversible {
		s.revert(t, h, c, undo, before)
	}
}

func (s Suite) check(t *testing.T, h executor.Host, c Case) executor.Change {
	t.Helper()
	o := s.onlooker(h, c)
	change, err := s.Module.Check(t.Context(), o, c.Contents, c.Params)
	if f := s.Module.Function(); f.Isolated && len(o.strayed) > 0 {
		t.Errorf("Check of %s, which is isolated, looks elsewhere: %s", f.FullName(), strings.Join(o.strayed, ", "))
	}
	if err != nil {
		t.Fatalf("Check: %v", err)
	}
	s.outputs(t, "Check", change.Outputs)
	return change
}

func (s Suite) capture(t *testing.T, h executor.Host, c Case) executor.Undo {
	t.Helper()
	undo, err := s.Module.Capture(t.Context(), h, c.Params)
	if err != nil {
		t.Fatalf("Capture: %v", err)
	}
	if undo.Reversible == c.Irreversible {
		t.Fatalf("Capture says reversible %v", undo.Reversible)
	}
	if !undo.Reversible && undo.Why == "" {
		t.Error("irreversible, and does not say what is left")
	}
	return withOld(undo)
}

// withOld does what the engine does: Contents go to its keeping, and Revert opens them from there.
func withOld(u executor.Undo) executor.Undo {
	kept := u.Contents
	u.Contents, u.Rollback = nil, true
	u.Old = func(hash string) ([]byte, error) {
		data, ok := kept[hash]
		if !ok {
			return nil, fmt.Errorf("no old contents %s", hash)
		}
		return data, nil
	}
	return u
}

// revertIsHarmless: a Revert whose Apply never ran changes nothing.
func (s Suite) revertIsHarmless(t *testing.T, h executor.Host, c Case, u executor.Undo, before any) {
	t.Helper()
	if c.Irreversible {
		return
	}
	if err := s.Module.Revert(t.Context(), h, c.Params, u); err != nil {
		t.Fatalf("Revert before Apply: %v", err)
	}
	s.same(t, h, before, "Revert without Apply changed the machine")
}

func (s Suite) apply(t *testing.T, h executor.Host, c Case, change executor.Change, before any) {
	t.Helper()
	outputs, err := s.Module.Apply(t.Context(), h, c.Contents, c.Params)
	if c.Fails {
		if err == nil {
			t.Fatal("Apply did not fail")
		}
		s.same(t, h, before, "a failed Apply changed the machine")
		return
	}
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	s.outputs(t, "Apply", outputs)
	s.allOutputs(t, change.Outputs, outputs)
	if after := s.check(t, h, c); after.Needed && !change.Always {
		t.Fatalf("after Apply, Check still wants:\n%s", after.Diff)
	}
}

// revert twice: it restores, and is idempotent.
func (s Suite) revert(t *testing.T, h executor.Host, c Case, u executor.Undo, before any) {
	t.Helper()
	for _, which := range []string{"first", "second"} {
		if err := s.Module.Revert(t.Context(), h, c.Params, u); err != nil {
			t.Fatalf("%s Revert: %v", which, err)
		}
		s.same(t, h, before, which+" Revert did not restore the machine")
	}
}

func (s Suite) same(t *testing.T, h executor.Host, before any, message string) {
	t.Helper()
	if after := s.Snapshot(t, h); !reflect.DeepEqual(before, after) {
		t.Fatalf("%s:\n%s", message, executor.TextDiff("machine", lines(before), lines(after)))
	}
}

// lines writes a snapshot with one line for each element, so that a failure shows what differs and not the whole machine.
func lines(snapshot any) []byte {
	var b bytes.Buffer
	switch v := reflect.ValueOf(snapshot); v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			fmt.Fprintf(&b, "%+v\n", v.Index(i))
		}
	case reflect.Map:
		var all []string
		for _, key := range v.MapKeys() {
			all = append(all, fmt.Sprintf("%v: %+v\n", key, v.MapIndex(key)))
		}
		slices.Sort(all)
		b.WriteString(strings.Join(all, ""))
	default:
		fmt.Fprintf(&b, "%+v\n", snapshot)
	}
	return b.Bytes()
}
