package states

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
)

// What a secret flows into is found by compiling twice, the second time with a stand-in for each secret: whatever differs
// between the two plans depends on a secret, through whichever template, filter or expression it went. (Secure
// multi-execution: Devriese and Piessens, "Noninterference Through Secure Multi-Execution", IEEE S&P 2010.)

// compileTainted compiles and, where the tree has secrets, compiles once more with stand-ins and marks what differs.
func (l *Catalogue) compileTainted(in Input) (*Plan, *collector, error) {
	real := l.compile(in)
	if !l.secrets.found || len(real.problems.sorted()) > 0 {
		return real.plan, real.problems, nil
	}
	if l.other == nil {
		twin, err := l.reopen()
		if err != nil {
			return nil, nil, err
		}
		l.other = twin
	}
	twin := l.other.compile(in)
	t := tainting{plan: real.plan, twin: twin.plan, texts: map[string]bool{}}
	t.blind = len(twin.problems.sorted()) > 0 || !t.sameShape(real.problems)
	t.variables(real, twin)
	t.mark()
	return real.plan, real.problems, nil
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
		if len(text) >= minShort {
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
	if other != nil && other.When != nil && reflect.DeepEqual(*in.When, *other.When) {
		return
	}
	var twin any
	if other != nil && other.When != nil {
		twin = *other.When
	}
	when := t.deferred(*in.When, twin)
	in.When = &when
}

// deferred marks what reads a secret when it is evaluated, and keeps its twin, which says then what of the value is secret.
func (t *tainting) deferred(d Deferred, twin any) Deferred {
	d.Secret = true
	other, ok := twin.(Deferred)
	if !ok || t.blind {
		t.lines(d.Text, "")
		return d
	}
	t.lines(d.Text, other.Text)
	t.differ(d.Each, other.Each)
	for hash, data := range t.twin.Scopes {
		t.plan.Scopes[hash] = data
	}
	d.Twin = &other
	return d
}

// variables notes the secrets among the variables: what a text makes of them is noted where it is made, but a program may print
// them as they are. Of what is the same in both, nothing is.
func (t *tainting) variables(real, twin *compilation) {
	seen := map[uintptr]bool{}
	pair := func(a, b map[string]any) {
		if at := reflect.ValueOf(a).Pointer(); a != nil && !seen[at] {
			seen[at] = true
			t.differ(a, b)
		}
	}
	theirs := map[string]map[string]any{}
	for _, d := range twin.written {
		theirs[d.comp.name] = d.scope.vars
	}
	for _, d := range real.written {
		if vars, ok := theirs[d.comp.name]; ok {
			pair(d.scope.vars, vars)
		}
	}
	for i := range real.instances {
		if i < len(twin.instances) && twin.instances[i].ID == real.instances[i].ID {
			pair(real.instances[i].scope.vars, twin.instances[i].scope.vars)
			pair(real.instances[i].scope.each, twin.instances[i].scope.each)
		}
	}
}

// differ notes the texts of v that differ from its twin's, whole.
func (t *tainting) differ(v, twin any) {
	switch v := v.(type) {
	case map[string]any:
		others, _ := twin.(map[string]any)
		for k := range v {
			t.differ(v[k], others[k])
		}
	case []any:
		others, _ := twin.([]any)
		for i := range v {
			var other any
			if i < len(others) {
				other = others[i]
			}
			t.differ(v[i], other)
		}
	case Deferred, nil, bool:
	default:
		if text := asText(v); text != asText(twin) && len(t.texts) < maxSecrets {
			t.texts[text] = true
		}
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
		return t.deferred(v, twin)
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
		other := ""
		if twin != nil {
			other = asText(twin)
		}
		t.lines(asText(v), other)
	}
	return v
}

// lines notes where texts differ from their twins, line by line.
func (t *tainting) lines(real, twin string) {
	differing(real, twin, func(text string) {
		if len(t.texts) < maxSecrets {
			t.texts[text] = true
		}
	})
}

// differing visits where a text differs from its twin, line by line: each line without what both share at its ends.
func differing(real, twin string, visit func(string)) {
	theirs := strings.Split(twin, "\n")
	for i, line := range strings.Split(real, "\n") {
		other := ""
		if i < len(theirs) {
			other = theirs[i]
		}
		if line != other {
			visit(withoutEnds(line, other))
		}
	}
}

func withoutEnds(text, other string) string {
	for text != "" && other != "" && text[0] == other[0] {
		text, other = text[1:], other[1:]
	}
	for text != "" && other != "" && text[len(text)-1] == other[len(other)-1] {
		text, other = text[:len(text)-1], other[:len(other)-1]
	}
	return text
}

// Differing lists the texts in which a value differs from that of its twin, whole where there is none. Those of a Content are
// the rendered bytes.
func Differing(value, twin any, rendered, twinRendered []byte) []string {
	t := tainting{plan: &Plan{}, twin: &Plan{}, texts: map[string]bool{}}
	if _, ok := value.(Content); ok {
		t.lines(string(rendered), string(twinRendered))
	} else {
		t.hidden(value, twin)
	}
	return keysOf(t.texts)
}
