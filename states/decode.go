package states

import (
	"encoding/binary"
	"math"
	"time"
)

// DecodePlan decodes what EncodePlan made. Rendered is nil.
func DecodePlan(data []byte) (*Plan, error) {
	d := newDecoder(data, planMagic)
	p := &Plan{Node: d.node()}
	p.Policy = Policy{Order: Order(d.text()), OnFailure: d.text(), OnRemove: d.text(), Drift: d.text(), CommandOutputs: d.text()}
	p.Invocations = make([]StateInvocation, d.count(17))
	for i := range p.Invocations {
		if p.Invocations[i] = d.invocation(); d.failed {
			return nil, errPlanBytes
		}
	}
	p.Edges = d.edges(len(p.Invocations))
	if n := d.count(2); n > 0 {
		p.Scopes = make(map[string][]byte, n)
		for range n {
			hash := d.text()
			p.Scopes[hash] = []byte(d.text())
		}
	}
	for range d.count(2) {
		x, err := DecodeExtension([]byte(d.text()))
		if err != nil {
			return nil, errPlanBytes
		}
		p.Extensions = append(p.Extensions, x)
	}
	p.Secrets = d.texts()
	p.ReadsFleet = d.uint() == 1
	if !d.done() || !p.sound() {
		return nil, errPlanBytes
	}
	return p, nil
}

func (d *decoder) edges(invocations int) []Edge {
	edges := make([]Edge, d.count(4))
	for i := range edges {
		e := Edge{From: d.number(), To: d.number(), Kind: EdgeKind(d.text()), Reason: d.text()}
		if e.From >= invocations || e.To >= invocations {
			d.failed = true
		}
		if edges[i] = e; d.failed {
			return nil
		}
	}
	return edges
}

// sound: whatever names an invocation by its index names one that there is.
func (r *StateRun) sound() bool {
	for i := range r.Invocations {
		in := &r.Invocations[i]
		named := [][]int{in.Sequence, {in.SupersededBy}}
		if in.Block != nil {
			named = append(named, in.Block.Run, in.Block.Rescue, in.Block.Always)
		}
		for _, list := range named {
			for _, at := range list {
				if at >= len(r.Invocations) {
					return false
				}
			}
		}
	}
	return true
}

// decoder reads; after a failure everything it returns is zero.
type decoder struct {
	in      []byte
	strings []string
	failed  bool
}

func newDecoder(data []byte, magic string) *decoder {
	if len(data) < len(magic) || string(data[:len(magic)]) != magic {
		return &decoder{failed: true}
	}
	return &decoder{in: data[len(magic):]}
}

func (d *decoder) done() bool { return !d.failed && len(d.in) == 0 }

func (d *decoder) uint() uint64 {
	n, size := binary.Uvarint(d.in)
	if d.failed || size <= 0 {
		d.failed = true
		return 0
	}
	d.in = d.in[size:]
	return n
}

func (d *decoder) number() int {
	n := d.uint()
	if n > math.MaxInt32 {
		d.failed = true
		return 0
	}
	return int(n)
}

// count reads how many elements follow, each of at least size bytes, so that it allocates no more than data can fill.
func (d *decoder) count(size int) int {
	n := d.number()
	if n > len(d.in)/size {
		d.failed = true
		return 0
	}
	return n
}

// optional reads how many elements follow where 0 is left for nil, for which it gives -1.
func (d *decoder) optional() int {
	n := d.number() - 1
	if n > len(d.in) {
		d.failed = true
		return -1
	}
	return n
}

func (d *decoder) bytes() []byte {
	n := d.count(1)
	if d.failed {
		return nil
	}
	b := d.in[:n:n]
	d.in = d.in[n:]
	return b
}

func (d *decoder) text() string {
	n := d.uint()
	if n == 0 && !d.failed {
		s := string(d.bytes())
		d.strings = append(d.strings, s)
		return s
	}
	if d.failed || n > uint64(len(d.strings)) {
		d.failed = true
		return ""
	}
	return d.strings[n-1]
}

func (d *decoder) texts() []string {
	n := d.optional()
	if n < 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = d.text()
	}
	return list
}

