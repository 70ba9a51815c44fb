package states_test

import (
	"strings"
	"testing"

	"shoal/states"
)

func TestFolder(t *testing.T) {
	fsys := treeOf("states:\n  a: {file.tree: {path: /srv/a, source: files/site, render: true}}\n  b: {file.tree: {path: /srv/b, source: files/site}}\n",
		map[string]string{
			"components/app/files/site/z": "z", "components/app/files/site/sub/conf.j2": "{{ name }}", "components/app/files/site/sub/a.txt": "a",
		})
	for name, f := range fsys {
		if strings.HasSuffix(name, "/site/z") {
			f.Mode = 0o755
		}
	}
	plan := mustCompile(t, fsys, web())
	var got []string
	for _, inv := range plan.Invocations {
		for _, v := range inv.Parts[0].Params["source"].([]any) {
			f := v.(map[string]any)
			c := f[states.FolderContents].(states.Content)
			got = append(got, f[states.FolderPath].(string)+" "+f[states.FolderMode].(string)+" "+c.Source+" "+string(plan.Rendered[c.Hash]))
		}
	}
	want := "sub/a.txt 0644 components/app/files/site/sub/a.txt |sub/conf 0644  web-1|z 0755 components/app/files/site/z |" +
		"sub/a.txt 0644 components/app/files/site/sub/a.txt |sub/conf.j2 0644 components/app/files/site/sub/conf.j2 |z 0755 components/app/files/site/z "
	if strings.Join(got, "|") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "|"), want)
	}
	data, err := states.EncodePlan(plan)
	if err != nil {
		t.Fatal(err)
	}
	again, err := states.DecodePlan(data)
	if err != nil || show(again) != show(plan) {
		t.Errorf("it does not come back from its encoding: %v", err)
	}
}
