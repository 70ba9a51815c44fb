package remote

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/internal/codec"
	"shoal/states"
)

// pair joins a worker and an operator.
func pair(t *testing.T, run func(context.Context, Job) (executor.Report, bool, error)) (session *Session, hangUp func(), ended <-chan error) {
	t.Helper()
	workerIn, toWorker := io.Pipe()
	operatorIn, toOperator := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- Work(t.Context(), workerIn, toOperator, Hello{Version: "1", Facts: map[string]string{"os.name": "x"}}, run)
		_ = toOperator.Close()
	}()
	hangUp = func() { _, _ = toWorker.Close(), operatorIn.Close() }
	t.Cleanup(hangUp)
	session, err := Open(operatorIn, toWorker)
	if err != nil {
		t.Fatal(err)
	}
	return session, hangUp, done
}

func content(text string) states.Content {
	return states.Content{Hash: hashOf([]byte(text)), Size: int64(len(text)), From: "content"}
}

// contentsFunc is executor.Contents.
type contentsFunc func(states.Content) ([]byte, error)

func (f contentsFunc) Bytes(_ context.Context, c states.Content) ([]byte, error) { return f(c) }

// resolverFunc is executor.Resolver.
type resolverFunc func(states.Deferred, map[states.OutputRef]any) (any, []byte, error)

func (f resolverFunc) Resolve(d states.Deferred, o map[states.OutputRef]any) (any, []byte, error) {
	return f(d, o)
}

func plan(params map[string]any, rendered ...string) *states.Plan {
	p := &states.Plan{Rendered: map[string][]byte{}}
	p.Invocations = []states.StateInvocation{{ID: "c/s", Number: 1, Parts: []states.StatePartInvocation{{Module: "file", Function: "managed", Params: params}}}}
	for _, text := range rendered {
		p.Rendered[hashOf([]byte(text))] = []byte(text)
	}
	return p
}

