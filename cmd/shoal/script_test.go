package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	sshagent "golang.org/x/crypto/ssh/agent"

	"shoal/internal/lineage"
	"shoal/mesh/api"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"shoal": main})
}

// TestScripts runs every command as a user types it.
func TestScripts(t *testing.T) {
	t.Cleanup(lineage.Sweep) // of the agents whose folders are gone then
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("SHOAL_HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("SHOAL_NODE", filepath.Join(env.WorkDir, "no-agent.sock"))
			env.Setenv("NO_COLOR", "1")
			env.Setenv("SSH_AUTH_SOCK", serveAgent(env, "alice@laptop", "bob@laptop"))
			examples, err := filepath.Abs("../../examples")
			env.Setenv("EXAMPLES", examples)
			if err != nil {
				return err
			}
			for _, name := range []string{"GOCACHE", "GOMODCACHE"} { // for what builds an extension module
				out, err := exec.Command("go", "env", name).Output()
				if err != nil {
					return err
				}
				env.Setenv(name, strings.TrimSpace(string(out)))
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":   expectStatus,
			"answers":  waitForAgent,
			"snapshot": snapshot,
			"hides":    hidesSecrets,
		},
	})
}

// serveAgent is an SSH agent that holds new keys.
func serveAgent(env *testscript.Env, comments ...string) string {
	path := filepath.Join(env.WorkDir, "agent.sock")
	ring := sshagent.NewKeyring()
	for _, comment := range comments {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err == nil {
			err = ring.Add(sshagent.AddedKey{PrivateKey: key, Comment: comment})
		}
		if err != nil {
			env.T().Fatal(err)
		}
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		env.T().Fatal(err)
	}
	env.Defer(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = sshagent.ServeAgent(ring, conn)
			}()
		}
	}()
	return path
}

// expectStatus runs a command that must end with a given exit status: status N shoal …
func expectStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command args...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := err.(*exec.ExitError); ok {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got := args[0]; got != strconv.Itoa(code) {
		ts.Fatalf("exit status %d, want %s", code, got)
	}
}

// waitForAgent waits until an agent answers: answers SOCKET
func waitForAgent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: answers socket")
	}
	client := api.NewClient(ts.MkAbs(args[0]))
	defer client.Close()
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, err := client.Self(context.Background())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// snapshot writes the paths and contents below a folder, but for the data folder, to a file: snapshot DIR FILE
func snapshot(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: snapshot dir file")
	}
	root := ts.MkAbs(args[0])
	var out []byte
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if rel == filepath.Join("var", "lib", "shoal") {
			return filepath.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		out = append(out, info.Mode().String()+" "+rel+"\n"...)
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			out = append(out, data...)
		}
		return nil
	})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), out, 0o644))
}

// scriptSecrets are those of secrets.txtar, as they are and as its templates and commands change them.
var scriptSecrets = []string{
	"correct-horse", "CORRECT-HORSE", "correct_horse", "battery", "BATTERY", "Y29ycmVjdC1ob3JzZSAiYmF0dGVyeS", "line-one", "line-two", "73519",
	"swordfish", "SWORDFISH", "c3dvcmRmaXNo",
}

// hidesSecrets looks for secrets in all that the last command printed: hides
func hidesSecrets(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: hides")
	}
	for _, from := range []string{"stdout", "stderr"} {
		text := ts.ReadFile(from)
		for _, secret := range scriptSecrets {
			if at := strings.Index(text, secret); at >= 0 {
				ts.Fatalf("%s holds %q: …%s…", from, secret, text[max(0, at-200):min(len(text), at+100)])
			}
		}
	}
}
