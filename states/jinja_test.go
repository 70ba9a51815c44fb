package states_test

import (
	"testing"

	"shoal/states"
)

// The dialect as people know it from Salt and Ansible.
func TestJinjaDialect(t *testing.T) {
	for source, want := range map[string]string{
		"{% set l = [] %}{% for i in [1,2] %}{% do l.append(i) %}{% endfor %}{{ l | join(',') }}":                                  "1,2",
		"{% set d = {} %}{% do d.update({'a': 1}) %}{% do d.update(b=2) %}{{ d }}{{ d.setdefault('a', 9) }}":                       "{'a': 1, 'b': 2}1",
		"{% set ns = namespace(n=0) %}{% for i in [1,2] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}":                         "3",
		"{% for k, v in vars.m.items() %}{{ k }}={{ v }},{% endfor %}{% for k, v in vars.m | dictsort %}{{ k }}{% endfor %}":       "a=x,b=1,ab",
		"{{ '%s-%d' | format('a', 3) }} {{ vars.l | map('upper') | join('+') }}":                                                   "a-3 A+B",
		"{{ vars.us | selectattr('admin') | map(attribute='name') | join(' ') }} {{ vars.m.get('zz', 'dflt') }}":                   "u dflt",
		"{{ 'yes' if vars.t else 'no' }} {{ 7 // 2 }} {{ 'a' in vars.l }} {{ vars.l[-1] }} {{ 'ab' * 2 }} {{ [1] + [2] }}":         "yes 3 True b abab [1, 2]",
		"{{ vars.x.y.z | default('d') }} {{ vars.nope is defined }} {{ vars.n is number }}":                                        "d False True",
		"{% if vars.n > 3 %}\n  a\n{% endif %}\nb\n":                                                                               "  a\nb\n",
		"{%- for i in range(3) if i != 1 %}{{ loop.index }}:{{ i }} {% endfor -%}  \n":                                             "1:0 2:2 ",
		"{{ vars.us | map(attribute='name') | list | to_json }} {{ '/a/b' | basename }} {{ \"it's\" | quote }} {{ 'YES' | bool }}": "[\"u\", \"v\"] b 'it'\"'\"'s' True",
		"{% filter upper %}x{% endfilter %}{% with y = 2 %}{{ y }}{% endwith %}{% raw %}{{ x }}{% endraw %}{# c #}":                "X2{{ x }}",
		"{{ 'web-12' | regex_replace('^(\\w+)-(\\d+)$', '\\2.\\1') }} {{ 'a1b' | regex_search('\\d') }}":                           "12.web 1",
		"{% set vars = {'own': 1} %}{{ vars.own }}{{ none }}{{ None is none }}":                                                    "1True",
	} {
		plan, err := states.Compile(treeOf("states:\n  a: {file.managed: {path: /a, template: x.j2}}\n", map[string]string{
			"components/app/x.j2":          source,
			"components/app/defaults.yaml": "n: 4\nt: true\nl: [a, b]\nm: {b: 1, a: x}\nus: [{name: u, admin: true}, {name: v, admin: false}]\n",
		}), states.Input{Node: web()}, functions())
		if err != nil {
			t.Errorf("%s\n%v", source, err)
			continue
		}
		if got := rendered(t, plan, "app/a"); got != want {
			t.Errorf("%s\ngot  %q\nwant %q", source, got, want)
		}
	}
}