func TestWork(t *testing.T) {
	source := content("of the tree")
	source.Source = "files/x"
	ref := states.OutputRef{As: "a", ID: "c/a", Number: 1, Output: "port"}
	late := states.Deferred{Text: "${x}", Type: states.String, Reads: []states.OutputRef{ref}, Place: states.Place{File: "f", Line: 1, Column: 2}}
	second := late
	second.Text = "${y}"
	report := executor.Report{Node: "n", Result: executor.Converged, States: []executor.StateReport{{ID: "c/s", Outputs: map[string]any{}}}}
	session, _, ended := pair(t, func(ctx context.Context, j Job) (executor.Report, bool, error) {
		for _, c := range []states.Content{content("rendered"), source} {
			data, err := j.Contents.Bytes(ctx, c)
			if err != nil || hashOf(data) != c.Hash {
				t.Errorf("content: %q, %v", data, err)
			}
		}
		if _, err := j.Contents.Bytes(ctx, content("of another machine")); err == nil || !strings.Contains(err.Error(), "the plan names no content") {
			t.Errorf("a content that the plan does not name: %v", err)
		}
		got := j.Plan.Invocations[0].Parts[0].Params["list"].([]any)
		v, data, err := j.Meta.Resolver.Resolve(got[1].(states.Deferred), map[states.OutputRef]any{ref: int64(80)})
		if want := []any{"${y}", int64(80), true, 1.5, map[string]any{"a": nil}}; err != nil || data != nil || !reflect.DeepEqual(v, want) {
			t.Errorf("value %#v, %v", v, err)
		}
		v, data, err = j.Meta.Resolver.Resolve(got[0].(states.Deferred), nil)
		if want := content("late"); err != nil || string(data) != "late" || !reflect.DeepEqual(v, want) {
			t.Errorf("content %#v, %q, %v", v, data, err)
		}
		if _, _, err := j.Meta.Resolver.Resolve(states.Deferred{Text: "${secrets}"}, nil); err == nil {
			t.Error("a value that the plan does not leave open was evaluated")
		}
		return report, true, nil
	})
	if session.Hello.Facts["os.name"] != "x" || session.Hello.Protocol != Protocol {
		t.Errorf("%+v", session.Hello)
	}
	got, found, err := session.Do(t.Context(), Job{
		Kind: Apply, Plan: plan(map[string]any{"a": content("rendered"), "b": source, "list": []any{late, second}}, "rendered"),
		Contents: contentsFunc(func(c states.Content) ([]byte, error) {
			if c != source {
				t.Errorf("asked for %+v", c)
			}
			return []byte("of the tree"), nil
		}),
		Meta: executor.RunMeta{Resolver: resolverFunc(func(d states.Deferred, o map[states.OutputRef]any) (any, []byte, error) {
			if d.Text == "${x}" {
				return content("late"), []byte("late"), nil
			}
			return []any{d.Text, o[ref], true, 1.5, map[string]any{"a": nil}}, nil, nil
		})},
	}, func() {})
	if err != nil || !found || !reflect.DeepEqual(got, report) {
		t.Errorf("%+v, %v, %v", got, found, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestNotes: what the work waits for is told while it goes on, and does nothing to the terminal.
func TestNotes(t *testing.T) {
	session, _, _ := pair(t, func(_ context.Context, j Job) (executor.Report, bool, error) {
		for range maxNotes + 5 {
			j.Note("held by \x1b[2Jpid 7\n" + strings.Repeat("x", maxNote))
		}
		return executor.Report{}, false, nil
	})
	var told []string
	if _, _, err := session.Do(t.Context(), Job{Kind: Recover, Note: func(text string) { told = append(told, text) }}, func() {}); err != nil {
		t.Fatal(err)
	}
	if len(told) != maxNotes || !strings.HasPrefix(told[0], "held by [2Jpid 7xxx") || len(told[0]) > maxNote {
		t.Errorf("%d notes, the first %.80q", len(told), told[0])
	}
}

// TestLost: the run ends when the operator is gone, wherever it is, and says why.
func TestLost(t *testing.T) {
	began := make(chan struct{})
	why := make(chan error, 1)
	session, hangUp, ended := pair(t, func(ctx context.Context, _ Job) (executor.Report, bool, error) {
		close(began)
		<-ctx.Done()
		why <- context.Cause(ctx)
		return executor.Report{}, false, nil
	})
	go func() {
		<-began
		hangUp()
	}()
	if _, _, err := session.Do(t.Context(), Job{Kind: Apply, Plan: plan(nil)}, func() {}); !errors.Is(err, ErrLost) {
		t.Errorf("operator: %v", err)
	}
	if err := <-why; !errors.Is(err, ErrLost) {
		t.Errorf("worker: %v", err)
	}
	if err := <-ended; err == nil {
		t.Error("the report reached nobody, and there is no error")
	}
}

// TestLostWhileAsking: an answer that never comes does not hold the rollback up.
func TestLostWhileAsking(t *testing.T) {
	asked := make(chan error, 1)
	var hangUp func()
	ready := make(chan struct{})
	session, hang, _ := pair(t, func(ctx context.Context, j Job) (executor.Report, bool, error) {
		_, err := j.Contents.Bytes(context.WithoutCancel(ctx), content("x"))
		asked <- err
		return executor.Report{}, false, nil
	})
	hangUp = hang
	close(ready)
	_, _, err := session.Do(t.Context(), Job{Kind: Apply, Plan: plan(map[string]any{"a": content("x")}), Contents: contentsFunc(func(states.Content) ([]byte, error) {
		<-ready
		hangUp()
		return nil, errors.New("gone")
	})}, func() {})
	if !errors.Is(err, ErrLost) {
		t.Errorf("operator: %v", err)
	}
	if err := <-asked; err == nil {
		t.Error("an answer that never came")
	}
}

// TestCancel: the operator stops the run, and hears what became of it.
func TestCancel(t *testing.T) {
	began := make(chan struct{})
	session, _, _ := pair(t, func(ctx context.Context, _ Job) (executor.Report, bool, error) {
		close(began)
		<-ctx.Done()
		return executor.Report{Result: executor.RolledBackRun, Error: context.Cause(ctx).Error()}, false, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	got, _, err := session.Do(ctx, Job{Kind: Apply, Plan: plan(nil)}, func() { t.Error("given up") })
	if err != nil || got.Result != executor.RolledBackRun || got.Error != errCancelled.Error() {
		t.Errorf("%+v, %v", got, err)
	}
}

func frame(t *testing.T, m message) []byte {
	t.Helper()
	data, err := codec.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(data))), data...)
}

func TestHostileWorker(t *testing.T) {
	many := map[string]string{}
	for i := range maxFacts + 1 {
		many[string(rune('a'+i%26))+strings.Repeat("x", i)] = ""
	}
	for name, data := range map[string][]byte{
		"nothing":         nil,
		"a huge length":   {255, 255, 255, 255, 1},
		"half a message":  frame(t, message{Hello: &Hello{Protocol: Protocol}})[:9],
		"no hello":        frame(t, message{Cancel: true}),
		"another version": frame(t, message{Hello: &Hello{Protocol: Protocol + 1, Version: "9"}}),
		"many facts":      frame(t, message{Hello: &Hello{Protocol: Protocol, Facts: many}}),
		"a long fact":     frame(t, message{Hello: &Hello{Protocol: Protocol, Facts: map[string]string{"a": strings.Repeat("x", maxFact)}}}),
		"rubbish":         []byte("Last login: yesterday\n"),
	} {
		if s, err := Open(bytes.NewReader(data), io.Discard); err == nil {
			t.Errorf("%s: %+v", name, s.Hello)
		}
	}
	for name, data := range map[string][]byte{
		"a second hello": frame(t, message{Hello: &Hello{Protocol: Protocol}}),
		"no report":      frame(t, message{Result: &result{Report: []byte("{")}}),
		"an error":       frame(t, message{Result: &result{Report: []byte("{}"), Error: "it went wrong"}}),
	} {
		s := &Session{pipe: &pipe{in: bytes.NewReader(data), out: io.Discard}}
		if got, _, err := s.Do(t.Context(), Job{Kind: Recover}, func() {}); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func FuzzReceive(f *testing.F) {
	for _, m := range []message{{Cancel: true}, {Hello: &Hello{Facts: map[string]string{"a": "b"}}}, {Ask: &ask{ID: 1, Outputs: []output{{Value: []byte("1")}}}}, {Answer: &answer{Content: &states.Content{Hash: "x"}}}} {
		data, err := codec.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append(binary.LittleEndian.AppendUint32(nil, uint32(len(data))), data...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &pipe{in: bytes.NewReader(data), out: io.Discard}
		m, err := p.receive()
		if err != nil {
			return
		}
		var again bytes.Buffer
		q := &pipe{in: &again, out: &again}
		if err := q.send(m); err != nil {
			t.Fatal(err)
		}
		if back, err := q.receive(); err != nil || !reflect.DeepEqual(back, m) {
			t.Fatalf("%+v, %v, wanted %+v", back, err, m)
		}
	})
}
