package states

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// A plan's encoding is for a cache on the node that compiled it, and for comparing plans: equal plans have equal bytes. It
// is not internal/codec's, since a plan may be larger than what a peer may send, repeats the same strings thousands of
// times, and holds a Content among plain values. Integers are varints; a string is written once, and later by its number.
const planMagic = "shoal plan 5\n"

var errPlanBytes = errors.New("decode plan: malformed")

// EncodePlan encodes all of a plan but Rendered.
func EncodePlan(p *Plan) ([]byte, error) {
	e := encoder{strings: map[string]uint64{}}
	e.out = append(make([]byte, 0, 256+128*len(p.Invocations)), planMagic...)
	e.node(p.Node)
	for _, s := range []string{string(p.Policy.Order), p.Policy.OnFailure, p.Policy.OnRemove, p.Policy.Drift, p.Policy.CommandOutputs} {
		e.text(s)
	}
	e.number(len(p.Invocations))
	for i := range p.Invocations {
		if err := e.invocation(&p.Invocations[i]); err != nil {
			return nil, fmt.Errorf("encode plan: %s: %w", p.Invocations[i].ID, err)
		}
	}
	e.edges(p.Edges)
	e.number(len(p.Scopes))
	for _, hash := range keysOf(p.Scopes) {
		e.text(hash)
		e.text(string(p.Scopes[hash]))
	}
	e.number(len(p.Extensions))
	for _, x := range p.Extensions {
		data, err := EncodeExtension(x)
		if err != nil {
			return nil, err
		}
		e.text(string(data))
	}
	e.texts(p.Secrets)
	e.bool(p.ReadsFleet)
	return e.out, nil
}

func (e *encoder) edges(edges []Edge) {
	e.number(len(edges))
	for _, edge := range edges {
		e.number(edge.From)
		e.number(edge.To)
		e.text(string(edge.Kind))
		e.text(edge.Reason)
	}
}

type encoder struct {
	out     []byte
	strings map[string]uint64
}

func (e *encoder) uint(n uint64) { e.out = binary.AppendUvarint(e.out, n) }
func (e *encoder) number(n int)  { e.uint(uint64(n)) }

func (e *encoder) bool(b bool) {
	n := uint64(0)
	if b {
		n = 1
	}
	e.uint(n)
}

// text writes a string, or the number of an equal one before it; without a table of strings all are written out.
func (e *encoder) text(s string) {
	if e.strings == nil {
		e.number(len(s))
		e.out = append(e.out, s...)
		return
	}
	if n, ok := e.strings[s]; ok {
		e.uint(n)
		return
	}
	e.strings[s] = uint64(len(e.strings)) + 1
	e.uint(0)
	e.number(len(s))
	e.out = append(e.out, s...)
}

// texts writes a list of strings; 0 is left for nil.
func (e *encoder) texts(list []string) {
	if list == nil {
		e.number(0)
		return
	}
	e.number(len(list) + 1)
	for _, s := range list {
		e.text(s)
	}
}

// indices writes a list of invocations; 0 is left for nil.
func (e *encoder) indices(list []int) {
	if list == nil {
		e.number(0)
		return
	}
	e.number(len(list) + 1)
	for _, at := range list {
		e.number(at)
	}
}

func (e *encoder) place(p Place) {
	e.text(p.File)
	e.number(p.Line)
	e.number(p.Column)
}

func (e *encoder) node(n Node) {
	e.text(n.Name)
	e.text(n.Zone)
	if n.Tags == nil {
		e.number(0)
		return
	}
	e.number(len(n.Tags) + 1)
	for _, k := range keysOf(n.Tags) {
		e.text(k)
		e.text(n.Tags[k])
	}
}

