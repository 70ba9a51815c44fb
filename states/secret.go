package states

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"slices"
	"strings"
)

// What a secret flows into is found by compiling twice, the second time with a stand-in for each secret: whatever differs
// between the two plans depends on a secret, through whichever template, filter or expression it went. (Secure
// multi-execution: Devriese and Piessens, "Noninterference Through Secure Multi-Execution", IEEE S&P 2010.)

const (
	secretTag = "!secret" // before a value in YAML
	secretKey = "$secret" // the only key of a map, in every form
	// minSecret is the shortest text that is masked wherever it appears: a shorter one is in too many words.
	minSecret = 4
	// maxSecrets bounds the texts to mask in one plan; where there are more, whole values are still hidden.
	maxSecrets = 10_000
)

// unwrap takes the marks of secrets off a document: {"$secret": value}, as which !secret is read too.
func (l *Catalogue) unwrap(n *docNode) *docNode {
	if n == nil || n.size <= 1 {
		return n
	}
	if n.kind == kindMap && len(n.entries) == 1 && n.entries[0].key == secretKey {
		l.secrets.found = true
		value := n.entries[0].value
		l.secrets.note(value.value())
		if l.secrets.twin {
			value = standIn(value)
		}
		return value
	}
	for i, item := range n.items {
		n.items[i] = l.unwrap(item)
	}
	for i := range n.entries {
		n.entries[i].value = l.unwrap(n.entries[i].value)
	}
	return n
}

// secrets is what a Catalogue knows of the secrets that it has read so far.
type secrets struct {
	found  bool
	twin   bool // this Catalogue reads stand-ins
	values map[string]bool
}

func (l *secrets) note(v any) {
	if l.values == nil {
		l.values = map[string]bool{}
	}
	leavesOf(v, func(text string) { l.values[text] = true })
}

// leavesOf visits the scalars of a value as text.
func leavesOf(v any, visit func(string)) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			leavesOf(item, visit)
		}
	case map[string]any:
		for _, item := range v {
			leavesOf(item, visit)
		}
	case nil, bool:
	default:
		visit(asText(v))
	}
}

// mask hides the secrets read so far in the problems of a tree.
func (l *secrets) mask(ps Problems) Problems {
	if !l.found {
		return ps
	}
	var texts []string
	for text := range l.values {
		if len(text) >= minSecret {
			texts = append(texts, text)
		}
	}
	m := NewMask(texts)
	for i := range ps {
		ps[i].Message, ps[i].Source, ps[i].Hint = m.Text(ps[i].Message), m.Text(ps[i].Source), m.Text(ps[i].Hint)
	}
	return ps
}

// standIn is a value of the same shape whose leaves all differ.
func standIn(n *docNode) *docNode {
	out := *n
	switch n.kind {
	case kindBool:
		out.boolean = !n.boolean
	case kindInt:
		out.integer, out.text = n.integer^1, asText(n.integer^1)
	case kindFloat:
		out.float, out.text = n.float+1, asText(n.float+1)
	case kindString:
		out.text = standInText(n.text)
	case kindList:
		out.items = make([]*docNode, len(n.items))
		for i, item := range n.items {
			out.items[i] = standIn(item)
		}
	case kindMap:
		out.entries = slices.Clone(n.entries)
		for i := range out.entries {
			out.entries[i].value = standIn(out.entries[i].value)
		}
	}
	return &out
}

// standInText is as long as the text, or longer.
func standInText(s string) string {
	sum := sha256.Sum256([]byte("stand-in:" + s))
	text := hex.EncodeToString(sum[:])
	for len(text) < len(s) {
		text += text
	}
	b := []byte(text[:max(len(s), 8)])
	if s != "" { // both ends differ, so that what two texts share is no part of the secret
		b[0] = unlike(s[0])
		b[len(b)-1] = unlike(s[len(s)-1])
	}
	return string(b)
}

// unlike is a letter that is not c, in either case.
func unlike(c byte) byte {
	if c == 'x' || c == 'X' {
		return 'y'
	}
	return 'x'
}

