package states

import (
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"
)

// The keys of each file of a Folder's value.
const (
	FolderPath     = "path"     // slash path from the folder
	FolderMode     = "mode"     // "0755" of a file that its owner may execute, else "0644"
	FolderContents = "contents" // a Content
)

// renderKey is the parameter that lets files ending in .j2 or .tmpl be rendered, of a function that has it.
const renderKey = "render"

// folder evaluates a Folder parameter: all files below a folder of the tree, sorted by their paths.
func (c *compilation) folder(p StatePart, e docEntry, s *scope, dir string) (any, bool) {
	v, ok := c.withoutOutputs(func() (any, bool) { return c.evaluate(e.value, s) })
	if !ok {
		return nil, false
	}
	text, ok := v.(string)
	if !ok {
		c.problems.add(e.value.place, "", "%s must be a string, not %s", e.key, typeName(v))
		return nil, false
	}
	name, err := within(dir, text)
	if err != nil {
		c.problems.add(e.value.place, "", "%s %s", e.key, err)
		return nil, false
	}
	render, ok := c.renders(p, s)
	if !ok {
		return nil, false
	}
	files, err := c.lib.tree.below(name)
	if err != nil {
		c.problems.add(e.value.place, c.closeFile(name), "%s %s: %s %s", e.key, text, name, reason(err))
		return nil, false
	}
	return c.folderFiles(files, name, render, e, s)
}

// renders evaluates the part's parameter render, which says how its Folder is read.
func (c *compilation) renders(p StatePart, s *scope) (render, ok bool) {
	for _, e := range p.params {
		if e.key == renderKey {
			v, ok := c.withoutOutputs(func() (any, bool) { return c.evaluate(e.value, s) })
			render, isBool := v.(bool)
			return render, ok && (isBool || v == nil) // what it is instead is reported where it is checked
		}
	}
	return false, true
}

func (c *compilation) folderFiles(files []folderFile, root string, render bool, e docEntry, s *scope) (any, bool) {
	list, good, names := []any{}, true, map[string]string{}
	for _, f := range files {
		rel, file := strings.TrimPrefix(f.name, root+"/"), docEntry{key: e.key, value: e.value}
		content, ok := any(nil), false
		if ext := path.Ext(rel); render && c.lib.engines[ext] != nil {
			rel = strings.TrimSuffix(rel, ext)
			content, ok = c.template(f.name, f.name, file, s)
		} else {
			content, ok = c.source(f.name, f.name, file)
		}
		if first, taken := names[rel]; taken {
			c.problems.add(e.value.place, "", "%s: %s and %s both make %s", e.key, first, f.name, rel)
			ok = false
		}
		names[rel] = f.name
		good = good && ok
		list = append(list, map[string]any{FolderPath: rel, FolderMode: f.mode, FolderContents: content})
	}
	sort.Slice(list, func(i, j int) bool {
		return list[i].(map[string]any)[FolderPath].(string) < list[j].(map[string]any)[FolderPath].(string)
	})
	return list, good
}

// folderFile is one file below a folder of the tree.
type folderFile struct {
	name string // slash path in the tree
	mode string
}

// below lists all files below a folder. A symlink or special file in it is an error.
func (t *tree) below(root string) ([]folderFile, error) {
	var files []folderFile
	total := int64(0)
	err := fs.WalkDir(t.fsys, root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return nil
		}
		if name == root {
			return fmt.Errorf("is a file, not a folder")
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if total += info.Size(); len(files) >= MaxFolderFiles || total > MaxFolderBytes {
			return fmt.Errorf("holds more than %d files or %s", MaxFolderFiles, sizeText(MaxFolderBytes))
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("holds %s, which is not a regular file", name)
		}
		mode := "0644"
		if info.Mode()&0o100 != 0 {
			mode = "0755"
		}
		files = append(files, folderFile{name, mode})
		return nil
	})
	return files, err
}
