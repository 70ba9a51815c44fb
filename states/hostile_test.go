package states_test

import (
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"shoal/states"
)

const mebibyte = 1 << 20

// hostile are inputs of about 1 MiB for each reader, made to cost as much as they can.
func hostile() map[string]fstest.MapFS {
	fill := func(unit string) string { return strings.Repeat(unit, (mebibyte-100)/len(unit)) }
	template := func(ext, source string) fstest.MapFS {
		return treeOf("states:\n  a: {file.managed: {path: /a, template: x"+ext+"}}\n", map[string]string{
			"components/app/x" + ext: source, "components/app/defaults.yaml": "a: 1\nl: [1, 2, 3]\ns: text\n"})
	}
	variables := func(name, source string) fstest.MapFS {
		return treeOf("states: {}\n", map[string]string{"components/app/defaults" + name: source})
	}
	all := map[string]fstest.MapFS{
		"yaml, list":           variables(".yaml", "a: ["+fill("1,")+"1]\n"),
		"yaml, deep list":      variables(".yaml", fill("[")),
		"yaml, deep map":       variables(".yaml", fill("{a: ")),
		"yaml, lines":          variables(".yaml", fill("- a\n")),
		"yaml, keys":           variables(".yaml", fill("? ")),
		"yaml, colons":         variables(".yaml", fill("a:")),
		"yaml, quotes":         variables(".yaml", fill("\"")),
		"yaml, anchors":        variables(".yaml", fill("- &a *a\n")),
		"yaml, block scalar":   variables(".yaml", "a: |\n"+fill("  x\n")),
		"yaml, folded":         variables(".yaml", "a: >\n"+fill("  x\n")),
		"yaml, comments":       variables(".yaml", fill("#\n")),
		"yaml, tabs":           variables(".yaml", fill("\t")),
		"yaml, tags":           variables(".yaml", fill("!a ")),
		"yaml, bytes":          variables(".yaml", fill("\xff\x00")),
		"json, list":           variables(".json", "["+fill("1,")+"1]"),
		"json, deep":           variables(".json", fill("[")),
		"json, strings":        variables(".json", "["+fill("\"\",")+"1]"),
		"json, one key":        variables(".json", "{"+fill("\"a\":1,")+"\"a\":1}"),
		"json, a number":       variables(".json", fill("9")),
		"json, escapes":        variables(".json", "[\""+fill("\\u00e9")+"\"]"),
		"jinja, text":          template(".j2", fill("x")),
		"jinja, lines":         template(".j2", fill("\n")),
		"jinja, braces":        template(".j2", fill("{")),
		"jinja, outputs":       template(".j2", fill("{{ a }}")),
		"jinja, variables":     template(".j2", fill("{{ vars.a }}")),
		"jinja, comments":      template(".j2", fill("{##}")),
		"jinja, open comments": template(".j2", fill("{#")),
		"jinja, ifs":           template(".j2", fill("{% if 1 %}")),
		"jinja, fors":          template(".j2", fill("{% for a in vars.l %}")),
		"jinja, sets":          template(".j2", fill("{% set a = 1 %}")),
		"jinja, raws":          template(".j2", fill("{% raw %}{% endraw %}")),
		"jinja, macros":        template(".j2", fill("{% macro m() %}{% endmacro %}")),
		"jinja, brackets":      template(".j2", "{{ "+fill("(")),
		"jinja, a sum":         template(".j2", "{{ 1"+fill("+1")+" }}"),
		"jinja, filters":       template(".j2", "{{ 1"+fill("|abs")+" }}"),
		"jinja, dots":          template(".j2", "{{ vars"+fill(".a")+" }}"),
		"jinja, nots":          template(".j2", "{{ "+fill("not ")+" 1 }}"),
		"jinja, a string":      template(".j2", "{{ '"+fill("\\.")+"' }}"),
		"go, text":             template(".tmpl", fill("x")),
		"go, outputs":          template(".tmpl", fill("{{.name}}")),
		"go, ifs":              template(".tmpl", fill("{{if 1}}")),
		"go, brackets":         template(".tmpl", "{{"+fill("(")),
		"go, dots":             template(".tmpl", "{{ .vars"+fill(".a")+"}}"),
		"go, pipes":            template(".tmpl", "{{ 1"+fill("|print")+"}}"),
		"go, definitions":      template(".tmpl", fill("{{define \"a\"}}{{end}}")),
		"expressions":          treeOf("states:\n  a: {cmd.run: {shell: \""+fill("${1}")+"\"}}\n", nil),
		"expressions, open":    treeOf("states:\n  a: {cmd.run: {shell: '"+fill("${")+"'}}\n", nil),
		"expressions, escaped": treeOf("states:\n  a: {cmd.run: {shell: '"+fill("$${")+"'}}\n", nil),
		"selector":             {"site.yaml": {Data: []byte("targets: [{on: '" + fill("a=b,") + "a=b'}]\n")}},
		"selector, expression": {"site.yaml": {Data: []byte("targets: [{on: '" + fill("!") + "true'}]\n")}},
		"component":            treeOf("states: {}\n", map[string]string{"components/app/component.yaml": "parameters: {" + fill("a: {}, ") + "b: {}}\n"}),
	}
	for name, source := range map[string]string{
		"names": fill("a "), "statements": fill("a=1\n"), "lists": "a = [" + fill("1,") + "]\n", "strings": "a = [" + fill("'',") + "]\n", "quotes": fill("\""), "brackets": fill("["),
		"definitions": fill("def f(): pass\n"), "loads": fill("load('a.star', 'b')\n"), "dots": "a = ''" + fill(".a") + "\n", "calls": "a = int" + fill("()") + "\n", "bytes": fill("\xff"),
		"comments": fill("#\n"), "backslashes": fill("\\\n"), "dicts": "a = {" + fill("1:1,") + "}\n", "ifs": fill("if 1: pass\n"), "a text": "a = '" + fill("x") + "'\n",
	} {
		all["starlark, "+name] = starTree(source, nil)
	}
	return all
}

// maxHostileHeap is how much of the heap one reader may need for an input of 1 MiB.
const maxHostileHeap = 512 << 20

// TestHostileInputs bounds what each reader allocates while it is at work. All that ends, ends by counts; how long it takes
// is logged and not asserted.
func TestHostileInputs(t *testing.T) {
	for name, fsys := range hostile() {
		t.Run(name, func(t *testing.T) {
			runtime.GC()
			var before runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, err := states.Compile(fsys, states.Input{Node: web()}, functions())
				if _, ok := err.(states.Problems); err != nil && !ok {
					t.Errorf("not Problems: %v", err)
				}
				if err != nil && len(err.Error()) > mebibyte {
					t.Errorf("a message of %d bytes", len(err.Error()))
				}
			}()
			most := heapUntil(done)
			grown := int64(most) - int64(before.HeapAlloc)
			if grown > maxHostileHeap {
				t.Errorf("the heap grows by %d MiB", grown>>20)
			}
			t.Logf("%v, %d MiB", time.Since(start).Round(time.Millisecond), grown>>20)
		})
	}
}

// heapUntil is the largest heap, garbage included, that is seen until done.
func heapUntil(done <-chan struct{}) uint64 {
	most := uint64(0)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapAlloc)
		select {
		case <-done:
			return most
		case <-tick.C:
		}
	}
}
