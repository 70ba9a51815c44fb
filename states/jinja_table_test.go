package states_test

import (
	"os"
	"strings"
	"testing"

	"shoal/states"
)

// jinjaIncludes are the files that the table's templates include.
var jinjaIncludes = map[string]string{
	"components/app/inc.j2":    `[{{ vars.n }}{{ x | default("-") }}]`,
	"components/app/macros.j2": `{% set pi = 3 %}{% macro hi(who, mark="!") %}hi {{ who }}{{ mark }}{% endmacro %}{% macro two(a) %}{{ hi(a) }}{{ hi(a) }}{% endmacro %}`,
	"components/app/base.j2":   `<{% block a %}A{% endblock %}|{% block b %}B{% endblock %}>`,
	"components/app/loop.j2":   `{% for i in l %}{{ i }}{% endfor %}`,
}

// TestJinjaTable compares what templates render to with what Jinja2 3.1 makes of them, with the filters of Ansible and
// Salt. Where the language differs on purpose, testdata/jinja.txt says so.
func TestJinjaTable(t *testing.T) {
	data, err := os.ReadFile("testdata/jinja.txt")
	if err != nil {
		t.Fatal(err)
	}
	vars, template, count := "", "", 0
	for _, line := range strings.Split(string(data), "\n") {
		if v, ok := strings.CutPrefix(line, "# vars: "); ok {
			vars = v
			continue
		}
		if want, ok := strings.CutPrefix(line, "=> "); ok {
			count++
			jinjaCase(t, vars, template, strings.ReplaceAll(want, "⏎", "\n"))
			continue
		}
		template = strings.ReplaceAll(line, "⏎", "\n")
	}
	if count < 190 {
		t.Errorf("only %d templates", count)
	}
}

func jinjaCase(t *testing.T, vars, template, want string) {
	t.Helper()
	files := map[string]string{"components/app/x.j2": template, "components/app/defaults.json": vars}
	for name, data := range jinjaIncludes {
		files[name] = data
	}
	plan, err := states.Compile(treeOf("states:\n  a: {file.managed: {path: /a, template: x.j2}}\n", files), states.Input{Node: web()}, functions())
	if err != nil {
		t.Errorf("%s\n%v", template, err)
		return
	}
	if got := rendered(t, plan, "app/a"); got != want {
		t.Errorf("%s\ngot  %q\nwant %q", template, got, want)
	}
}
