package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"shoal/executor"
	"shoal/states"
)

// maxFacts is how many facts a machine may have, maxFact how long one may be.
const (
	maxFacts = 1000
	maxFact  = 4096
)

// maxNotes is how many notes of a worker are passed on, maxNote how much of each, in bytes.
const (
	maxNotes = 1000
	maxNote  = 1000
)

// patience is how long a worker that was told to stop may take to roll back.
const patience = 2 * time.Minute

// Session is a worker that has said hello.
type Session struct {
	Hello Hello
	pipe  *pipe
}

// Open reads what the worker says of itself. It waits until in ends; close that to give up.
func Open(in io.Reader, out io.Writer) (*Session, error) {
	p := &pipe{in: in, out: out}
	m, err := p.receive()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLost, err)
	}
	if m.Hello == nil {
		return nil, errProtocol
	}
	if m.Hello.Protocol != Protocol {
		return nil, fmt.Errorf("the program there speaks protocol %d, this one %d: they are of different versions (%s there)", m.Hello.Protocol, Protocol, m.Hello.Version)
	}
	if len(m.Hello.Facts) > maxFacts {
		return nil, errProtocol
	}
	for k, v := range m.Hello.Facts {
		if len(k)+len(v) > maxFact {
			return nil, errProtocol
		}
	}
	return &Session{Hello: *m.Hello, pipe: p}, nil
}

// Do sends a job and answers questions about it until its report comes. found is about Recover. Cancelling ctx tells the worker
// to stop, and waits for its report until give up is called for: in then has to be closed by the caller.
func (s *Session) Do(ctx context.Context, j Job, giveUp func()) (report executor.Report, found bool, err error) {
	first := job{Kind: j.Kind, Env: j.Meta.Env, Version: j.Meta.Version, Revision: j.Meta.Revision}
	a := &answers{job: j}
	if j.Plan != nil {
		if first.Plan, err = states.EncodePlan(j.Plan); err != nil {
			return report, false, err
		}
		a.deferreds, a.sources = deferreds(j.Plan), sources(j.Plan)
	}
	if err := s.pipe.send(message{Job: &first}); err != nil {
		return report, false, fmt.Errorf("%w: %w", ErrLost, err)
	}
	stop := context.AfterFunc(ctx, func() {
		_ = s.pipe.send(message{Cancel: true}) // a worker that is gone needs not be told
		time.AfterFunc(patience, giveUp)
	})
	defer stop()
	for notes := 0; ; {
		m, err := s.pipe.receive()
		switch {
		case err != nil:
			return report, false, fmt.Errorf("%w: %w", ErrLost, err)
		case m.Result != nil:
			return finished(*m.Result)
		case m.Ask != nil:
			got := a.answer(context.WithoutCancel(ctx), *m.Ask)
			if err := s.pipe.send(message{Answer: &got}); err != nil {
				return report, false, fmt.Errorf("%w: %w", ErrLost, err)
			}
		case m.Note != "":
			if notes++; j.Note != nil && notes <= maxNotes {
				j.Note(printable(m.Note[:min(len(m.Note), maxNote)]))
			}
		default:
			return report, false, errProtocol
		}
	}
}

// printable takes out what a terminal would act on.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

func finished(r result) (executor.Report, bool, error) {
	if r.Error != "" {
		return executor.Report{}, false, errors.New(r.Error)
	}
	report, err := decodeReport(r.Report)
	return report, r.Found, err
}

// answers gives a worker what its plan names.
type answers struct {
	job       Job
	deferreds []states.Deferred
	sources   map[string]states.Content
}

func (a *answers) answer(ctx context.Context, q ask) answer {
	out := answer{ID: q.ID}
	var err error
	if q.Hash != "" {
		out.Data, err = a.content(ctx, q.Hash)
	} else {
		err = a.resolve(q, &out)
	}
	if err != nil {
		return answer{ID: q.ID, Error: err.Error()}
	}
	return out
}

func (a *answers) content(ctx context.Context, hash string) ([]byte, error) {
	if a.job.Plan != nil {
		if data, ok := a.job.Plan.Rendered[hash]; ok {
			return data, nil
		}
	}
	c, ok := a.sources[hash]
	if !ok || a.job.Contents == nil {
		return nil, fmt.Errorf("the plan names no content %.80q", hash)
	}
	return a.job.Contents.Bytes(ctx, c)
}

func (a *answers) resolve(q ask, out *answer) error {
	if q.Deferred < 1 || q.Deferred > len(a.deferreds) || a.job.Meta.Resolver == nil {
		return errors.New("the plan leaves no such value open")
	}
	outputs := make(map[states.OutputRef]any, len(q.Outputs))
	for _, o := range q.Outputs {
		v, err := decodeAny(o.Value)
		if err != nil {
			return fmt.Errorf("output %s of %s: %w", o.Ref.Output, o.Ref.ID, err)
		}
		outputs[o.Ref] = v
	}
	v, rendered, err := a.job.Meta.Resolver.Resolve(a.deferreds[q.Deferred-1], outputs)
	if err != nil {
		return err
	}
	out.Data = rendered
	if c, ok := v.(states.Content); ok {
		out.Content = &c
		return nil
	}
	out.Value, err = encodeAny(v)
	return err
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
