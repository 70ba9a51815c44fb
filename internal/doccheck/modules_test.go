package doccheck

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"shoal/states"
)

// An empty WebAssembly module, and its hash: enough for the compiler, which runs none.
const (
	emptyModule = "\x00asm\x01\x00\x00\x00"
	emptyHash   = "93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476"
)

// What docs/modules.md shows compiles, the example of its manifest too, and its list of operations is that of the code.
func TestModulesPage(t *testing.T) {
	data, err := os.ReadFile("../../docs/modules.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	block := func(first string) string {
		_, after, ok := strings.Cut(page, "```yaml\n"+first+"\n")
		if !ok {
			t.Fatalf("no block %q", first)
		}
		text, _, _ := strings.Cut(after, "```")
		return text
	}
	site := strings.Replace(block("# site.yaml"), "1f0c…", emptyHash, 1) + "targets: [{on: '*', components: [app]}]\n"
	manifest := block("# modules/hosts.yaml")
	tree := fstest.MapFS{
		"site.yaml": {Data: []byte(site)}, "modules/hosts.wasm": {Data: []byte(emptyModule)}, "modules/hosts.yaml": {Data: []byte(manifest)},
		"components/app/states.yaml": {Data: []byte("states:\n  a:\n    hosts.entries: {entries: {gateway: 10.0.0.1}}\n")},
	}
	plan, err := states.Compile(tree, states.Input{Node: node}, functions())
	if err != nil {
		t.Fatal(err)
	}
	x := plan.Extensions[0]
	if x.Limits != states.DefaultExtensionLimits || len(x.Allow.Commands) != 1 || x.Functions[0].Example == "" {
		t.Errorf("%+v", x)
	}
	if err := schemaFor(t, "site").Validate(yamlValue(t, []byte(site))); err != nil {
		t.Error(err)
	}
	if err := schemaFor(t, "module").Validate(yamlValue(t, []byte(manifest))); err != nil {
		t.Error(err)
	}
	code, err := os.ReadFile("../../executor/wasm/operation.go")
	if err != nil {
		t.Fatal(err)
	}
	cases := regexp.MustCompile(`(?m)^\tcase ("[a-z", ]+"):$`).FindAllStringSubmatch(string(code), -1)
	if len(cases) < 10 {
		t.Fatalf("only %d operations found in the code", len(cases))
	}
	for _, c := range cases {
		for _, name := range strings.Split(c[1], ", ") {
			if name := strings.Trim(name, `"`); !strings.Contains(page, "`"+name+"`") {
				t.Errorf("the page does not list the operation %s", name)
			}
		}
	}
}

// The manifests of the examples are what the schema for editors takes.
func TestExampleManifests(t *testing.T) {
	schema := schemaFor(t, "module")
	for _, name := range []string{"hosts", "banner"} {
		data, err := os.ReadFile("../../examples/modules/tree/modules/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(yamlValue(t, data)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := schema.Validate(yamlValue(t, []byte("abi: 1\nfunctions: {a: {parameters: {b: {type: text}}}}\n"))); err == nil {
		t.Error("the schema takes a type that there is not")
	}
}
