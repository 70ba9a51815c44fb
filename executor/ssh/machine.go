package ssh

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	cryptossh "golang.org/x/crypto/ssh"

	"shoal/executor"
)

const (
	// searchPath is where commands are looked for, as on the machine itself.
	searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// readyLimit is how much a login may say before its command begins, in bytes; readyTimeout how long that may take.
	readyLimit   = 64 << 10
	readyTimeout = 30 * time.Second
	// sudoTimeout is the same where a person is asked.
	sudoTimeout = 3 * time.Minute
	// stderrLimit is how much is kept of what goes to standard error, in bytes, where nobody says.
	stderrLimit = 64 << 10
	// maxScript is the most bytes of a script that is sent: arguments, environment and all.
	maxScript = 1 << 20
)

// The words by which the beginning of a command and sudo's question are known.
const (
	readyWord = "shoal-ready "
	sudoAsks  = "shoal-asks-for-a-password "
)

// A login's environment is its own; of it the place of the cache is kept. Then the script is read, and not a byte behind it.
const (
	loginScript = `exec env -i %s LANG=C.UTF-8 ${XDG_CACHE_HOME:+"XDG_CACHE_HOME=$XDG_CACHE_HOME"} sh -c %s`
	readyScript = `read -r _ _ _ _ g _ </proc/$$/stat; echo "%s${g:-$$}"; eval "$(dd bs=1 count=%d 2>/dev/null)"`
)

// ErrLost is the kind of error of a connection that broke.
var ErrLost = errors.New("the connection was lost")

// ErrSudo is the kind of error of a machine that lets this user not be root.
var ErrSudo = errors.New("sudo")

// Machine runs scripts of a POSIX shell over one connection.
type Machine struct {
	client *cryptossh.Client
	prefix string                 // sudo, or nothing
	secret func() ([]byte, error) // for sudo; nil: it asks nothing
}

// NewMachine uses an open connection, as the user that logged in.
func NewMachine(client *cryptossh.Client) *Machine { return &Machine{client: client} }

// Sudo is the same machine as root. ask is for a machine that wants a password; nil: there is nobody to be asked.
func (m *Machine) Sudo(ctx context.Context, ask func() ([]byte, error)) (*Machine, error) {
	quiet := &Machine{client: m.client, prefix: "sudo -n -- "}
	_, err := quiet.output(ctx, "true")
	if err == nil || errors.Is(err, ErrLost) || ctx.Err() != nil {
		return quiet, err
	}
	if ask == nil {
		return nil, fmt.Errorf("%w wants a password, and there is no terminal to ask on: allow it without one (NOPASSWD), or log in as root: %w", ErrSudo, err)
	}
	asking := &Machine{client: m.client, prefix: "sudo -k -S -p '" + sudoAsks + "' -- ", secret: ask}
	if _, err := asking.output(ctx, "true"); err != nil {
		return nil, err
	}
	return asking, nil
}

// process is a script that runs.
type process struct {
	session *cryptossh.Session
	stdin   io.WriteCloser
	stdout  *bufio.Reader
	group   string // its process group over there
	stderr  *stderrTail
	drained chan struct{} // closed when stderr has ended
}

// start runs a script, whose standard input comes after it. What a login shell says before is passed over. The command line
// holds nothing of the script, so that no other user sees it and no login shell has to understand it.
func (m *Machine) start(ctx context.Context, script string) (*process, error) {
	if len(script) > maxScript || strings.IndexByte(script, 0) >= 0 {
		return nil, fmt.Errorf("run a script of %d bytes: it is too long, or holds a zero byte", len(script))
	}
	session, err := m.client.NewSession()
	if err != nil {
		return nil, lost(err)
	}
	p, err := m.begin(ctx, session, script)
	if err != nil {
		_ = session.Close() // what failed has been said
		return nil, err
	}
	return p, nil
}

func (m *Machine) begin(ctx context.Context, session *cryptossh.Session, script string) (*process, error) {
	stdin, err := session.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := session.StderrPipe()
	if err != nil {
		return nil, err
	}
	line := "exec " + m.prefix + "sh -c " + quote(fmt.Sprintf(loginScript, searchPath, quote(fmt.Sprintf(readyScript, readyWord, len(script)))))
	if err := session.Start(line); err != nil {
		return nil, lost(err)
	}
	p := &process{session: session, stdin: stdin, stdout: bufio.NewReader(stdout), stderr: &stderrTail{limit: stderrLimit}, drained: make(chan struct{})}
	answers := &sudoAnswers{secret: m.secret, stdin: stdin}
	go func() {
		defer close(p.drained)
		_, _ = io.Copy(io.MultiWriter(answers, p.stderr), stderr) // its end is the end of the command
	}()
	if err := p.awaitReady(ctx, m.secret != nil); err != nil {
		return nil, errors.Join(answers.failure(), err)
	}
	answers.end()
	p.stderr.reset()
	if _, err := io.WriteString(stdin, script); err != nil {
		return nil, lost(err)
	}
	return p, nil
}

// awaitReady reads up to where the script begins.
func (p *process) awaitReady(ctx context.Context, asks bool) error {
	limit := readyTimeout
	if asks {
		limit = sudoTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no command began within %s", limit))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = p.session.Close() })
	defer stop()
	read := 0
	for read < readyLimit {
		line, err := p.stdout.ReadSlice('\n')
		read += len(line)
		if group, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte(readyWord)); ok && err == nil {
			p.group = string(group)
			return checkGroup(p.group)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return p.neverBegan()
		}
	}
	return fmt.Errorf("the login says more than %d bytes before its command begins", readyLimit)
}

