package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"shoal/executor"
	"shoal/internal/ownfile"
	"shoal/states"
	"shoal/states/disk"
)

func newFmt(t *terminal) *cobra.Command {
	var check, diff bool
	cmd := &cobra.Command{
		Use:   "fmt [TREE|FILE...]",
		Short: "Format the YAML of a tree",
		Long: `Format the YAML of a tree, or of the files named: blocks indented by two, lists below their key, at most one empty
line, no needless blanks. Comments, the order of keys, quotes, anchors and long values stay as they are: only white space
changes. What comes out is read back and compared; a file whose meaning would change is refused and left alone.

It prints the files that it changed. When one of them is no valid YAML, none is written and the exit status is 2. Of a
tree, it formats site, inventory, roles, variables, and of each component states, defaults and component.yaml. Templates
(.j2) are left alone. With - it formats standard input to standard output.`,
		Example: `  shoal fmt                          # the tree in this folder
  shoal fmt --check mytree           # in CI: exit status 10 when something is to do
  shoal fmt --diff components/web/states.yaml`,
	}
	cmd.Flags().BoolVar(&check, "check", false, "write nothing; exit with 10 when a file is not formatted")
	cmd.Flags().BoolVar(&diff, "diff", false, "write nothing; show what would change")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 1 && args[0] == "-" {
			return t.formatInput(os.Stdin)
		}
		files, err := t.formatAll(args)
		if err != nil {
			return err
		}
		if !check && !diff {
			if err := writeFormatted(files); err != nil {
				return err
			}
		}
		if err := t.printFormatted(files, diff); err != nil {
			return err
		}
		if check && len(files) > 0 {
			return &exitError{status: exitChanges}
		}
		return nil
	}
	return cmd
}

// formattedFile is a file that is not as it should be.
type formattedFile struct {
	path     string
	mode     os.FileMode
	old, now []byte
}

// formatInput is for editors that pipe a buffer through.
func (t *terminal) formatInput(in io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(in, states.MaxDocumentBytes+1))
	if err != nil {
		return err
	}
	out, err := formatDocument("standard input", data)
	if err != nil {
		return err
	}
	_, err = t.out.Write(out)
	return err
}

func formatDocument(name string, data []byte) ([]byte, error) {
	if len(data) > states.MaxDocumentBytes {
		return nil, badInput("%s is larger than %d MiB", name, states.MaxDocumentBytes>>20)
	}
	return states.Format(name, data)
}

// formatAll formats in memory, so that nothing is written when anything is wrong. It returns what differs.
func (t *terminal) formatAll(args []string) ([]formattedFile, error) {
	if len(args) == 0 {
		args = []string{"."}
	}
	var changed []formattedFile
	var problems states.Problems
	for _, arg := range args {
		names, err := t.yamlFiles(arg)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			f, err := readFormatted(name)
			var wrong states.Problems
			switch {
			case errors.As(err, &wrong):
				problems = append(problems, wrong...)
			case err != nil:
				return nil, err
			case string(f.old) != string(f.now):
				changed = append(changed, f)
			}
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return changed, nil
}

// yamlFiles are the files that an argument names: itself, or the documents of a tree.
func (t *terminal) yamlFiles(arg string) ([]string, error) {
	info, err := os.Stat(arg)
	switch {
	case err != nil:
		return nil, badInput("%v", err)
	case !info.IsDir() && strings.HasSuffix(arg, ".j2"):
		return nil, badInput("%s is a template: what it renders to is YAML, and it is not", arg)
	case !info.IsDir():
		return []string{arg}, nil
	}
	tree, err := disk.Open(arg)
	if err != nil {
		return nil, badInput("%v", err)
	}
	defer tree.Close()
	names, templates, err := states.Documents(tree)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, badInput("%s holds no site.yaml, components, roles or variables: is it a state tree?", arg)
	}
	for i := range names {
		names[i] = filepath.Join(arg, filepath.FromSlash(names[i]))
	}
	for _, name := range templates {
		t.note("%s: a template, left alone", filepath.Join(arg, filepath.FromSlash(name)))
	}
	return names, nil
}

// readFormatted refuses what is not a file of its own: a symlink would be replaced by what it leads to.
func readFormatted(path string) (formattedFile, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return formattedFile{}, err
	}
	if !info.Mode().IsRegular() {
		return formattedFile{}, badInput("%s is not a regular file: format what it leads to", path)
	}
	if info.Size() > states.MaxDocumentBytes {
		return formattedFile{}, badInput("%s is larger than %d MiB", path, states.MaxDocumentBytes>>20)
	}
	f := formattedFile{path: path, mode: info.Mode().Perm()}
	if f.old, err = os.ReadFile(path); err != nil {
		return f, err
	}
	f.now, err = formatDocument(path, f.old)
	return f, err
}

func writeFormatted(files []formattedFile) error {
	for _, f := range files {
		if err := ownfile.Write(f.path, f.now, f.mode); err != nil {
			return fmt.Errorf("format: %w", err)
		}
	}
	return nil
}

func (t *terminal) printFormatted(files []formattedFile, diff bool) error {
	type entry struct {
		File string `json:"file"`
		Diff string `json:"diff,omitempty"`
	}
	list := []entry{}
	for _, f := range files {
		e := entry{File: f.path}
		if diff {
			e.Diff = executor.ShownDiff(f.path, f.old, f.now, states.HideMarked(f.old), states.HideMarked(f.now))
		}
		list = append(list, e)
	}
	if t.json {
		return t.printJSON(list)
	}
	for _, e := range list {
		if diff {
			t.printf("%s", t.paintDiff(e.Diff))
			continue
		}
		t.printf("%s\n", e.File)
	}
	return nil
}
