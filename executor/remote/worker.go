package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"

	"shoal/executor"
	"shoal/states"
)

// ErrLost ends a run whose operator is gone.
var ErrLost = errors.New("the connection was lost")

var errCancelled = errors.New("cancelled by the operator")

// Job is what a worker is to do.
type Job struct {
	Kind     Kind
	Plan     *states.Plan
	Contents executor.Contents
	Meta     executor.RunMeta
	// Note tells the operator what the work waits for; may be nil for who sends a job, and never is for who does it.
	Note func(text string)
}

// Work serves one operator: it says hello, does one job with run, and sends the report. When the stream ends before, the
// context of run ends, and what it did until then is its own to roll back.
func Work(ctx context.Context, in io.Reader, out io.Writer, hello Hello, run func(context.Context, Job) (executor.Report, bool, error)) error {
	hello.Protocol = Protocol
	w := &worker{pipe: &pipe{in: in, out: out}, waiting: map[uint64]chan answer{}}
	if err := w.pipe.send(message{Hello: &hello}); err != nil {
		return err
	}
	first, err := w.pipe.receive()
	if errors.Is(err, io.EOF) {
		return nil // the operator wanted to see the facts
	}
	if err != nil {
		return err
	}
	j, err := w.open(first.Job)
	if err != nil {
		return errors.Join(err, w.pipe.send(message{Result: &result{Error: err.Error()}}))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w.ctx = ctx
	go func() { cancel(w.listen(cancel)) }()
	report, found, err := run(ctx, j)
	return w.finish(report, found, err)
}

type worker struct {
	pipe      *pipe
	ctx       context.Context // of the run: asks end with it
	deferreds []states.Deferred

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan answer
}

func (w *worker) open(j *job) (Job, error) {
	if j == nil {
		return Job{}, errProtocol
	}
	out := Job{Kind: j.Kind, Contents: w, Meta: executor.RunMeta{Env: j.Env, Version: j.Version, Revision: j.Revision, Resolver: w}, Note: w.note}
	switch j.Kind {
	case Recover:
		return out, nil
	case Check, Apply:
	default:
		return Job{}, fmt.Errorf("job %q is not known to this version", j.Kind)
	}
	var err error
	if out.Plan, err = states.DecodePlan(j.Plan); err != nil {
		return Job{}, fmt.Errorf("the plan: %w", err)
	}
	w.deferreds = deferreds(out.Plan)
	return out, nil
}

// listen hands out answers until the stream ends, and returns why.
func (w *worker) listen(cancel func(error)) error {
	for {
		m, err := w.pipe.receive()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
		switch {
		case m.Cancel:
			cancel(errCancelled)
		case m.Answer != nil:
			w.mu.Lock()
			c := w.waiting[m.Answer.ID]
			delete(w.waiting, m.Answer.ID)
			w.mu.Unlock()
			if c != nil {
				c <- *m.Answer
			}
		default:
			return errProtocol
		}
	}
}

func (w *worker) ask(ctx context.Context, a ask) (answer, error) {
	c := make(chan answer, 1)
	w.mu.Lock()
	w.last++
	a.ID = w.last
	w.waiting[a.ID] = c
	w.mu.Unlock()
	if err := w.pipe.send(message{Ask: &a}); err != nil {
		return answer{}, fmt.Errorf("%w: %w", ErrLost, err)
	}
	select {
	case got := <-c:
		if got.Error != "" {
			return answer{}, errors.New(got.Error)
		}
		return got, nil
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	case <-w.ctx.Done():
		return answer{}, context.Cause(w.ctx)
	}
}

// Bytes implements executor.Contents.
func (w *worker) Bytes(ctx context.Context, c states.Content) ([]byte, error) {
	got, err := w.ask(ctx, ask{Hash: c.Hash})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.From, err)
	}
	if hashOf(got.Data) != c.Hash {
		return nil, fmt.Errorf("%s: %w", c.From, executor.ErrContents)
	}
	return got.Data, nil
}

// Resolve implements executor.Resolver: the tree is on the other side.
func (w *worker) Resolve(d states.Deferred, outputs map[states.OutputRef]any) (any, []byte, error) {
	a := ask{}
	for i, known := range w.deferreds {
		if reflect.DeepEqual(known, d) {
			a.Deferred = i + 1
			break
		}
	}
	for ref, v := range outputs {
		data, err := encodeAny(v)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: output %s of %s: %w", d.Place, ref.Output, ref.ID, err)
		}
		a.Outputs = append(a.Outputs, output{Ref: ref, Value: data})
	}
	got, err := w.ask(w.ctx, a)
	if err != nil {
		return nil, nil, err
	}
	if got.Content != nil {
		return *got.Content, got.Data, nil
	}
	v, err := decodeAny(got.Value)
	return v, got.Data, err
}

// note is dropped where nobody hears it.
func (w *worker) note(text string) { _ = w.pipe.send(message{Note: text}) }

// finish sends the report. A connection that is gone is no failure of the run.
func (w *worker) finish(report executor.Report, found bool, failed error) error {
	res := result{Found: found}
	if failed != nil {
		res.Error = failed.Error()
	}
	var err error
	if res.Report, err = json.Marshal(report); err != nil {
		res.Error = errors.Join(failed, err).Error()
	}
	return w.pipe.send(message{Result: &res})
}