func (e *encoder) invocation(in *StateInvocation) error {
	e.text(in.ID)
	e.number(in.Number)
	e.text(in.Skip)
	e.bool(in.Lazy)
	e.text(in.OnRemove)
	e.text(in.Undo)
	e.number(in.Retry.Attempts)
	e.uint(uint64(in.Retry.Delay))
	e.uint(uint64(in.Timeout))
	e.place(in.Place)
	if err := e.relations(in); err != nil {
		return err
	}
	e.number(len(in.Parts))
	for _, p := range in.Parts {
		e.text(p.Module)
		e.text(p.Function)
		e.place(p.Place)
		e.texts(p.Secret)
		if p.Params == nil {
			e.number(0)
			continue
		}
		if err := e.entries(p.Params, 0); err != nil {
			return err
		}
	}
	return nil
}

// relations writes what an invocation has with others beside its edges.
func (e *encoder) relations(in *StateInvocation) error {
	e.bool(in.When != nil)
	if in.When != nil {
		if err := e.deferred(*in.When, 0); err != nil {
			return err
		}
	}
	e.bool(in.Block != nil)
	if in.Block != nil {
		e.indices(in.Block.Run)
		e.indices(in.Block.Rescue)
		e.indices(in.Block.Always)
	}
	e.indices(in.Sequence)
	e.number(in.SupersededBy)
	return nil
}

func (e *encoder) deferred(d Deferred, depth int) error {
	e.text(d.Text)
	e.bool(d.Template)
	e.text(string(d.Type))
	e.texts(d.OneOf)
	e.text(d.Scope)
	e.number(len(d.Reads))
	for _, r := range d.Reads {
		e.text(r.As)
		e.text(r.ID)
		e.number(r.Number)
		e.text(r.Output)
	}
	e.bool(d.Secret)
	e.bool(d.StandIns)
	e.place(d.Place)
	for _, other := range []*Deferred{d.Twin, d.And} {
		if e.bool(other != nil); other == nil {
			continue
		}
		if depth > maxValueDepth {
			return errors.New("nested too deeply")
		}
		if err := e.deferred(*other, depth+1); err != nil {
			return err
		}
	}
	if d.Each == nil {
		e.number(0)
		return nil
	}
	return e.entries(d.Each, depth)
}

// entries writes a map; 0 is left for nil.
func (e *encoder) entries(m map[string]any, depth int) error {
	e.number(len(m) + 1)
	for _, k := range keysOf(m) {
		e.text(k)
		if err := e.value(m[k], depth+1); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
	}
	return nil
}

// The kinds of an encoded value.
const (
	valueNil = iota
	valueFalse
	valueTrue
	valueInt
	valueFloat
	valueString
	valueList
	valueMap
	valueContent
	valueDeferred
)

func (e *encoder) value(v any, depth int) error {
	if depth > maxValueDepth {
		return errors.New("nested too deeply")
	}
	switch v := v.(type) {
	case nil:
		e.uint(valueNil)
	case bool:
		if v {
			e.uint(valueTrue)
		} else {
			e.uint(valueFalse)
		}
	case int64:
		e.uint(valueInt)
		e.out = binary.AppendVarint(e.out, v)
	case float64:
		e.uint(valueFloat)
		e.out = binary.BigEndian.AppendUint64(e.out, math.Float64bits(v))
	case string:
		e.uint(valueString)
		e.text(v)
	case []any:
		e.uint(valueList)
		e.number(len(v))
		for _, item := range v {
			if err := e.value(item, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		e.uint(valueMap)
		return e.entries(v, depth)
	case Content:
		e.uint(valueContent)
		e.text(v.Hash)
		e.uint(uint64(v.Size))
		e.text(v.Source)
		e.text(v.From)
		e.bool(v.Secret)
	case Deferred:
		e.uint(valueDeferred)
		return e.deferred(v, depth)
	default:
		return fmt.Errorf("a value of type %T has no encoding", v)
	}
	return nil
}

// maxValueDepth is above what a document within MaxDepth and an expression's value in it can reach.
const maxValueDepth = 2*MaxDepth + 8
