package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"shoal/states"
	"shoal/states/disk"
)

func newDocs(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "docs [MODULE|MODULE.FUNCTION] [--tree TREE [COMPONENT]]",
		Short: "The manual of the modules, or of a tree's components",
		Long: `The manual of what states can say: without an argument all functions with a line each, with a module those of the module,
with a function its parameters, outputs and an example, how it is checked, and how it is undone.

It is made from what the compiler checks trees against, so that it is never older than the binary. With --tree it is that of the
tree's components, from their component.yaml, and of the functions of its extension modules too.`,
		Example: `  shoal docs
  shoal docs file
  shoal docs file.managed
  shoal docs --tree mytree webserver
  shoal docs --tree mytree acme.setting`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return functionNames(), cobra.ShellCompDirectiveNoFileComp
		},
	}
	tree := cmd.Flags().String("tree", "", "a tree, whose components to show in place of the modules")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		known, err := functionsOf(*tree)
		if err != nil {
			return err
		}
		wanted := known
		if len(args) == 1 {
			wanted = slices.DeleteFunc(slices.Clone(known), func(f states.Function) bool { return f.Module != args[0] && f.FullName() != args[0] })
		}
		switch {
		case *tree != "" && (len(args) == 0 || len(wanted) == 0):
			return t.componentDocs(*tree, args)
		case len(wanted) == 0:
			return badInput("no module and no function %q; there are %s", args[0], strings.Join(functionNames(), ", "))
		case t.json:
			return t.docsJSON(wanted)
		case len(args) == 1 && wanted[0].FullName() == args[0]:
			t.printFunction(wanted[0])
		default:
			t.listFunctions(wanted)
		}
		return nil
	}
	return cmd
}

// functionsOf are all that states may say: in a tree, with those of its extension modules.
func functionsOf(dir string) ([]states.Function, error) {
	if dir == "" {
		return functions(), nil
	}
	tree, err := disk.Open(dir)
	if err != nil {
		return nil, badInput("%v", err)
	}
	l, err := states.Open(tree, functions())
	if err != nil {
		return nil, err
	}
	return l.Functions(), nil
}

func functionNames() []string {
	var names []string
	for _, f := range functions() {
		names = append(names, f.FullName())
	}
	slices.Sort(names)
	return names
}

func (t *terminal) listFunctions(list []states.Function) {
	var rows [][]string
	for _, f := range list {
		short, _, _ := strings.Cut(firstLine(f.Doc), ". ")
		rows = append(rows, []string{f.FullName(), strings.TrimSuffix(short, ".")})
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	t.table([]string{"FUNCTION", "WHAT IT DOES"}, rows)
	t.note("shoal docs FUNCTION has the manual of each")
}

func (t *terminal) printFunction(f states.Function) {
	text, example := f.Manual()
	t.printf("%s\n\n%s\n", t.paint(bold, f.FullName()), wrapped(text, "", t.width))
	t.printf("\n%s\n", t.paint(bold, "Parameters"))
	for _, p := range f.Params {
		name, kind := t.paramLine(p)
		t.printf("  %s  (%s)\n%s\n", t.paint(cyan, name), kind, wrapped(p.Doc, "      ", t.width))
	}
	if len(f.Outputs) > 0 {
		t.printf("\n%s\n", t.paint(bold, "Outputs"))
	}
	for _, o := range f.Outputs {
		t.printf("  %s  (%s)\n%s\n", t.paint(cyan, o.Name), o.Type, wrapped(o.Doc, "      ", t.width))
	}
	t.printf("\n%s\n%s\n", t.paint(bold, "Check"), wrapped(f.CheckDoc, "  ", t.width))
	t.printf("\n%s\n%s\n", t.paint(bold, "Undo"), wrapped(f.UndoDoc, "  ", t.width))
	if f.Irreversible {
		t.printf("  %s\n", t.paint(red, "It cannot be undone by itself: the plan says so, unless the state names an undo."))
	}
	t.printf("\n%s\n%s\n", t.paint(bold, "When notified"), wrapped(reaction(f), "  ", t.width))
	if example != "" {
		t.printf("\n%s\n%s\n", t.paint(bold, "Example"), indent(strings.TrimSpace(example), "  "))
	}
}

// paramLine is a parameter's name as it is written, and what may be written there.
func (t *terminal) paramLine(p states.Param) (name, kind string) {
	name, kind = p.Name, string(p.Type)
	if p.Type == states.Contents {
		name, kind = "template, source or content", "at most one of them"
		if p.Required {
			return name, "one of them, required"
		}
	}
	if len(p.OneOf) > 0 {
		kind = strings.Join(p.OneOf, "|")
	}
	if p.Required && p.Default == nil {
		kind += ", required"
	}
	if p.Default != nil {
		kind += fmt.Sprintf(", default %s", defaultText(p.Default))
	}
	return name, kind
}

// defaultText shows a default as it would be written: one of blanks needs its quotes.
func defaultText(v any) string {
	if s, ok := v.(string); ok && (s == "" || strings.TrimSpace(s) != s) {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprint(v)
}

func reaction(f states.Function) string {
	if f.Reaction == "" {
		return "It applies as always; a lazy state runs only then."
	}
	return fmt.Sprintf("%s.%s runs in its place, unless the state is lazy.", f.Module, f.Reaction)
}

// wrapped breaks each line of a text at blanks to fit a width, and indents it.
func wrapped(text, by string, width int) string {
	var b strings.Builder
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			b.WriteByte('\n')
		}
		column := 0
		for j, word := range strings.Fields(line) {
			size := len([]rune(word))
			switch {
			case j == 0:
				b.WriteString(by)
				column = len(by)
			case column+1+size > max(width, 40):
				b.WriteString("\n" + by)
				column = len(by)
			default:
				b.WriteByte(' ')
				column++
			}
			b.WriteString(word)
			column += size
		}
	}
	return b.String()
}

// functionDoc is the manual of a function as data.
type functionDoc struct {
	Name         string      `json:"name"`
	Doc          string      `json:"doc"`
	Params       []paramDoc  `json:"params"`
	Outputs      []outputDoc `json:"outputs"`
	Check        string      `json:"check"`
	Undo         string      `json:"undo"`
	Irreversible bool        `json:"irreversible"`
	Reaction     string      `json:"reaction,omitempty"`
	Example      string      `json:"example,omitempty"`
}

type paramDoc struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	Required bool     `json:"required"`
	Default  any      `json:"default,omitempty"`
	OneOf    []string `json:"one_of,omitempty"`
	Doc      string   `json:"doc"`
}

type outputDoc struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Doc  string `json:"doc"`
}

func (t *terminal) docsJSON(list []states.Function) error {
	docs := []functionDoc{}
	for _, f := range list {
		d := functionDoc{Name: f.FullName(), Params: []paramDoc{}, Outputs: []outputDoc{}, Check: f.CheckDoc, Undo: f.UndoDoc,
			Irreversible: f.Irreversible, Reaction: f.Reaction}
		d.Doc, d.Example = f.Manual()
		for _, p := range f.Params {
			d.Params = append(d.Params, paramDoc{p.Name, string(p.Type), p.Required && p.Default == nil, p.Default, p.OneOf, p.Doc})
		}
		for _, o := range f.Outputs {
			d.Outputs = append(d.Outputs, outputDoc{o.Name, string(o.Type), o.Doc})
		}
		docs = append(docs, d)
	}
	return t.printJSON(docs)
}
