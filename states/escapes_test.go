package states

import "testing"

func TestPythonEscapes(t *testing.T) {
	for in, want := range map[string]string{
		`a \. {{ '\.' }}`:                           `a \. {{ '\\.' }}`,
		`{{ "\1\n\\" ~ '\'\d' }}\d`:                 `{{ "\\1\n\\" ~ '\'\\d' }}\d`,
		`{# '\.' #}{% set x='\.' %}`:                `{# '\.' #}{% set x='\\.' %}`,
		`{% raw %}{{ '\.' }}{% endraw %}{{ '\.' }}`: `{% raw %}{{ '\.' }}{% endraw %}{{ '\\.' }}`,
		`{ '\.' } {{ '}}\.' }} {`:                   `{ '\.' } {{ '}}\\.' }} {`,
		`{{ '\`:                                     `{{ '\`,
		`\{{`:                                       `\{{`,
	} {
		if got := string(pythonEscapes([]byte(in))); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
