package states_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"shoal/states"
)

// treeOf makes a tree of one component "app" that every node has.
func treeOf(statesYAML string, more map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{
		"site.yaml":                  {Data: []byte("targets:\n  - on: \"*\"\n    components: [app]\n")},
		"components/app/states.yaml": {Data: []byte(statesYAML)},
	}
	for name, data := range more {
		fsys[name] = &fstest.MapFile{Data: []byte(data)}
	}
	return fsys
}

func web() states.Node {
	return states.Node{Name: "web-1", Zone: "a", Tags: map[string]string{"role": "web", "dc": "fra"}}
}

func mustCompile(t testing.TB, fsys fstest.MapFS, n states.Node) *states.Plan {
	t.Helper()
	plan, err := states.Compile(fsys, states.Input{Node: n}, functions())
	if err != nil {
		t.Fatalf("compile:\n%v", err)
	}
	return plan
}

// show prints a plan as lines: each invocation with its parts, and the edges that end in it.
func show(p *states.Plan) string {
	var b strings.Builder
	for i, in := range p.Invocations {
		b.WriteString(label(p, i))
		for _, part := range in.Parts {
			fmt.Fprintf(&b, " %s", part.FullName())
		}
		if in.Skip != "" {
			fmt.Fprintf(&b, " skip(%s)", in.Skip)
		}
		b.WriteString(runs(p, &in))
		b.WriteByte('\n')
		for _, e := range p.Edges {
			if e.To == i {
				fmt.Fprintf(&b, "  <- %s %s: %s\n", label(p, e.From), e.Kind, e.Reason)
			}
		}
	}
	return b.String()
}

// label is an invocation's id, with its number when it is not the first.
func label(p *states.Plan, at int) string {
	in := &p.Invocations[at]
	if in.Number > 1 {
		return fmt.Sprintf("%s#%d", in.ID, in.Number)
	}
	return in.ID
}

// runs prints the keys of an invocation, and what it says of others.
func runs(p *states.Plan, in *states.StateInvocation) string {
	var b strings.Builder
	list := func(name string, all []int) {
		var names []string
		for _, at := range all {
			names = append(names, label(p, at))
		}
		fmt.Fprintf(&b, " %s(%s)", name, strings.Join(names, " "))
	}
	if in.Lazy {
		b.WriteString(" lazy")
	}
	if in.Retry.Attempts > 1 {
		fmt.Fprintf(&b, " retry(%d, %s)", in.Retry.Attempts, in.Retry.Delay)
	}
	if in.Timeout > 0 {
		fmt.Fprintf(&b, " timeout(%s)", in.Timeout)
	}
	if in.OnRemove != "restore" {
		fmt.Fprintf(&b, " on_remove(%s)", in.OnRemove)
	}
	if in.Undo != "" {
		fmt.Fprintf(&b, " undo(%s)", in.Undo)
	}
	if in.Block != nil {
		list("run", in.Block.Run)
		list("rescue", in.Block.Rescue)
		list("always", in.Block.Always)
	}
	if in.Sequence != nil {
		list("sequence", in.Sequence)
	}
	if in.SupersededBy > 0 {
		list("superseded", []int{in.SupersededBy})
	}
	return b.String()
}

func TestExampleOfTheContract(t *testing.T) {
	plan := mustCompile(t, treeOf(`
states:
  app:
    user.present: {name: app}
    file.directory: {path: /srv/app, owner: app}
  nginx:
    pkg.installed: {name: nginx}
  nginx-conf:
    file.managed:
      path: /etc/nginx/nginx.conf
      template: templates/nginx.conf.j2
      mode: "0644"
      validate: nginx -t -c {path}
    require: [nginx]
    notify: [nginx-reload]
  nginx-service:
    service.running: {name: nginx, enabled: true}
    require: [nginx-conf]
    listen: [nginx]
  nginx-reload:
    lazy: true
    service.reloaded: {name: nginx}
    after: [nginx-service]
`, map[string]string{
		"components/app/templates/nginx.conf.j2": "workers {{ vars.workers }};\n{% for s in vars.servers %}\nserver {{ s }};\n{% endfor %}\n# {{ name }} {{ tags.role }}\n",
		"components/app/defaults.yaml":           "workers: 4\nservers: [a, b]\n",
	}), web())
	want := `app/app user.present file.directory
app/nginx pkg.installed
app/nginx-conf file.managed
  <- app/nginx require: require in app/nginx-conf
app/nginx-service service.running
  <- app/nginx notify: listen in app/nginx-service
  <- app/nginx-conf require: require in app/nginx-service
app/nginx-reload service.reloaded lazy
  <- app/nginx-conf notify: notify in app/nginx-conf
  <- app/nginx-service after: after in app/nginx-reload
`
	if got := show(plan); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	c := plan.Invocations[2].Parts[0].Params["contents"].(states.Content)
	if got, want := string(plan.Rendered[c.Hash]), "workers 4;\nserver a;\nserver b;\n# web-1 web\n"; got != want {
		t.Errorf("rendered %q, want %q", got, want)
	}
}
