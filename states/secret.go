package states

const (
	secretTag = "!secret" // before a value in YAML
	secretKey = "$secret" // the only key of a map, in every form
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
		marked := *value
		marked.secret = true
		return &marked
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
	// Of one compilation: what secret() answers from, for whom, and what it refused last.
	given   *Secrets
	node    string
	refused *expressionError
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
		texts = append(texts, text)
	}
	m := NewMask(texts)
	for i := range ps {
		ps[i].Message, ps[i].Source, ps[i].Hint = m.Text(ps[i].Message), m.Text(ps[i].Source), m.Text(ps[i].Hint)
	}
	return ps
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