// checkGroup: the number is put into scripts.
func checkGroup(group string) error {
	if group == "" || strings.Trim(group, "0123456789") != "" {
		return fmt.Errorf("the machine says that %.40q is a process", group)
	}
	return nil
}

// neverBegan says what the machine said in place of running a script.
func (p *process) neverBegan() error {
	err := p.session.Wait()
	<-p.drained
	said := strings.TrimSpace(p.stderr.String())
	var ended *cryptossh.ExitError
	if !errors.As(err, &ended) {
		return lost(err)
	}
	if said == "" {
		said = "it said nothing"
	}
	return fmt.Errorf("the machine runs no command (status %d): %s", ended.ExitStatus(), said)
}

// wait returns the status of a process whose output has been read.
func (p *process) wait() (int, error) {
	err := p.session.Wait()
	<-p.drained
	var ended *cryptossh.ExitError
	switch {
	case err == nil:
		return 0, nil
	case !errors.As(err, &ended):
		return 0, lost(err)
	case ended.Signal() != "":
		return 128 + signalNumber(ended.Signal()), nil
	}
	return ended.ExitStatus(), nil
}

// signalNumber of those that end programs (signal(7)).
func signalNumber(name string) int {
	return map[string]int{"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "ABRT": 6, "FPE": 8, "KILL": 9, "SEGV": 11, "PIPE": 13, "ALRM": 14, "TERM": 15}[name]
}

func lost(err error) error {
	if err == nil {
		return ErrLost
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

// killTimeout is how long a machine may take to end a command that was cancelled.
const killTimeout = 20 * time.Second

// run runs a script to its end. Cancelling ctx sends signal to its process group, and after grace SIGKILL.
func (m *Machine) run(ctx context.Context, script string, stdin []byte, limit int, signal string, grace time.Duration) (executor.Exit, error) {
	p, err := m.start(ctx, script)
	if err != nil {
		return executor.Exit{}, err
	}
	defer p.session.Close()
	p.stderr.setLimit(limit)
	ended := make(chan struct{})
	defer close(ended)
	go m.watch(ctx, p, ended, signal, grace)
	go func() {
		_, _ = p.stdin.Write(stdin) // a command need not read what it is given
		_ = p.stdin.Close()
	}()
	stdout := &tail{limit: limit}
	_, copyErr := io.Copy(stdout, p.stdout)
	status, err := p.wait()
	exit := executor.Exit{Status: status, Stdout: stdout.kept, Stderr: p.stderr.bytes()}
	if ctx.Err() != nil {
		return exit, context.Cause(ctx)
	}
	return exit, errors.Join(err, copyErr)
}

// watch ends the process group of a command that is cancelled.
func (m *Machine) watch(ctx context.Context, p *process, ended <-chan struct{}, signal string, grace time.Duration) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	for _, s := range []string{signal, "KILL"} {
		killCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
		_, err := m.output(killCtx, "kill -"+s+" -"+p.group)
		cancel()
		if err != nil {
			break
		}
		timer := time.NewTimer(grace)
		select {
		case <-ended:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
	_ = p.session.Close()
}

// scriptOutput is the most bytes that a script of this package's own may say.
const scriptOutput = 4 << 20

// output runs a script that has to succeed, and returns its standard output.
func (m *Machine) output(ctx context.Context, script string) (string, error) {
	exit, err := m.run(ctx, script, nil, scriptOutput, "KILL", time.Second)
	if err != nil {
		return "", err
	}
	if exit.Status != 0 {
		return "", &failure{status: exit.Status, said: strings.TrimSpace(string(exit.Stderr))}
	}
	return string(exit.Stdout), nil
}

// failure is a script of this package's own that did not succeed.
type failure struct {
	status int
	said   string
}

func (e *failure) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.said) }

// quote makes one word of the shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, " ")
}

// tail keeps the last bytes of what is written: the end of an output says why a command failed.
type tail struct {
	limit int
	kept  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p[max(0, len(p)-t.limit):]...)
	if over := len(t.kept) - t.limit; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

// stderrTail is a tail that is written to by another goroutine.
type stderrTail struct {
	mu    sync.Mutex
	limit int
	tail  tail
}

func (s *stderrTail) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tail.limit = s.limit
	return s.tail.Write(p)
}

func (s *stderrTail) setLimit(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
}

func (s *stderrTail) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tail.kept = nil
}

func (s *stderrTail) bytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.tail.kept)
}

func (s *stderrTail) String() string { return string(s.bytes()) }

// sudoAnswers sees sudo's question on standard error and answers it, once.
type sudoAnswers struct {
	secret func() ([]byte, error)
	stdin  io.WriteCloser

	mu    sync.Mutex
	seen  []byte
	asked bool
	over  bool
	err   error
}

func (s *sudoAnswers) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.secret == nil {
		return len(p), nil
	}
	s.seen = append(s.seen, p...)
	if !bytes.Contains(s.seen, []byte(sudoAsks)) {
		s.seen = s.seen[max(0, len(s.seen)-len(sudoAsks)):]
		return len(p), nil
	}
	s.seen = nil
	if s.asked {
		s.over, s.err = true, fmt.Errorf("%w: the password was wrong", ErrSudo)
		s.hangUp()
		return len(p), nil
	}
	s.asked = true
	password, err := s.secret()
	if err != nil {
		s.over, s.err = true, fmt.Errorf("%w: %w", ErrSudo, err)
		s.hangUp()
		return len(p), nil
	}
	_, _ = s.stdin.Write(append(bytes.Clone(password), '\n')) // a session that ended says so itself
	return len(p), nil
}

// hangUp lets sudo read the end of its input.
func (s *sudoAnswers) hangUp() { _ = s.stdin.Close() }

// end: what the script itself says is no question.
func (s *sudoAnswers) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}

func (s *sudoAnswers) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
