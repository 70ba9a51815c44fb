package states

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/nikolalohinski/gonja/v2/loaders"
)

// treeLoader finds what a template includes: beside the template, else in its component's folder.
type treeLoader struct {
	j     *jinja
	from  string
	depth int // includes within each other
}

// Read reads what Resolve found, or what an extends names as it is written.
func (l treeLoader) Read(name string) (io.Reader, error) {
	name, err := l.path(name)
	if err != nil {
		return nil, err
	}
	data, err := l.j.lib.tree.read(name, MaxTemplateBytes)
	if err != nil {
		return nil, fmt.Errorf("%s %s", name, reason(err))
	}
	if err := l.j.budget.read(len(data)); err != nil {
		return nil, err
	}
	data = pythonEscapes(data)
	if l.depth > 0 || name != l.from { // parse has checked the template itself
		if err := checkNesting(string(data), l.j.config); err != nil {
			return nil, err
		}
	}
	return bytes.NewReader(data), nil
}

// path is the path in the tree: of a name from Resolve what follows its slash.
func (l treeLoader) path(name string) (string, error) {
	found, ok := strings.CutPrefix(name, "/")
	if !ok {
		var err error
		if name, err = l.Resolve(name); err != nil {
			return "", err
		}
		found = name[1:]
	}
	return found, nil
}

// Resolve finds a name as a template writes it. It marks what it found with a slash, since gonja resolves some names and
// others not.
func (l treeLoader) Resolve(name string) (string, error) {
	beside, err := within(path.Dir(l.from), name)
	if err != nil {
		return "", &includeError{err}
	}
	if l.j.lib.tree.exists(beside) {
		return "/" + beside, nil
	}
	parts := strings.SplitN(l.from, "/", 3)
	if len(parts) == 3 && parts[0] == "components" {
		if below, err := within(parts[0]+"/"+parts[1], name); err == nil && l.j.lib.tree.exists(below) {
			return "/" + below, nil
		}
	}
	return "", &includeError{fmt.Errorf("%s does not exist", beside)}
}

// includeError is an include that names nothing. gonja flattens it to text, so the text is marked.
type includeError struct{ err error }

const includeFailed = "include: "

func (e *includeError) Error() string { return includeFailed + e.err.Error() }

func (l treeLoader) Inherit(from string) (loaders.Loader, error) {
	if l.depth >= maxCalls {
		return nil, &includeError{fmt.Errorf("more than %d files within each other", maxCalls)}
	}
	found, err := l.path(from)
	if err != nil {
		return nil, err
	}
	return treeLoader{l.j, found, l.depth + 1}, nil
}
