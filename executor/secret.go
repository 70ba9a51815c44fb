package executor

import (
	"maps"
	"reflect"
	"slices"

	"shoal/states"
)

// A report goes to people, to logs and to every member of the mesh; a plan, the journal and the ledger do not. So whatever a
// report says is masked in one place, when it is complete: nothing that is said of a run on the way is shown elsewhere.

// hiddenDiff stands for the diff of a part that holds a secret.
const hiddenDiff = "(hidden: it holds a secret)\n"

// maxLedgerSecrets bounds the texts that the ledger keeps to hide; the newest stay.
const maxLedgerSecrets = 10_000

// secrecy is what a run knows of the secrets of its plan. The walk alone uses it.
type secrecy struct {
	texts map[string]bool // that no report may show
	// held is whether what was evaluated since it was last cleared holds a secret, and found the texts of these.
	held  bool
	found []string
}

func newSecrecy(plan *states.Plan) *secrecy {
	s := &secrecy{texts: make(map[string]bool, len(plan.Secrets))}
	s.add(plan.Secrets)
	return s
}

func (s *secrecy) add(texts []string) {
	for _, text := range texts {
		s.texts[text] = true
	}
}

func (s *secrecy) list() []string { return slices.Sorted(maps.Keys(s.texts)) }

// maskReport hides texts in all that a report says. What names things (states, nodes, revisions) is no secret: the compiler
// refuses an id that depends on one.
func maskReport(r *Report, texts []string) {
	m := states.NewMask(texts)
	if m.Empty() {
		return
	}
	r.Error = m.Text(r.Error)
	for i := range r.Left {
		r.Left[i] = m.Text(r.Left[i])
	}
	for i := range r.States {
		row := &r.States[i]
		row.Diff, row.Error, row.Note = m.Text(row.Diff), m.Text(row.Error), m.Text(row.Note)
		if len(row.Outputs) > 0 {
			row.Outputs, _ = m.Value(row.Outputs).(map[string]any)
		}
	}
}

// mask ends the making of a report.
func (r *run) mask() { maskReport(&r.report.Report, r.secrets.list()) }

// hide keeps the diff and the outputs of a part that holds a secret out of its row. A diff that only says what is known after
// apply shows texts of the tree, and stays.
func (t *task) hide(row *StateReport) {
	if !t.secret {
		return
	}
	if row.Diff != "" && !t.found.open {
		row.Diff = hiddenDiff
	}
	shown := make(map[string]any, len(row.Outputs))
	for name, v := range row.Outputs {
		if shown[name] = v; !t.open(v) {
			shown[name] = states.Masked
		}
	}
	row.Outputs = shown
}

// open: an output of a part that holds a secret says no more than what may be seen: yes or no, or a parameter that is none.
func (t *task) open(output any) bool {
	switch output.(type) {
	case nil, bool:
		return true
	}
	for name, v := range t.params {
		if !t.hidden[name] && reflect.DeepEqual(v, output) {
			return true
		}
	}
	return false
}

// conceal notes which parameters of a task hold a secret as the plan has them. One that is evaluated later may turn out to hold
// none; of a list or a map with such a value in it nobody asks.
func (t *task) conceal() {
	for _, name := range t.inv.Parts[t.part].Secret {
		if d, late := t.params[name].(states.Deferred); !late || d.Twin == nil {
			t.hides(name)
		}
	}
}

func (t *task) hides(name string) {
	if t.hidden == nil {
		t.hidden = map[string]bool{}
	}
	t.hidden[name], t.secret = true, true
}

// taints tells whether any output that d reads is a secret.
func (v *values) taints(d states.Deferred) bool {
	return slices.ContainsFunc(d.Reads, func(ref states.OutputRef) bool {
		return v.made[invocation{ref.ID, ref.Number}].secret[ref.Output]
	})
}

// expose evaluates d once more with other values in the place of the secrets that it reads, and notes the texts in which the two
// differ: these are secret, through whatever they went. It returns whether there is a difference.
func (r *run) expose(d states.Deferred, known map[states.OutputRef]any, value any, rendered []byte) bool {
	if !d.Secret && !r.values.taints(d) {
		return false
	}
	twin, others := d, maps.Clone(known)
	for ref, v := range others {
		if r.values.made[invocation{ref.ID, ref.Number}].secret[ref.Output] {
			others[ref] = states.StandIn(v)
		}
	}
	if d.Twin != nil {
		twin = *d.Twin
	}
	other, otherRendered, err := r.meta.Resolver.Resolve(twin, others)
	if err != nil || d.Secret && d.Twin == nil {
		other, otherRendered = nil, nil // it depends on the secret whether there is a value, or nobody can tell
	}
	if err == nil && reflect.DeepEqual(value, other) {
		return false
	}
	texts := states.Differing(value, other, rendered, otherRendered)
	r.secrets.held, r.secrets.found = true, append(r.secrets.found, texts...)
	r.secrets.add(texts)
	return true
}

// secretOf names those of a task's outputs that hold a secret, sorted.
func (t *task) secretOf(outputs map[string]any) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		if t.secret && !t.open(outputs[name]) {
			names = append(names, name)
		}
	}
	return names
}
