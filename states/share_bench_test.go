package states_test

import (
	"bytes"
	"fmt"
	"testing"
	"testing/fstest"

	"shoal/states"
)

// fleetTree has 1,000 states of the usual kinds, written out, of which every tenth reads the node's name.
func fleetTree() fstest.MapFS {
	var b bytes.Buffer
	b.WriteString("states:\n")
	for i := range 250 {
		fmt.Fprintf(&b, "  pkg%d: {pkg.installed: {name: p%d}}\n", i, i)
		fmt.Fprintf(&b, "  conf%d:\n    file.managed: {path: \"/etc/p%d/main.conf\", template: templates/main.j2, mode: \"0644\"}\n    require: [pkg%d]\n    notify: [svc%d]\n", i, i, i, i)
		fmt.Fprintf(&b, "  svc%d: {service.running: {name: p%d, enabled: true}, require: [pkg%d]}\n", i, i, i)
		if i%5 == 0 {
			fmt.Fprintf(&b, "  own%d: {file.managed: {path: \"/srv/own%d\", template: templates/own.j2}}\n", i, i)
		} else if i%5 < 3 {
			fmt.Fprintf(&b, "  own%d: {file.managed: {path: \"/srv/own%d\", content: \"${name} has ${vars.workers}\"}}\n", i, i)
		} else {
			fmt.Fprintf(&b, "  own%d: {cmd.run: {shell: \"echo ${vars.workers}\", creates: /srv/x%d}, when: tags.role == \"web\"}\n", i, i)
		}
	}
	return treeOf(b.String(), map[string]string{
		"components/app/templates/main.j2": "workers {{ vars.workers }};\n{% for s in vars.servers %}\nserver {{ s }} weight={{ loop.index }};\n{% endfor %}\n{% if tags.dc == 'fra' %}\nnear\n{% endif %}\n",
		"components/app/templates/own.j2":  "# {{ name }}\nworkers {{ vars.workers }};\n{% for s in vars.servers %}\nserver {{ s }};\n{% endfor %}\n",
		"components/app/defaults.yaml":     "servers: [a, b, c]\nworkers: 4\n",
	})
}

func BenchmarkFleetScratch(b *testing.B) { benchCompile(b, fleetTree()) }

func BenchmarkFleetNext(b *testing.B) {
	l, err := states.Open(fleetTree(), functions())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := states.Node{Name: fmt.Sprintf("n%d", i), Tags: map[string]string{"role": "web", "dc": []string{"fra", "ams"}[i%2]}}
		if _, err := l.Compile(states.Input{Node: n}); err != nil {
			b.Fatal(err)
		}
	}
}
