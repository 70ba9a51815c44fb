package executor

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"shoal/states"
)

// changedOutput is an output that every state has: whether this run changed it.
const changedOutput = "changed"

// values are the outputs that something in the plan reads, as far as the run has come. The walk alone uses it.
type values struct {
	wanted map[invocation]bool
	made   map[invocation]produced
}

// invocation names one run of one state.
type invocation struct {
	id     string
	number int
}

// produced is what an invocation left for others.
type produced struct {
	outputs map[string]any
	// open: it would change, so that its outputs are known after apply.
	open bool
	// secret names the outputs that hold a secret.
	secret map[string]bool
	why    string // it did nothing: what it could not tell anew comes from the ledger
}

func newValues() *values {
	return &values{wanted: map[invocation]bool{}, made: map[invocation]produced{}}
}

func (v *values) reads(d states.Deferred) {
	for _, ref := range d.Reads {
		v.wanted[invocation{ref.ID, ref.Number}] = true
	}
}

// find says whether there is a Deferred in a value, and notes what it reads.
func (v *values) find(value any) bool {
	found := false
	switch value := value.(type) {
	case Params:
		for _, member := range value {
			found = v.find(member) || found
		}
	case map[string]any:
		for _, member := range value {
			found = v.find(member) || found
		}
	case []any:
		for _, item := range value {
			found = v.find(item) || found
		}
	case states.Deferred:
		v.reads(value)
		return true
	}
	return found
}

// produce notes the outputs of an invocation whose turn is over.
func (r *run) produce(i int) {
	inv := r.inv(i)
	name := invocation{inv.ID, inv.Number}
	if !r.values.wanted[name] {
		return
	}
	o := r.seen[i]
	p := produced{outputs: map[string]any{}, secret: map[string]bool{}, open: o.unknown || o.changed && !r.hands, why: o.why}
	if !p.open {
		kept, secret := r.owned.led.remembered(name)
		maps.Copy(p.outputs, kept)
		for output := range kept {
			p.secret[output] = slices.Contains(secret, output) || slices.ContainsFunc(r.tasks[i], func(t *task) bool { return t.secret })
		}
		for _, t := range r.tasks[i] {
			if t.row == nil || t.row.Result != Changed && t.row.Result != Unchanged {
				continue
			}
			for output, v := range t.row.Outputs {
				p.outputs[output], p.secret[output] = v, t.secret && !t.open(v)
			}
		}
	}
	if !o.unknown {
		p.outputs[changedOutput], p.secret[changedOutput] = o.changed, false
	}
	r.values.made[name] = p
}

// errOpen says that a value is known after apply.
var errOpen = errors.New("known after apply")

// evaluate has the resolver evaluate one value; the error is errOpen when something that it reads would change.
func (r *run) evaluate(d states.Deferred) (any, error) {
	known := make(map[states.OutputRef]any, len(d.Reads))
	for _, ref := range d.Reads {
		p, over := r.values.made[invocation{ref.ID, ref.Number}]
		v, ok := p.outputs[ref.Output]
		switch {
		case ok:
			known[ref] = v
		case p.open:
			return nil, errOpen
		case !over:
			return nil, fmt.Errorf("%s: output %s of %s: it has not run", d.Place, ref.Output, ref.ID)
		case p.why != "":
			return nil, fmt.Errorf("%s: output %s of %s is not known: it did not run (%s), and no earlier run left one", d.Place, ref.Output, ref.ID, p.why)
		default:
			return nil, fmt.Errorf("%s: output %s of %s is not known: it had nothing to do, and no earlier run left one", d.Place, ref.Output, ref.ID)
		}
	}
	if r.meta.Resolver == nil {
		return nil, fmt.Errorf("%s: nothing here can evaluate %s", d.Place, d.Text)
	}
	plain := d
	plain.Secret = false // it is marked when it turns out to hold one
	value, rendered, err := r.meta.Resolver.Resolve(plain, known)
	if err != nil {
		return nil, err
	}
	secret := r.expose(d, known, value, rendered)
	if c, ok := value.(states.Content); ok {
		c.Secret = secret
		r.contents.add(c.Hash, rendered)
		return c, nil
	}
	return value, nil
}

// resolve is a value with every Deferred in it evaluated.
func (r *run) resolve(value any) (any, error) {
	switch value := value.(type) {
	case states.Deferred:
		return r.evaluate(value)
	case []any:
		out := make([]any, len(value))
		for i, item := range value {
			var err error
			if out[i], err = r.resolve(item); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		return r.resolveMembers(value)
	}
	return value, nil
}

func (r *run) resolveMembers(members map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(members))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		var err error
		if out[name], err = r.resolve(members[name]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// settle gives a task the parameters that it has now; the error is errOpen where they are known after apply. What the survey
// prepared for others is dropped.
func (r *run) settle(t *task) error {
	if t.written == nil {
		return nil
	}
	params, err := r.resolveParameters(t)
	t.found.open = errors.Is(err, errOpen)
	if err != nil {
		return err
	}
	if err := t.validate(params); err != nil {
		return err
	}
	if reflect.DeepEqual(Params(params), t.params) {
		return nil
	}
	t.params = params
	t.work.saved = nil
	r.discard(t)
	if old := t.key; !t.reaction {
		t.makes()
		r.owned.rename(old, t)
	}
	return nil
}

// validate asks the function what it asks at compile time of parameters that wait for nothing.
func (t *task) validate(params map[string]any) error {
	if t.function.Validate == nil {
		return nil
	}
	if err := t.function.Validate(params); err != nil {
		return fmt.Errorf("%s: %s: %w (it read outputs, so that this is known only now)", t.inv.Parts[t.part].Place, t.name, err)
	}
	return nil
}

// resolveParameters are a task's parameters as they are now, and notes which of them hold a secret.
func (r *run) resolveParameters(t *task) (map[string]any, error) {
	out := make(map[string]any, len(t.written))
	t.texts = nil
	for _, name := range slices.Sorted(maps.Keys(t.written)) {
		r.secrets.held, r.secrets.found = false, nil
		var err error
		if out[name], err = r.resolve(t.written[name]); err != nil {
			return nil, err
		}
		if r.secrets.held {
			t.hides(name)
			t.texts = append(t.texts, r.secrets.found...)
		}
	}
	return out, nil
}

// openDiff says in a plan which parameters wait for what.
func openDiff(written Params) string {
	var out string
	for _, name := range slices.Sorted(maps.Keys(written)) {
		for _, d := range deferredIn(written[name]) {
			what := d.Text
			if d.Template {
				what = "template " + d.Text
			}
			out += fmt.Sprintf("%s: known after apply: %s\n", name, what)
		}
	}
	return out
}

func deferredIn(value any) []states.Deferred {
	var out []states.Deferred
	switch value := value.(type) {
	case states.Deferred:
		return []states.Deferred{value}
	case []any:
		for _, item := range value {
			out = append(out, deferredIn(item)...)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			out = append(out, deferredIn(value[name])...)
		}
	}
	return out
}
