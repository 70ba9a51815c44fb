package main

import (
	"slices"
	"strings"

	"shoal/states"
	"shoal/states/disk"
)

// componentDocs prints the manual of one component of a tree, or lists them.
func (t *terminal) componentDocs(dir string, args []string) error {
	tree, err := disk.Open(dir)
	if err != nil {
		return badInput("%v", err)
	}
	l, err := states.Open(tree, functions())
	if err != nil {
		return err
	}
	if len(args) == 1 {
		c, err := l.Describe(args[0])
		if err != nil {
			return err
		}
		if t.json {
			return t.printJSON(componentJSON(c))
		}
		t.printComponent(c)
		return nil
	}
	all := []any{}
	var rows [][]string
	for _, name := range l.Components() {
		c, err := l.Describe(name)
		if err != nil {
			return err
		}
		all = append(all, componentJSON(c))
		short, _, _ := strings.Cut(firstLine(c.Description), ". ")
		rows = append(rows, []string{c.Name, strings.TrimSuffix(short, ".")})
	}
	if t.json {
		return t.printJSON(all)
	}
	t.table([]string{"COMPONENT", "WHAT IT IS"}, rows)
	if more := extended(l); len(more) > 0 {
		t.printf("\n")
		t.listFunctions(more)
	}
	return nil
}

// extended are the functions of a tree's extension modules.
func extended(l *states.Catalogue) []states.Function {
	known := map[string]bool{}
	for _, f := range functions() {
		known[f.Module] = true
	}
	return slices.DeleteFunc(l.Functions(), func(f states.Function) bool { return known[f.Module] })
}

func (t *terminal) printComponent(c states.Component) {
	t.printf("%s\n", t.paint(bold, c.Name))
	if c.Description != "" {
		t.printf("\n%s\n", strings.TrimSpace(c.Description))
	}
	if len(c.Needs) > 0 {
		t.printf("\nneeds %s\n", strings.Join(c.Needs, ", "))
	}
	if len(c.Parameters) > 0 {
		t.printf("\n")
	}
	for _, p := range c.Parameters {
		kind := string(p.Type)
		if p.OneOf != nil && !p.Secret {
			words := make([]string, len(p.OneOf))
			for i, v := range p.OneOf {
				words[i] = states.Shown(v)
			}
			kind = strings.Join(words, "|")
		}
		if p.Required {
			kind += ", required"
		}
		if p.Default != nil && !p.Secret {
			kind += ", default " + states.Shown(p.Default)
		}
		if p.Secret {
			kind += ", secret"
		}
		t.printf("  %s (%s)\n", t.paint(cyan, p.Name), kind)
		if p.Description != "" {
			t.printf("%s\n", indent(strings.TrimSpace(p.Description), "      "))
		}
	}
}

// componentJSON is a component as JSON shows it; the default of a secret is not shown.
func componentJSON(c states.Component) any {
	parameters := []map[string]any{}
	for _, p := range c.Parameters {
		out := map[string]any{"name": p.Name, "type": p.Type, "required": p.Required, "secret": p.Secret, "description": p.Description}
		if p.Default != nil && !p.Secret {
			out["default"] = p.Default
		}
		if p.OneOf != nil && !p.Secret {
			out["one_of"] = p.OneOf
		}
		parameters = append(parameters, out)
	}
	return map[string]any{"name": c.Name, "description": c.Description, "needs": append([]string{}, c.Needs...), "parameters": parameters}
}
