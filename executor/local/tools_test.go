package local

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"shoal/executor"
)

// TestToolHelper runs a tool that says that it runs, and ends when there is nothing more to read.
func TestToolHelper(t *testing.T) {
	lock := os.Getenv("SHOAL_TEST_TOOLS")
	if lock == "" {
		t.Skip("runs as a child of TestToolOutlivesItsRun")
	}
	script := `echo runs >"$1"; cat "$2" >/dev/null`
	cmd := executor.Command{Argv: []string{"sh", "-c", script, "sh", lock + ".says", lock + ".until"}, Limit: 1 << 10}
	if _, err := (Tools{Lock: lock}).Run(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
}

// TestToolOutlivesItsRun: a run is killed, the tool that it had started goes on, and who comes next waits for that.
func TestToolOutlivesItsRun(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "tools")
	tools := Tools{Lock: lock}
	if err := tools.Outlived(t.Context()); err != nil {
		t.Fatalf("nothing was ever started: %v", err)
	}
	for _, fifo := range []string{lock + ".says", lock + ".until"} {
		if out, err := exec.Command("mkfifo", fifo).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	run := exec.Command(os.Args[0], "-test.run=^TestToolHelper$")
	run.Env = append(os.Environ(), "SHOAL_TEST_TOOLS="+lock)
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	says, err := os.Open(lock + ".says")
	if err != nil {
		t.Fatal(err)
	}
	defer says.Close()
	if line, err := bufio.NewReader(says).ReadString('\n'); err != nil || line != "runs\n" {
		t.Fatalf("%q, %v", line, err)
	}
	until, err := os.OpenFile(lock+".until", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer until.Close()
	if err := run.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = run.Wait()

	ctx, cancel := context.WithTimeout(t.Context(), 5*runLockPoll)
	defer cancel()
	if err := tools.Outlived(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the tool is at work, and is not waited for: %v", err)
	}
	over := make(chan error, 1)
	go func() { over <- tools.Outlived(t.Context()) }()
	until.Close() // the tool ends
	select {
	case err := <-over:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(deadline):
		t.Error("the tool is over, and is waited for")
	}
	_, _ = io.Copy(io.Discard, says)
}

// A plan may be made by who cannot write where runs keep what they know, and before there is such a place.
func TestToolsWithoutAFolder(t *testing.T) {
	tools := Tools{Lock: filepath.Join(t.TempDir(), "no", "tools")}
	if exit, err := tools.Run(t.Context(), executor.Command{Argv: []string{"true"}}); err != nil || exit.Status != 0 {
		t.Errorf("%+v, %v", exit, err)
	}
	if err := tools.Outlived(t.Context()); err != nil {
		t.Error(err)
	}
}
