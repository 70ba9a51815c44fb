package wasm

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"shoal/executor"
	"shoal/states"
)

// The interface, docs/modules.md: what a module imports, which carries the version, and what it exports.
const (
	hostModule = "shoal_1"
	entryPoint = "shoal_call"
)

// Limits of one call beside those of the site.
const (
	maxOperations = 10_000
	maxSaid       = 1 << 10 // bytes kept of what it writes to its standard error
)

// session is one call of a module: what it was asked, what it may do, and what it answered.
type session struct {
	guard    *guard
	contents executor.Contents
	named    map[string]states.Content // the contents that its parameters name, by hash
	limit    int                       // bytes of an answer or a request
	request  []byte
	answer   []byte // to the last operation
	reply    []byte
	count    int // operations
}

type sessionKey struct{}

// offer makes the functions that a module imports. Those of one call find it in the context.
func offer(ctx context.Context, r wazero.Runtime) error {
	i32 := []api.ValueType{api.ValueTypeI32}
	two := []api.ValueType{api.ValueTypeI32, api.ValueTypeI32}
	b := r.NewHostModuleBuilder(hostModule)
	add := func(name string, results []api.ValueType, do func(ctx context.Context, s *session, m api.Module, ptr, n uint32) uint64) {
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, m api.Module, stack []uint64) {
			s, ok := ctx.Value(sessionKey{}).(*session)
			if !ok {
				panic(errors.New("no call is going on"))
			}
			stack[0] = do(ctx, s, m, uint32(stack[0]), uint32(stack[1]))
		}), two, results).Export(name)
	}
	add("request", i32, func(_ context.Context, s *session, m api.Module, ptr, n uint32) uint64 {
		return hand(m, ptr, n, s.request)
	})
	add("answer", i32, func(_ context.Context, s *session, m api.Module, ptr, n uint32) uint64 {
		return hand(m, ptr, n, s.answer)
	})
	add("operate", i32, func(ctx context.Context, s *session, m api.Module, ptr, n uint32) uint64 {
		s.answer = s.operate(ctx, s.take(m, ptr, n))
		return uint64(len(s.answer))
	})
	add("reply", nil, func(_ context.Context, s *session, m api.Module, ptr, n uint32) uint64 {
		s.reply = s.take(m, ptr, n)
		return 0
	})
	_, err := b.Instantiate(ctx)
	return err
}

// hand copies data into the module's memory, as far as it has room for it, and returns how much that was.
func hand(m api.Module, ptr, n uint32, data []byte) uint64 {
	data = data[:min(int(n), len(data))]
	if !m.Memory().Write(ptr, data) {
		panic(fmt.Errorf("it names %d bytes at %d, which are outside of its memory", n, ptr))
	}
	return uint64(len(data))
}

// take copies bytes out of the module's memory.
func (s *session) take(m api.Module, ptr, n uint32) []byte {
	if int64(n) > int64(s.limit) {
		panic(fmt.Errorf("it says %d bytes at once, more than its limit of %d MiB (limits.output_mb)", n, s.limit>>20))
	}
	data, ok := m.Memory().Read(ptr, n)
	if !ok {
		panic(fmt.Errorf("it names %d bytes at %d, which are outside of its memory", n, ptr))
	}
	return slices.Clone(data)
}

// request is what a module is asked.
type request struct {
	ABI      int             `json:"abi"`
	Phase    string          `json:"phase"`
	Function string          `json:"function"`
	Params   map[string]any  `json:"params"`
	Data     json.RawMessage `json:"data,omitempty"` // of a revert: what capture gave
}

// call asks a module in an instance of its own.
func (f *function) call(ctx context.Context, s *session, r request) error {
	p, done, err := f.loader.program(ctx, f.extension, f.binary)
	if err != nil {
		return f.wrap(r.Phase, err)
	}
	defer done()
	if s.request, err = json.Marshal(r); err != nil {
		return f.wrap(r.Phase, err)
	}
	s.limit = f.extension.Limits.OutputMB << 20
	said := &said{}
	limited, cancel := context.WithTimeoutCause(ctx, f.extension.Limits.Time, fmt.Errorf("it took longer than %s (limits.time)", f.extension.Limits.Time))
	defer cancel()
	err = run(context.WithValue(limited, sessionKey{}, s), p, f.config(said), len(s.request))
	switch {
	case s.guard.refused != nil:
		return fmt.Errorf("%s: %w", f.about.FullName(), s.guard.refused)
	case err != nil && limited.Err() != nil:
		return f.wrap(r.Phase, context.Cause(limited))
	case err != nil:
		return f.wrap(r.Phase, fmt.Errorf("%w%s", f.end(err), said))
	case s.reply == nil:
		return f.wrap(r.Phase, fmt.Errorf("it ended without a reply%s", said))
	}
	return nil
}

// config is the world of a module: no files, no arguments, and a clock and dice that always fall the same way, unless
// granted.
func (f *function) config(said *said) wazero.ModuleConfig {
	allow := f.extension.Allow
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize").WithStderr(said)
	if allow.Clock {
		config = config.WithSysWalltime().WithSysNanotime()
	}
	if allow.Random {
		config = config.WithRandSource(rand.Reader)
	}
	for name, value := range allow.Env {
		config = config.WithEnv(name, value)
	}
	return config
}

func run(ctx context.Context, p *program, config wazero.ModuleConfig, size int) error {
	m, err := p.runtime.InstantiateModule(ctx, p.compiled, config)
	if err != nil {
		return err
	}
	_, err = m.ExportedFunction(entryPoint).Call(ctx, uint64(size))
	if err != nil {
		err = &ended{err, m.Memory().Size()}
	}
	_ = m.Close(context.WithoutCancel(ctx))
	return err
}

// ended is how a module came to an end other than by returning.
type ended struct {
	err    error
	memory uint32 // bytes that it had
}

func (e *ended) Unwrap() error { return e.err }
func (e *ended) Error() string { return e.err.Error() }

// end says why a module ended, without its stack.
func (f *function) end(err error) error {
	text, _, _ := strings.Cut(err.Error(), "\nwasm stack trace:")
	text = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "(recovered by wazero)"))
	var exit *sys.ExitError
	if errors.As(err, &exit) {
		text = fmt.Sprintf("it ended with status %d", exit.ExitCode())
	}
	var e *ended
	if errors.As(err, &e) {
		text += fmt.Sprintf("; it had %d of %d MiB of memory (limits.memory_mb)", e.memory>>20, f.extension.Limits.MemoryMB)
	}
	return errors.New(text)
}

func (f *function) wrap(phase string, err error) error {
	return fmt.Errorf("%s: %s of extension module %s: %w", f.about.FullName(), phase, f.extension.Name, err)
}

// said keeps the beginning of what a module writes to its standard error.
type said struct{ text bytes.Buffer }

func (s *said) Write(p []byte) (int, error) {
	s.text.Write(p[:min(len(p), maxSaid-s.text.Len())])
	return len(p), nil
}

func (s *said) String() string {
	text := strings.TrimSpace(strings.ToValidUTF8(s.text.String(), "?"))
	if text == "" {
		return ""
	}
	return "; it says:\n" + text
}
