package states

import "strings"

// evaluate makes the plain value of a node, with its ${ … } evaluated; false when a problem was reported.
func (c *compilation) evaluate(n *docNode, s *scope) (any, bool) {
	switch n.kind {
	case kindString:
		return c.interpolate(n, s)
	case kindList:
		list, good := make([]any, len(n.items)), c.spend(bytesPerValue*int64(len(n.items)), n.place)
		for i, item := range n.items {
			v, ok := c.evaluate(item, s)
			list[i], good = v, good && ok
		}
		return list, good
	case kindMap:
		m, good := make(map[string]any, len(n.entries)), c.spend(bytesPerValue*int64(len(n.entries)), n.place)
		for _, e := range n.entries {
			v, ok := c.evaluate(e.value, s)
			m[e.key], good = v, good && ok
		}
		return m, good
	}
	return n.value(), true
}

// interpolate evaluates the ${ … } of a string. One that is the whole string keeps its type.
func (c *compilation) interpolate(n *docNode, s *scope) (any, bool) {
	pieces, err := c.lib.split(n.text)
	if err != nil {
		c.problems.add(c.lib.expressionPlace(n, err.offset, 0), err.hint, "%s", err.message)
		return nil, false
	}
	if len(pieces) == 1 && !pieces[0].isExpr {
		return pieces[0].literal, true
	}
	if s.states == nil {
		if reads := append(c.textReads(n, pieces), c.lateReads(pieces, s)...); len(reads) > 0 {
			return c.deferText(n, len(pieces) == 1, reads, s)
		}
	}
	var b strings.Builder
	good := true
	for _, p := range pieces {
		if !p.isExpr {
			b.WriteString(p.literal)
			continue
		}
		v, ok := c.expression(n, p, s)
		if len(pieces) == 1 {
			return v, ok && c.spend(heft(v), n.place)
		}
		good = good && ok
		b.WriteString(asText(v))
		if b.Len() > MaxRenderedBytes {
			c.problems.add(n.place, "", "a string grows larger than %s", sizeText(MaxRenderedBytes))
			return nil, false
		}
	}
	return b.String(), good && c.spend(int64(b.Len()), n.place)
}

func (c *compilation) expression(n *docNode, p piece, s *scope) (any, bool) {
	v, err := c.lib.expressions.eval(p.expression, s)
	if err == nil {
		return v, true
	}
	place := c.lib.expressionPlace(n, p.nth, 0)
	if err.offset >= 0 {
		place = c.lib.expressionPlace(n, p.nth, len("${")+p.lead+err.offset)
	}
	c.problems.add(place, err.hint, "%s", err.message)
	return nil, false
}

// heft is about what a value takes in memory, beyond what it shares with the variables.
func heft(v any) int64 {
	n := int64(0)
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			n += bytesPerValue + heft(item)
		}
	case map[string]any:
		for _, item := range v {
			n += bytesPerValue + heft(item)
		}
	}
	return n
}

// spend counts bytes that a plan holds because of evaluation; too many are a problem.
func (c *compilation) spend(n int64, p Place) bool {
	c.lib.noting.spent += n
	return c.reserve(n, p)
}

func (c *compilation) reserve(n int64, p Place) bool {
	if c.rendered += n; c.rendered <= MaxRenderedTotal {
		return true
	}
	if !c.overspent {
		c.overspent, c.full = true, true
		c.problems.add(p, "", "its values and rendered contents are more than %s in one plan", sizeText(MaxRenderedTotal))
	}
	return false
}

// split caches splitText.
func (l *Catalogue) split(text string) ([]piece, *expressionError) {
	if s, ok := l.splits[text]; ok {
		return s.pieces, s.err
	}
	pieces, err := splitText(text)
	if strings.Contains(text, "${") {
		l.splits[text] = splitResult{pieces, err}
	}
	return pieces, err
}

type splitResult struct {
	pieces []piece
	err    *expressionError
}

// expressionPlace finds the nth "${" of the string that begins at p, and goes on by a number of bytes of its line. What
// was rendered or computed has no such place in the file: then it is the string's own.
func (l *Catalogue) expressionPlace(n *docNode, nth, offset int) Place {
	p := n.place
	if _, rendered := l.problems.rendered[p.File]; rendered || n.computed {
		return p
	}
	at := &l.foundLast
	switch {
	case at.node == n && at.none:
		return p
	case at.node != n || nth <= at.nth:
		*at = foundExpression{node: n, nth: -1, place: p, from: max(p.Column-1, 0)}
	}
	for at.place.Line-p.Line < 1000 {
		line := l.tree.line(at.place)
		from := min(at.from, len(line))
		if i := strings.Index(line[from:], "${"); i >= 0 {
			at.nth++
			at.from = from + i + 2
			if at.nth < nth {
				continue
			}
			found := at.place
			if found.Column = from + i + 1 + offset; found.Column > len(line)+1 {
				found.Column = from + i + 1
			}
			return found
		}
		at.place.Line++
		at.from = 0
		if line == "" && at.place.Line-p.Line > 100 {
			break
		}
	}
	at.none = true
	return p
}

// foundExpression is how far a text was searched for its expressions: its next one is mostly what is asked for next.
type foundExpression struct {
	node  *docNode
	nth   int // of the expression that was found there
	place Place
	from  int  // where in the line to go on
	none  bool // none was found: nor will a later one be
}
