package states

import (
	"bytes"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// templateReads is what one template reads, once found.
type templateReads struct {
	reads []outputRead
	err   *placedError
}

// outputs goes through the words of the template's tags, and of the files that it includes by a constant name.
func (j *jinja) outputs(name string) ([]outputRead, *placedError) {
	if r, ok := j.reads[name]; ok {
		return r.reads, r.err
	}
	var r templateReads
	seen := map[string]bool{}
	for queue := []string{name}; len(queue) > 0 && r.err == nil && len(seen) < maxIncludes; queue = queue[1:] {
		at := queue[0]
		data, err := j.lib.tree.read(at, MaxTemplateBytes)
		if err != nil || seen[at] || !bytes.Contains(data, []byte("states")) && !mutating.Match(data) {
			continue // what cannot be read is told where it is rendered
		}
		seen[at] = true
		s := jinjaScan{file: at, words: j.words(data)}
		s.run()
		r.reads, r.err = append(r.reads, s.reads...), s.err
		for _, included := range s.includes {
			if found, err := (treeLoader{j, at, 0}).Resolve(included); err == nil {
				queue = append(queue, found[1:])
			}
		}
	}
	if j.reads == nil {
		j.reads = map[string]templateReads{}
	}
	j.reads[name] = r
	return r.reads, r.err
}

// words are the tokens within tags; what is between them, and comments, are left out.
func (j *jinja) words(data []byte) []*tokens.Token {
	var words []*tokens.Token
	for s := tokens.LexAll(string(pythonEscapes(data)), j.config); ; s.Next() {
		t := s.Current()
		if t == nil || t.Type == tokens.EOF || t.Type == tokens.Error {
			return words
		}
		switch t.Type {
		case tokens.Data, tokens.Comment, tokens.CommentBegin, tokens.CommentEnd, tokens.Whitespace:
		default:
			words = append(words, t)
		}
	}
}

// jinjaScan looks for states["ID"].outputs.NAME among words.
type jinjaScan struct {
	file     string
	words    []*tokens.Token
	reads    []outputRead
	includes []string
	err      *placedError
}

func (s *jinjaScan) is(i int, t tokens.Type) bool {
	return i >= 0 && i < len(s.words) && s.words[i].Type == t
}

func (s *jinjaScan) run() {
	for i, w := range s.words {
		if w.Type != tokens.Name {
			continue
		}
		switch w.Val {
		case "include", "import", "extends", "from":
			if s.is(i-1, tokens.BlockBegin) && s.is(i+1, tokens.String) {
				s.includes = append(s.includes, s.words[i+1].Val)
			}
		case "states":
			if s.is(i-1, tokens.Dot) {
				continue
			}
			if s.is(i+1, tokens.Assign) {
				s.reads = nil // a variable of its own
				return
			}
			s.read(i)
		}
		if s.err != nil {
			return
		}
	}
}

func (s *jinjaScan) read(i int) {
	at := Place{File: s.file, Line: s.words[i].Line, Column: s.words[i].Col}
	id, isExpr, next := s.key(i + 1)
	outputs, e1, next := s.key(next)
	name, e2, _ := s.key(next)
	if id == "" || outputs != "outputs" || e1 || name == "" || e2 {
		s.err = &placedError{place: at, message: errReadForm.Error(), hint: readHint}
		return
	}
	s.reads = append(s.reads, outputRead{id: id, isExpr: isExpr, output: name, place: at})
}

// key reads .name, ["name"] or [expression], and says where it goes on.
func (s *jinjaScan) key(i int) (key string, isExpr bool, next int) {
	switch {
	case s.is(i, tokens.Dot) && s.is(i+1, tokens.Name):
		return s.words[i+1].Val, false, i + 2
	case s.is(i, tokens.LeftBracket) && s.is(i+1, tokens.String) && s.is(i+2, tokens.RightBracket):
		return s.words[i+1].Val, false, i + 3
	case s.is(i, tokens.LeftBracket):
		return s.expression(i + 1)
	}
	return "", false, i
}

// expression puts the words up to the closing bracket together again.
func (s *jinjaScan) expression(i int) (text string, isExpr bool, next int) {
	var b strings.Builder
	for depth := 0; i < len(s.words); i++ {
		w := s.words[i]
		switch w.Type {
		case tokens.LeftBracket:
			depth++
		case tokens.RightBracket:
			if depth--; depth < 0 {
				return b.String(), true, i + 1
			}
		case tokens.VariableEnd, tokens.BlockEnd:
			return "", false, i
		}
		if w.Type == tokens.String {
			b.WriteString(` "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w.Val) + `"`)
		} else {
			b.WriteString(" " + w.Val)
		}
		if w.Type == tokens.Dot {
			continue
		}
	}
	return "", false, i
}

// evaluate renders one expression as a template of its own.
func (j *jinja) evaluate(name, expr string, s *scope) (any, error) {
	j.budget.reset()
	out := limitedBuffer{limit: MaxExpressionBytes}
	err := guarded(func() error {
		t, err := exec.NewTemplate("/expression", j.config, oneTemplate("{{"+expr+"}}"), j.env)
		if err != nil {
			return err
		}
		j.budget.guard(t.Root(), name)
		return t.Execute(&out, exec.NewContext(deepCopy(s.templateData()).(map[string]any)))
	})
	if err == nil {
		err = j.budget.err
	}
	if err != nil {
		return nil, errors.New(j.problem(name, err, s).message)
	}
	return out.String(), nil
}

// oneTemplate is the text of a template that stands alone.
type oneTemplate string

// Read implements loaders.Loader.
func (t oneTemplate) Read(string) (io.Reader, error) { return strings.NewReader(string(t)), nil }

// Resolve implements loaders.Loader.
func (t oneTemplate) Resolve(name string) (string, error) { return "/" + path.Base(name), nil }

// Inherit implements loaders.Loader.
func (t oneTemplate) Inherit(string) (loaders.Loader, error) { return t, nil }
