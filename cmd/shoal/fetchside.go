package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"shoal/executor"
	"shoal/internal/codec"
	"shoal/internal/fetch"
	"shoal/internal/sandbox"
)

// What a tree downloads is fetched by a child without rights, one for each: the executor's side has no network, and what a server sends is
// parsed by nobody who could change the machine.

const (
	fetchSideCommand = "fetch-side"
	maxRequest       = 1 << 20 // bytes of what the child is told
	maxFetchError    = 4096
)

// newFetchSide is that child: the request on its standard input, the bytes on its standard output.
func newFetchSide() *cobra.Command {
	return rightless(fetchSideCommand, "What the executor's side of an agent fetches with", 3, serveFetch)
}

func serveFetch(cmd *cobra.Command) error {
	if err := sandbox.Confine(); err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(os.Stdin, maxRequest))
	if err != nil {
		return err
	}
	var request executor.Request
	if err := codec.Unmarshal(data, &request); err != nil {
		return err
	}
	body, err := fetch.NewClient().Open(cmd.Context(), request)
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, body)
	return errors.Join(err, body.Close())
}

// fetch begins to fetch, as somebody without rights.
func (who meshUser) fetch(ctx context.Context, r executor.Request) (io.ReadCloser, error) {
	request, err := codec.Marshal(r)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", fetchSideCommand, "--become", strconv.Itoa(who.uid)+":"+strconv.Itoa(who.gid))
	cmd.Args[0], cmd.Dir, cmd.Env = "shoal", "/", fetchSideEnv()
	cmd.Stdin = bytes.NewReader(request)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	f := &fetching{cmd: cmd}
	cmd.Stderr = &f.said
	if f.out, err = cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return f, nil
}

// fetchSideEnv adds the proxies and certificates that a download goes by.
func fetchSideEnv() []string {
	env := meshSideEnv()
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// fetching is what a child sends. Its end is one only when the child says that it got all.
type fetching struct {
	cmd   *exec.Cmd
	out   io.ReadCloser
	said  fewBytes
	ended bool
}

// Read implements io.Reader.
func (f *fetching) Read(p []byte) (int, error) {
	n, err := f.out.Read(p)
	if err == nil || n > 0 {
		return n, nil
	}
	if waited := f.wait(); waited != nil {
		text := strings.TrimSpace(strings.TrimPrefix(f.said.String(), "shoal: "))
		return 0, fmt.Errorf("%.500s (%w)", text, waited)
	}
	return 0, err
}

func (f *fetching) wait() error {
	if f.ended {
		return nil
	}
	f.ended = true
	return f.cmd.Wait()
}

// Close implements io.Closer.
func (f *fetching) Close() error {
	if !f.ended {
		_ = f.cmd.Process.Kill() // it may have ended
		_ = f.wait()             // who closes early wants no more
	}
	return nil
}

// fewBytes keeps the beginning of what is written.
type fewBytes struct{ bytes.Buffer }

func (b *fewBytes) Write(p []byte) (int, error) {
	if room := maxFetchError - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}
