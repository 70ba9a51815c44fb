package main

import (
	"strings"

	"github.com/spf13/cobra"

	"shoal/states"
)

func newSchema(t *terminal) *cobra.Command {
	names := states.SchemaNames()
	var tree string
	cmd := &cobra.Command{
		Use:       "schema [" + strings.Join(names, "|") + "]",
		Short:     "JSON Schema of the documents of a tree, for editors",
		ValidArgs: names,
		Long: `JSON Schema (2020-12) of the documents of a tree, with all modules and parameters of this binary, for editors; with --tree also
those of the tree's extension modules.

Without an argument it is one schema for all documents. An editor that uses yaml-language-server (VS Code with the YAML
extension, Neovim, Emacs, Helix) completes keys, shows their manual and marks mistakes when a file begins with a modeline:

  shoal schema states > .schema/states.json

  # yaml-language-server: $schema=../../.schema/states.json
  states:
    …

or when its settings name the files:

  yaml.schemas: {.schema/states.json: "components/*/states.yaml", .schema/site.json: "site.yaml",
                 .schema/role.json: "roles/*.yaml"}
  yaml.customTags: ["!secret scalar", "!secret mapping", "!secret sequence"]

A schema sees one file alone: that names exist, and what expressions give, shoal validate finds.`,
		Example: `  shoal schema > shoal.schema.json
  shoal schema states > .schema/states.json`,
		Args: cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		RunE: func(_ *cobra.Command, args []string) error {
			known, err := functionsOf(tree)
			if err != nil {
				return err
			}
			schema, err := states.Schema(strings.Join(args, ""), known)
			if err != nil {
				return badInput("%v", err)
			}
			return t.printJSON(schema)
		},
	}
	cmd.Flags().StringVar(&tree, "tree", "", "a tree, with whose extension modules")
	return cmd
}
