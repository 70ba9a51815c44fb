package wasm_test

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/moduletest"
	"shoal/executor/wasm"
	"shoal/states"
)

const examples = "../../examples/modules/"

func hostsModule(t *testing.T) []byte  { return goModule(t, examples+"hosts") }
func bannerModule(t *testing.T) []byte { return cModule(t, examples+"banner/banner.c") }

// exampleTree is the tree of the examples, as build.sh makes it of modules that were built.
func exampleTree(t *testing.T, hosts, banner []byte) fstest.MapFS {
	t.Helper()
	tree := fstest.MapFS{"modules/hosts.wasm": {Data: hosts}, "modules/banner.wasm": {Data: banner}}
	from := os.DirFS(examples + "tree")
	err := fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(from, name)
		text := strings.NewReplacer("@HOSTS@", hashOf(hosts), "@BANNER@", hashOf(banner)).Replace(string(data))
		tree[strings.TrimSuffix(name, ".in")] = &fstest.MapFile{Data: []byte(text)}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// functionOf opens one function of the examples' modules, as a plan names them.
func functionOf(t *testing.T, tree fs.FS, name string) executor.Module {
	t.Helper()
	plan, err := states.Compile(tree, states.Input{Node: node}, builtIn())
	if err != nil {
		t.Fatal(err)
	}
	loader := &wasm.Loader{}
	t.Cleanup(func() {
		if err := loader.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, x := range plan.Extensions {
		binary, err := fs.ReadFile(tree, x.Binary.Source)
		if err != nil {
			t.Fatal(err)
		}
		modules, err := loader.Load(x, binary)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range modules {
			if m.Function().FullName() == name {
				return m
			}
		}
	}
	t.Fatalf("no function %s", name)
	return nil
}

func machine(t *testing.T) executor.Host {
	h := fake.New()
	moduletest.Put(t, h, "/etc/secret", "hidden\n")
	return h
}

// The modules of the examples keep the laws that every module keeps, with each operation of the host failing once, the
// process dying before and after each, and each undo interrupted.
func TestExamplesKeepTheLaws(t *testing.T) {
	entries := map[string]any{"gateway": "10.0.0.1", "db-1": "10.0.0.5"}
	t.Run("Go", func(t *testing.T) {
		none := []byte("\x00asm\x01\x00\x00\x00")
		m := functionOf(t, exampleTree(t, hostsModule(t), none), "hosts.entries")
		params := executor.Params{"entries": entries, "file": "/etc/hosts"}
		moduletest.Run(t, moduletest.Suite{
			Module: m, Host: machine, Snapshot: moduletest.Files,
			Cases: []moduletest.Case{
				{Name: "no file", Params: params},
				{Name: "another address", Params: params, Setup: func(t *testing.T, h executor.Host) {
					moduletest.Put(t, h, "/etc/hosts", "127.0.0.1 localhost\n10.0.0.9 gateway old # here\n\n# end\n")
				}},
				{Name: "there", Params: params, Matches: true, Setup: func(t *testing.T, h executor.Host) {
					moduletest.Put(t, h, "/etc/hosts", "10.0.0.5\tdb-1\n10.0.0.1 gateway\n")
				}},
			},
		})
	})
	t.Run("C", func(t *testing.T) {
		m := functionOf(t, exampleTree(t, hostsModule(t), bannerModule(t)), "banner.shown")
		params := executor.Params{"path": "/etc/issue.net", "text": "Say \"hello\"\tand go", "mode": "0600"}
		rule := strings.Repeat("-", 40) + "\n"
		moduletest.Run(t, moduletest.Suite{
			Module: m, Host: machine, Snapshot: moduletest.Files,
			Cases: []moduletest.Case{
				{Name: "no file", Params: params},
				{Name: "a symlink", Params: params, Setup: func(t *testing.T, h executor.Host) {
					if err := h.Symlink("issue", "/etc/issue.net"); err != nil {
						t.Fatal(err)
					}
				}},
				{Name: "another mode", Params: params, Setup: func(t *testing.T, h executor.Host) {
					moduletest.Put(t, h, "/etc/issue.net", rule+"Say \"hello\"\tand go\n"+rule)
				}},
			},
		})
	})
}
