package states

import (
	"bytes"
	"io/fs"
	"path"
	"strings"
)

// HideMarked hides in a document of a tree what is written below !secret and "$secret", line by line, so that lines keep their
// numbers. It goes by the text alone, since a document that is shown may be none: what follows a mark on its line is hidden, and
// so are the lines below it that are further in.
func HideMarked(data []byte) []byte {
	if !isMarked(data) {
		return data
	}
	lines := strings.SplitAfter(string(data), "\n")
	deeper := -1 // than this many blanks is hidden; -1: nothing is
	for i, line := range lines {
		text := strings.TrimRight(line, "\r\n")
		ink := strings.TrimLeft(text, " \t")
		indent, end := len(text)-len(ink), line[len(text):]
		if deeper >= 0 && (ink == "" || indent > deeper) {
			if ink != "" {
				lines[i] = text[:indent] + Masked + end
			}
			continue
		}
		deeper = -1
		if at := afterMark(text); at >= 0 {
			deeper = indent
			lines[i] = text[:at] + " " + Masked + end
		}
	}
	return []byte(strings.Join(lines, ""))
}

func isMarked(data []byte) bool {
	return bytes.Contains(data, []byte(secretTag)) || bytes.Contains(data, []byte(secretKey))
}

// afterMark is where a mark on a line ends; -1: there is none, or nothing after it.
func afterMark(line string) int {
	at := -1
	for _, mark := range []string{secretTag, secretKey} {
		if i := strings.Index(line, mark); i >= 0 && (at < 0 || i+len(mark) < at) {
			at = i + len(mark)
		}
	}
	if at < 0 {
		return -1
	}
	for at < len(line) && strings.IndexByte(`"': `, line[at]) >= 0 && line[at] != ' ' {
		at++ // the end of the key
	}
	return at
}

// marked hides a secret in the line that a problem shows, and in what is said of it.
func (p *Problem) marked(data []byte) {
	if p.Source == "" || !isMarked(data) {
		return
	}
	shown := bytes.Split(HideMarked(data), []byte("\n"))
	if p.Place.Line > len(shown) {
		return
	}
	line := strings.TrimRight(string(shown[p.Place.Line-1]), "\r")
	before, _, hides := strings.Cut(line, Masked)
	if !hides || strings.Contains(p.Source, Masked) {
		return
	}
	if before = strings.TrimRight(before, " "); len(before) < len(p.Source) {
		m := NewMask([]string{strings.Trim(p.Source[len(before):], " \t|>")})
		p.Message, p.Hint = m.Text(p.Message), m.Text(p.Hint)
	}
	p.Source = line
}

// SecretsOf lists the values that a tree marks as secrets, and those of parameters that a component.yaml calls so, for whoever
// shows its files. What is wrong with the tree is passed over: such a file has none but what HideMarked finds.
func SecretsOf(fsys fs.FS) []string {
	t := newTree(fsys)
	l := &Catalogue{tree: t, problems: newCollector(t), documents: map[string]*docNode{}, units: map[string]*collector{}}
	var docs []*docNode
	names := map[string]bool{} // of secret parameters
	budget := maxSecretFiles
	_ = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".yaml" && path.Ext(name) != ".json" {
			return nil
		}
		if budget--; budget < 0 {
			return fs.SkipAll
		}
		doc := l.document(name)
		docs = append(docs, doc)
		if strings.TrimSuffix(path.Base(name), path.Ext(name)) == "component" {
			secretNames(doc, names)
		}
		return nil
	})
	for _, doc := range docs {
		l.noteNamed(doc, names)
	}
	return keysOf(l.secrets.values)
}

// maxSecretFiles bounds the documents that SecretsOf reads.
const maxSecretFiles = 20_000

// secretNames adds the parameters that a component.yaml calls secret.
func secretNames(doc *docNode, names map[string]bool) {
	if doc == nil {
		return
	}
	parameters := doc.get("parameters")
	if parameters == nil {
		return
	}
	for _, e := range parameters.entries {
		if e.value == nil {
			continue
		}
		if secret := e.value.get("secret"); secret != nil && secret.boolean {
			names[e.key] = true
		}
	}
}

// noteNamed notes the values of such parameters, wherever in a document they are given.
func (l *Catalogue) noteNamed(n *docNode, names map[string]bool) {
	if n == nil {
		return
	}
	for _, item := range n.items {
		l.noteNamed(item, names)
	}
	for _, e := range n.entries {
		if !names[e.key] || e.value == nil {
			l.noteNamed(e.value, names)
			continue
		}
		if fallback := e.value.get("default"); fallback != nil && e.value.get("secret") != nil {
			l.secrets.note(fallback.value()) // in its component.yaml
			continue
		}
		l.secrets.note(e.value.value())
	}
}

// holdsSecret tells whether anything in a document's value was marked.
func (n *docNode) holdsSecret() bool {
	if n.secret {
		return true
	}
	for _, item := range n.items {
		if item.holdsSecret() {
			return true
		}
	}
	for _, e := range n.entries {
		if e.value.holdsSecret() {
			return true
		}
	}
	return false
}