func (d *decoder) indices() []int {
	n := d.optional()
	if n < 0 {
		return nil
	}
	list := make([]int, n)
	for i := range list {
		list[i] = d.number()
	}
	return list
}

func (d *decoder) place() Place {
	return Place{File: d.text(), Line: d.number(), Column: d.number()}
}

func (d *decoder) node() Node {
	n := Node{Name: d.text(), Zone: d.text()}
	size := d.optional()
	if size < 0 {
		return n
	}
	n.Tags = make(map[string]string, size)
	for range size {
		k := d.text()
		n.Tags[k] = d.text()
	}
	return n
}

func (d *decoder) duration() time.Duration {
	n := d.uint()
	if n > math.MaxInt64 {
		d.failed = true
	}
	return time.Duration(n)
}

func (d *decoder) invocation() StateInvocation {
	in := StateInvocation{ID: d.text(), Number: d.number(), Skip: d.text(), Lazy: d.uint() == 1, OnRemove: d.text(), Undo: d.text()}
	in.Retry = Retry{Attempts: d.number(), Delay: d.duration()}
	in.Timeout = d.duration()
	in.Place = d.place()
	d.relations(&in)
	n := d.count(7)
	if n == 0 {
		return in
	}
	in.Parts = make([]StatePartInvocation, n)
	for i := range in.Parts {
		in.Parts[i] = StatePartInvocation{Module: d.text(), Function: d.text(), Place: d.place(), Secret: d.texts(), Params: d.entries(0)}
	}
	return in
}

func (d *decoder) relations(in *StateInvocation) {
	if d.uint() == 1 {
		when := d.deferred(0)
		in.When = &when
	}
	if d.uint() == 1 {
		in.Block = &Block{Run: d.indices(), Rescue: d.indices(), Always: d.indices()}
	}
	in.Sequence = d.indices()
	in.SupersededBy = d.number()
}

func (d *decoder) deferred(depth int) Deferred {
	v := Deferred{Text: d.text(), Template: d.uint() == 1, Type: Type(d.text()), OneOf: d.texts(), Scope: d.text()}
	if n := d.count(4); n > 0 {
		v.Reads = make([]OutputRef, n)
		for i := range v.Reads {
			v.Reads[i] = OutputRef{As: d.text(), ID: d.text(), Number: d.number(), Output: d.text()}
		}
	}
	v.Secret, v.StandIns, v.Place = d.uint() == 1, d.uint() == 1, d.place()
	for _, other := range []**Deferred{&v.Twin, &v.And} {
		if d.uint() != 1 {
			continue
		}
		if depth > maxValueDepth {
			d.failed = true
			return v
		}
		inner := d.deferred(depth + 1)
		*other = &inner
	}
	v.Each = d.entries(depth)
	return v
}

func (d *decoder) entries(depth int) map[string]any {
	n := d.optional()
	if n < 0 {
		return nil
	}
	m := make(map[string]any, n)
	for range n {
		k := d.text()
		m[k] = d.value(depth + 1)
	}
	return m
}

func (d *decoder) value(depth int) any {
	if depth > maxValueDepth {
		d.failed = true
	}
	kind := d.uint()
	if d.failed {
		return nil
	}
	switch kind {
	case valueNil:
		return nil
	case valueFalse, valueTrue:
		return kind == valueTrue
	case valueInt:
		return d.int()
	case valueFloat:
		return d.float()
	case valueString:
		return d.text()
	case valueList:
		list := make([]any, d.count(1))
		for i := range list {
			list[i] = d.value(depth + 1)
		}
		return list
	case valueMap:
		return d.entries(depth)
	case valueContent:
		return Content{Hash: d.text(), Size: int64(d.duration()), Source: d.text(), From: d.text(), Secret: d.uint() == 1}
	case valueDeferred:
		return d.deferred(depth)
	}
	d.failed = true
	return nil
}

func (d *decoder) int() int64 {
	n, size := binary.Varint(d.in)
	if size <= 0 {
		d.failed = true
		return 0
	}
	d.in = d.in[size:]
	return n
}

func (d *decoder) float() float64 {
	if len(d.in) < 8 {
		d.failed = true
		return 0
	}
	f := math.Float64frombits(binary.BigEndian.Uint64(d.in))
	d.in = d.in[8:]
	return f
}
