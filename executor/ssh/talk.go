package ssh

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// talkTimeout is how long one script of a talk may take: reading and hashing a large file, or syncing a slow disk.
const talkTimeout = 10 * time.Minute

// talk is one shell over there that is given small scripts, since to start one for each question would cost more than the answer. It
// is safe for use by several goroutines, who wait for each other.
type talk struct {
	mu      sync.Mutex
	process *process
	mark    string // ends each answer: what a script says cannot hold it
	broken  error
}

// The shell reads the length of a script, the script, and not a byte behind. Each runs by itself, with its errors beside its
// output.
const talkScript = `while read -r n; do s="$(dd bs=1 count="$n" 2>/dev/null)"; ( eval "$s" ) </dev/null 2>&1; echo "%s $?"; done`

func (m *Machine) talk(ctx context.Context) (*talk, error) {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	t := &talk{mark: "shoal-said-" + hex.EncodeToString(random[:])}
	var err error
	t.process, err = m.start(ctx, fmt.Sprintf(talkScript, t.mark))
	return t, err
}

func (t *talk) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken == nil {
		t.broken = errors.New("the talk is over")
	}
	if err := t.process.session.Close(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// ask runs a script and returns what it said, errors included.
func (t *talk) ask(script string) (said string, status int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken != nil {
		return "", 0, t.broken
	}
	if len(script) > maxScript || strings.IndexByte(script, 0) >= 0 {
		return "", 0, fmt.Errorf("a script of %d bytes is too long, or holds a zero byte", len(script))
	}
	late := time.AfterFunc(talkTimeout, func() { _ = t.process.session.Close() })
	defer late.Stop()
	if said, status, err = t.exchange(script); err != nil {
		t.broken = lost(err)
		return "", 0, t.broken
	}
	return said, status, nil
}

func (t *talk) exchange(script string) (string, int, error) {
	if _, err := fmt.Fprintf(t.process.stdin, "%d\n%s", len(script), script); err != nil {
		return "", 0, err
	}
	var said []byte
	for {
		part, err := t.process.stdout.ReadSlice('\n')
		said = append(said, part...)
		if len(said) > scriptOutput {
			return "", 0, fmt.Errorf("a script says more than %d bytes", scriptOutput)
		}
		if err != nil && err.Error() != "bufio: buffer full" {
			return "", 0, err
		}
		if len(part) == 0 || part[len(part)-1] != '\n' {
			continue
		}
		if at := strings.LastIndex(string(said[max(0, len(said)-len(t.mark)-8):]), t.mark+" "); at >= 0 {
			whole := string(said)
			at = strings.LastIndex(whole, t.mark+" ")
			status, err := strconv.Atoi(strings.TrimSpace(whole[at+len(t.mark)+1:]))
			return whole[:at], status, err
		}
	}
}

// must runs a script that has to succeed; its error is what the kernel said, where that can be told.
func (t *talk) must(script string) (string, error) {
	said, status, err := t.ask(script)
	if err != nil {
		return "", err
	}
	if status != 0 {
		return "", toolError(said)
	}
	return said, nil
}

// kernelErrors are the words that tools say for errors on which others branch, in English.
var kernelErrors = []struct {
	words string
	err   error
}{
	{"No such file or directory", syscall.ENOENT},
	{"File exists", syscall.EEXIST},
	{"Permission denied", syscall.EACCES},
	{"Operation not permitted", syscall.EPERM},
	{"Not a directory", syscall.ENOTDIR},
	{"Directory not empty", syscall.ENOTEMPTY},
	{"No space left on device", syscall.ENOSPC},
	{"Read-only file system", syscall.EROFS},
	{"Too many levels of symbolic links", syscall.ELOOP},
	{"Operation not supported", syscall.ENOTSUP},
}

func toolError(said string) error {
	said = strings.TrimSpace(said)
	for _, k := range kernelErrors {
		if strings.HasSuffix(firstLine(said), k.words) || strings.Contains(said, ": "+k.words) {
			return fmt.Errorf("%w (%.200s)", k.err, firstLine(said))
		}
	}
	if said == "" {
		said = "it failed and said nothing"
	}
	return errors.New(said)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}