// standInValue is standIn for a plain value.
func standInValue(v any) any {
	switch v := v.(type) {
	case bool:
		return !v
	case int64:
		return v ^ 1
	case float64:
		return v + 1
	case string:
		return standInText(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = standInValue(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = standInValue(v[k])
		}
		return out
	}
	return v
}

// hideParameters gives the parameters that component.yaml calls secret their stand-ins.
func (l *Catalogue) hideParameters(comp *component, vars map[string]any) map[string]any {
	for _, d := range comp.parameters {
		v, given := vars[d.Name]
		if !d.Secret || !given {
			continue
		}
		l.secrets.found = true
		l.secrets.note(v)
		if l.secrets.twin {
			vars = merge(vars, nil)
			vars[d.Name] = standInValue(v)
		}
	}
	return vars
}

// compileTainted compiles and, where the tree has secrets, compiles once more with stand-ins and marks what differs.
func (l *Catalogue) compileTainted(in Input) (*Plan, *collector, error) {
	plan, problems := l.compile(in)
	if !l.secrets.found || len(problems.sorted()) > 0 {
		return plan, problems, nil
	}
	if l.other == nil {
		twin, err := l.reopen()
		if err != nil {
			return nil, nil, err
		}
		l.other = twin
	}
	twin, failed := l.other.compile(in)
	t := tainting{plan: plan, twin: twin, texts: map[string]bool{}}
	t.blind = len(failed.sorted()) > 0 || !t.sameShape(problems)
	t.mark()
	return plan, problems, nil
}

// tainting compares a plan with its twin.
type tainting struct {
	plan, twin *Plan
	blind      bool // the two cannot be compared: all is taken for secret
	texts      map[string]bool
}

// sameShape: the same invocations with the same parts. An id that depends on a secret is a problem, since ids are shown.
func (t *tainting) sameShape(real *collector) bool {
	if len(t.plan.Invocations) != len(t.twin.Invocations) {
		return false
	}
	for i := range t.plan.Invocations {
		a, b := &t.plan.Invocations[i], &t.twin.Invocations[i]
		if a.ID != b.ID && len(a.Parts) == len(b.Parts) && a.Place == b.Place {
			real.add(a.Place, "name states by something that may be seen", "a secret is part of the id of this state, and ids are shown")
			return false
		}
		if a.ID != b.ID || a.Number != b.Number || len(a.Parts) != len(b.Parts) {
			return false
		}
	}
	return true
}

func (t *tainting) mark() {
	for i := range t.plan.Invocations {
		in := &t.plan.Invocations[i]
		var other *StateInvocation
		if !t.blind {
			other = &t.twin.Invocations[i]
		}
		t.when(in, other)
		parts := slices.Clone(in.Parts) // they may be shared with other plans
		for p := range parts {
			if other == nil {
				t.part(&parts[p], nil)
			} else {
				t.part(&parts[p], other.Parts[p].Params)
			}
		}
		in.Parts = parts
	}
	for text := range t.texts {
		if len(text) >= minSecret {
			t.plan.Secrets = append(t.plan.Secrets, text)
		}
	}
	slices.SortFunc(t.plan.Secrets, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	t.plan.Secrets = t.plan.Secrets[:min(len(t.plan.Secrets), maxSecrets)]
}

func (t *tainting) when(in, other *StateInvocation) {
	if in.When == nil {
		return
	}
	if other == nil || other.When == nil || in.When.Scope != other.When.Scope {
		when := *in.When
		when.Secret = true
		in.When = &when
	}
}

func (t *tainting) part(p *StatePartInvocation, twin map[string]any) {
	p.Secret = nil
	for _, name := range keysOf(p.Params) {
		other, has := twin[name]
		if has && reflect.DeepEqual(p.Params[name], other) {
			continue
		}
		if len(p.Secret) == 0 {
			params := make(map[string]any, len(p.Params))
			for k, v := range p.Params {
				params[k] = v
			}
			p.Params = params
		}
		p.Secret = append(p.Secret, name)
		p.Params[name] = t.hidden(p.Params[name], other)
	}
}

// hidden marks the contents and deferred values within v, and notes the texts in which it differs from its twin.
func (t *tainting) hidden(v, twin any) any {
	switch v := v.(type) {
	case Content:
		v.Secret = true
		if other, ok := twin.(Content); ok && !t.blind {
			t.lines(string(t.plan.Rendered[v.Hash]), string(t.twin.Rendered[other.Hash]))
		}
		return v
	case Deferred:
		v.Secret = true
		return v
	case []any:
		others, _ := twin.([]any)
		out := make([]any, len(v))
		for i := range v {
			var other any
			if i < len(others) {
				other = others[i]
			}
			if out[i] = v[i]; !reflect.DeepEqual(v[i], other) {
				out[i] = t.hidden(v[i], other)
			}
		}
		return out
	case map[string]any:
		others, _ := twin.(map[string]any)
		out := make(map[string]any, len(v))
		for k := range v {
			if out[k] = v[k]; !reflect.DeepEqual(v[k], others[k]) {
				out[k] = t.hidden(v[k], others[k])
			}
		}
		return out
	case nil, bool:
	default:
		other, _ := twin.(string)
		t.lines(asText(v), other)
	}
	return v
}

// lines notes where texts differ from their twins, line by line.
func (t *tainting) lines(real, twin string) {
	theirs := strings.Split(twin, "\n")
	for i, line := range strings.Split(real, "\n") {
		other := ""
		if i < len(theirs) {
			other = theirs[i]
		}
		if line != other && len(t.texts) < maxSecrets {
			t.texts[differing(line, other)] = true
		}
	}
}

// differing is what is left of a text without what it shares with another at both ends.
func differing(text, other string) string {
	for text != "" && other != "" && text[0] == other[0] {
		text, other = text[1:], other[1:]
	}
	for text != "" && other != "" && text[len(text)-1] == other[len(other)-1] {
		text, other = text[:len(text)-1], other[:len(other)-1]
	}
	return text
}
