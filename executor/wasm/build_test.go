package wasm_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"shoal/states"
)

// built keeps what was built for all tests of one run.
var built = struct {
	dir string
	mu  sync.Mutex
	all map[string][]byte
}{all: map[string][]byte{}}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "shoal-wasm-")
	if err != nil {
		panic(err)
	}
	built.dir = dir
	status := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	os.Exit(status)
}

// goModule builds a module written in Go, once for all tests.
func goModule(t *testing.T, folder string) []byte {
	t.Helper()
	return build(t, folder, func(out string) *exec.Cmd {
		cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags", "-s -w", "-o", out, ".")
		cmd.Dir = folder
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
		return cmd
	})
}

// cModule builds a module written in C, where there is a compiler for it.
func cModule(t *testing.T, file string) []byte {
	t.Helper()
	for _, tool := range []string{"clang", "wasm-ld"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NOT TESTED: the module in C, since there is no %s (apt-get install clang lld)", tool)
		}
	}
	return build(t, file, func(out string) *exec.Cmd {
		return exec.Command("clang", "--target=wasm32", "-O2", "-nostdlib", "-Wall", "-Werror", "-Wl,--no-entry", "-o", out, file)
	})
}

func build(t *testing.T, name string, command func(out string) *exec.Cmd) []byte {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	if data, ok := built.all[name]; ok {
		return data
	}
	out := filepath.Join(built.dir, hashOf([]byte(name))[:16]+".wasm")
	if said, err := command(out).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, said)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	built.all[name] = data
	return data
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// node is the machine that trees are compiled for.
var node = states.Node{Name: "web-1", Tags: map[string]string{"role": "web"}}
