package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"shoal/states"
)

func newDocs(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "docs [MODULE.FUNCTION | --tree TREE [COMPONENT]]",
		Short: "The manual of the modules, or of a tree's components",
		Args:  cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return functionNames(), cobra.ShellCompDirectiveNoFileComp
		},
	}
	tree := cmd.Flags().String("tree", "", "a tree, whose components to show in place of the modules")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if *tree != "" {
			return t.componentDocs(*tree, args)
		}
		if len(args) == 0 {
			t.listFunctions()
			return nil
		}
		for _, f := range functions() {
			if f.FullName() == args[0] {
				t.printFunction(f)
				return nil
			}
		}
		return badInput("no function %q; there are %s", args[0], strings.Join(functionNames(), ", "))
	}
	return cmd
}

func functionNames() []string {
	var names []string
	for _, f := range functions() {
		names = append(names, f.FullName())
	}
	slices.Sort(names)
	return names
}

func (t *terminal) listFunctions() {
	var rows [][]string
	for _, f := range functions() {
		short, _, _ := strings.Cut(firstLine(f.Doc), ". ")
		rows = append(rows, []string{f.FullName(), strings.TrimSuffix(short, ".")})
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	t.table([]string{"FUNCTION", "WHAT IT DOES"}, rows)
}

func (t *terminal) printFunction(f states.Function) {
	t.printf("%s\n\n%s\n\n", t.paint(bold, f.FullName()), f.Doc)
	for _, p := range f.Params {
		kind := string(p.Type)
		if len(p.OneOf) > 0 {
			kind = strings.Join(p.OneOf, "|")
		}
		if p.Required {
			kind += ", required"
		}
		if p.Default != nil {
			kind += fmt.Sprintf(", default %v", p.Default)
		}
		name := p.Name
		if p.Type == states.Contents {
			name = "template, source or content"
		}
		t.printf("  %s (%s)\n%s\n", t.paint(cyan, name), kind, indent(p.Doc, "      "))
	}
	for _, o := range f.Outputs {
		t.printf("  output %s (%s): %s\n", t.paint(cyan, o.Name), o.Type, o.Doc)
	}
	t.printf("\n  check  %s\n  undo   %s\n", f.CheckDoc, f.UndoDoc)
}
