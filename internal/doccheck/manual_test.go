package doccheck

import (
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"shoal/states"
)

var namedFile = regexp.MustCompile(`\b(?:template|source): ([^\s,}]+)`)

// Each function has a manual that is whole, and an example of it that compiles and that an editor takes.
func TestManualOfEachFunction(t *testing.T) {
	schema := schemaFor(t, "states")
	for _, f := range functions() {
		text, example := f.Manual()
		if text == "" || f.CheckDoc == "" || f.UndoDoc == "" {
			t.Errorf("%s: text, check or undo is missing in its manual", f.FullName())
		}
		for _, p := range f.Params {
			if p.Doc == "" {
				t.Errorf("%s: the parameter %s has no manual", f.FullName(), p.Name)
			}
		}
		for _, o := range f.Outputs {
			if o.Doc == "" || o.Type == "" {
				t.Errorf("%s: the output %s has no manual", f.FullName(), o.Name)
			}
		}
		if !strings.Contains(example, f.FullName()+":") {
			t.Errorf("%s: its example does not show it:\n%s", f.FullName(), example)
			continue
		}
		document := "states:\n  " + strings.ReplaceAll(strings.TrimSpace(example), "\n", "\n  ") + "\n"
		if err := schema.Validate(yamlValue(t, []byte(document))); err != nil {
			t.Errorf("%s: its example: %v", f.FullName(), err)
		}
		if out, err := states.Format("example", []byte(document)); err != nil || string(out) != document {
			t.Errorf("%s: its example is not formatted (%v):\n%s", f.FullName(), err, out)
		}
		if _, err := states.Compile(exampleTree(document), states.Input{Node: node}, functions()); err != nil {
			t.Errorf("%s: its example:\n%v", f.FullName(), err)
		}
	}
}

// exampleTree is a tree for the states of an example, with the files and folders that it names.
func exampleTree(document string) fstest.MapFS {
	tree := fstest.MapFS{
		"site.yaml":                    {Data: []byte("targets: [{on: '*', components: [app]}]\n")},
		"components/app/states.yaml":   {Data: []byte(document)},
		"components/app/defaults.yaml": {Data: []byte("{}\n")},
	}
	for _, m := range namedFile.FindAllStringSubmatch(document, -1) {
		name := path.Join("components/app", m[1])
		if path.Ext(name) == "" {
			name = path.Join(name, "file") // a folder
		}
		tree[name] = &fstest.MapFile{Data: []byte("text\n")}
	}
	return tree
}
