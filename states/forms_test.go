package states_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"testing/fstest"

	"shoal/states"
)

// formsYAML is one states file; the other forms say the same.
const formsYAML = `states:
  app:
    user.present: {name: app, shell: /bin/bash}
    file.directory: {path: /srv/app, owner: app, mode: "0755"}
  conf:
    file.managed:
      path: /srv/app/app.conf
      template: templates/app.conf.j2
      mode: "0640"
    require: [app]
    notify: [reload]
  page:
    for_each: ${vars.sites}
    file.managed:
      path: /srv/app/${each.key}.html
      content: "${each.value.title} on ${name}, port ${string(vars.port + 1)}\n"
    require: [app]
  empty:
    when: vars.port > 1024
    file.managed: {path: /srv/app/empty, content: ""}
    retry: {attempts: 3, delay: 2s}
  reload:
    lazy: true
    cmd.run: {shell: "kill -HUP 1", env: {A: "1", B: "${zone}"}}
  both:
    meta.group: [conf, "page[blog]"]
`

const formsJinja = `states:
  app:
    user.present: {name: app, shell: /bin/bash}
    file.directory: {path: /srv/app, owner: app, mode: "0755"}
  conf:
    file.managed:
      path: /srv/app/app.conf
      template: templates/app.conf.j2
      mode: "0640"
    require: [app]
    notify: [reload]
  page:
    for_each:
{% for key, site in vars.sites | dictsort %}
      {{ key }}: {{ site | to_json }}
{% endfor %}
    file.managed:
      path: /srv/app/${each.key}.html
      content: "${each.value.title} on {{ name }}, port {{ vars.port + 1 }}\n"
    require: [app]
  empty:
    when: vars.port > 1024
    file.managed: {path: /srv/app/empty, content: ""}
    retry: {attempts: 3, delay: 2s}
  reload:
    lazy: true
    cmd.run: {shell: "kill -HUP 1", env: {A: "1", B: "{{ zone }}"}}
  both:
    meta.group: [conf, "page[blog]"]
`

const formsJSON = `{"states": {
  "app": {
    "user.present": {"name": "app", "shell": "/bin/bash"},
    "file.directory": {"path": "/srv/app", "owner": "app", "mode": "0755"}
  },
  "conf": {
    "file.managed": {"path": "/srv/app/app.conf", "template": "templates/app.conf.j2", "mode": "0640"},
    "require": ["app"],
    "notify": ["reload"]
  },
  "page": {
    "for_each": "${vars.sites}",
    "file.managed": {
      "path": "/srv/app/${each.key}.html",
      "content": "${each.value.title} on ${name}, port ${string(vars.port + 1)}\n"
    },
    "require": ["app"]
  },
  "empty": {
    "when": "vars.port > 1024",
    "file.managed": {"path": "/srv/app/empty", "content": ""},
    "retry": {"attempts": 3, "delay": "2s"}
  },
  "reload": {"lazy": true, "cmd.run": {"shell": "kill -HUP 1", "env": {"A": "1", "B": "${zone}"}}},
  "both": {"meta.group": ["conf", "page[blog]"]}
}}`

const formsStar = `
load("//components/lib/files.star", "text")

def states(node, vars):
    reload = {"lazy": True, "cmd.run": {"shell": "kill -HUP 1", "env": {"A": "1", "B": node.zone}}}
    return {"states": {
        "app": {
            "user.present": {"name": "app", "shell": "/bin/bash"},
            "file.directory": {"path": "/srv/app", "owner": "app", "mode": "0755"},
        },
        "conf": {
            "file.managed": {"path": "/srv/app/app.conf", "template": "templates/app.conf.j2", "mode": "0640"},
            "require": ["app"],
            "notify": ["reload"],
        },
        "page": {
            "for_each": vars["sites"],
            "file.managed": text("/srv/app/${each.key}.html", "${each.value.title} on %s, port %d\n" % (node.name, vars["port"] + 1)),
            "require": ("app",),
        },
        "empty": {
            "when": vars["port"] > 1024,
            "file.managed": text("/srv/app/empty", ""),
            "retry": {"attempts": 3, "delay": "2s"},
        },
        "reload": reload,
        "both": {"meta.group": ["conf", "page[blog]"]},
    }}
`

// TestFormsAreEqual writes one tree in all four forms: the plans are the same, byte by byte, but for places.
func TestFormsAreEqual(t *testing.T) {
	defaults := map[string]any{"port": 8080, "sites": map[string]any{"shop": map[string]any{"title": "The shop"}, "blog": map[string]any{"title": "The blog"}}}
	asJSON := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	yamlDefaults := "port: 8080\nsites:\n  shop: {title: The shop}\n  blog: {title: The blog}\n"
	site := "targets:\n  - {on: \"*\", roles: [web], variables_from: [more]}\n"
	forms := map[string]map[string]string{
		"yaml": {"states.yaml": formsYAML, "defaults.yaml": yamlDefaults},
		"json": {"states.json": formsJSON, "defaults.json": asJSON(defaults)},
		"j2":   {"states.yaml.j2": formsJinja, "defaults.yaml": yamlDefaults},
		"star": {"states.star": formsStar, "defaults.yaml": yamlDefaults},
	}
	var want []byte
	for _, form := range []string{"yaml", "json", "j2", "star"} {
		fsys := fstest.MapFS{
			"site.yaml":                               {Data: []byte(site)},
			"roles/web.yaml":                          {Data: []byte("components: [app]\nvariables: {workers: 4}\n")},
			"variables/more.yaml":                     {Data: []byte("contact: ops@example.org\n")},
			"components/lib/files.star":               {Data: []byte("def text(path, content): return {\"path\": path, \"content\": content}\n")},
			"components/app/templates/app.conf.j2":    {Data: []byte("workers {{ vars.workers }}\n{% include 'contact.j2' %}\n")},
			"components/app/templates/contact.j2":     {Data: []byte("mail {{ vars.contact }}")},
			"components/app/templates/unused/x.yaml":  {Data: []byte("nothing reads this")},
			"components/app/templates/unused2/x.star": {Data: []byte("nothing reads this")},
		}
		if form == "json" {
			fsys["site.json"] = &fstest.MapFile{Data: []byte(`{"targets": [{"on": "*", "roles": ["web"], "variables_from": ["more"]}]}`)}
			fsys["roles/web.json"] = &fstest.MapFile{Data: []byte(`{"components": ["app"], "variables": {"workers": 4}}`)}
			fsys["variables/more.json"] = &fstest.MapFile{Data: []byte(`{"contact": "ops@example.org"}`)}
			delete(fsys, "site.yaml")
			delete(fsys, "roles/web.yaml")
			delete(fsys, "variables/more.yaml")
		}
		for name, data := range forms[form] {
			fsys["components/app/"+name] = &fstest.MapFile{Data: []byte(data)}
		}
		plan := mustCompile(t, fsys, web())
		for i := range plan.Invocations {
			plan.Invocations[i].Place = states.Place{}
			for j := range plan.Invocations[i].Parts {
				plan.Invocations[i].Parts[j].Place = states.Place{}
			}
		}
		got, err := states.EncodePlan(plan)
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
			if len(plan.Invocations) != 6 {
				t.Errorf("%d invocations: %s", len(plan.Invocations), show(plan))
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s gives another plan:\n%s\nwant\n%s", form, got, want)
		}
	}
}
