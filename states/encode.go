package states

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"
)

// A plan's encoding is for a cache on the node that compiled it, and for comparing plans: equal plans have equal bytes. It
// is not internal/codec's, since a plan may be larger than what a peer may send, repeats the same strings thousands of
// times, and holds a Content among plain values. Integers are varints; a string is written once, and later by its number.
const (
	planMagic     = "shoal plan 1\n"
	renderedMagic = "shoal rendered 1\n"
)

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
	e.number(len(p.Edges))
	for _, edge := range p.Edges {
		e.number(edge.From)
		e.number(edge.To)
		e.text(string(edge.Kind))
		e.text(edge.Reason)
	}
	return e.out, nil
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

// text writes a string, or the number of an equal one before it.
func (e *encoder) text(s string) {
	if n, ok := e.strings[s]; ok {
		e.uint(n)
		return
	}
	e.strings[s] = uint64(len(e.strings)) + 1
	e.uint(0)
	e.number(len(s))
	e.out = append(e.out, s...)
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

func (e *encoder) invocation(in *Invocation) error {
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
	e.number(len(in.Parts))
	for _, p := range in.Parts {
		e.text(p.Module)
		e.text(p.Function)
		e.place(p.Place)
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
	default:
		return fmt.Errorf("a value of type %T has no encoding", v)
	}
	return nil
}

// maxValueDepth is above what a document within MaxDepth and an expression's value in it can reach.
const maxValueDepth = 2*MaxDepth + 8

// EncodeRendered encodes Plan.Rendered.
func EncodeRendered(rendered map[string][]byte) ([]byte, error) {
	size := len(renderedMagic)
	for _, data := range rendered {
		size += len(data) + 128
	}
	e := encoder{out: append(make([]byte, 0, size), renderedMagic...), strings: map[string]uint64{}}
	e.number(len(rendered))
	for _, hash := range keysOf(rendered) {
		e.text(hash)
		e.number(len(rendered[hash]))
		e.out = append(e.out, rendered[hash]...)
	}
	return e.out, nil
}

// DecodeRendered decodes what EncodeRendered made, and checks each hash. The result shares data's memory.
func DecodeRendered(data []byte) (map[string][]byte, error) {
	d := newDecoder(data, renderedMagic)
	n := d.count(3)
	m := make(map[string][]byte, n)
	for range n {
		hash := d.text()
		content := d.bytes()
		if d.failed {
			break
		}
		if sum := sha256.Sum256(content); hash != "sha256:"+hex.EncodeToString(sum[:]) {
			return nil, fmt.Errorf("decode plan: rendered %s does not match its hash", hash)
		}
		m[hash] = content
	}
	if !d.done() {
		return nil, errPlanBytes
	}
	return m, nil
}

// DecodePlan decodes what EncodePlan made. Rendered is nil.
func DecodePlan(data []byte) (*Plan, error) {
	d := newDecoder(data, planMagic)
	p := &Plan{Node: d.node()}
	p.Policy = Policy{Order: Order(d.text()), OnFailure: d.text(), OnRemove: d.text(), Drift: d.text(), CommandOutputs: d.text()}
	p.Invocations = make([]Invocation, d.count(12))
	for i := range p.Invocations {
		if p.Invocations[i] = d.invocation(); d.failed {
			return nil, errPlanBytes
		}
	}
	p.Edges = make([]Edge, d.count(4))
	for i := range p.Edges {
		e := Edge{From: d.number(), To: d.number(), Kind: EdgeKind(d.text()), Reason: d.text()}
		if e.From >= len(p.Invocations) || e.To >= len(p.Invocations) {
			d.failed = true
		}
		if p.Edges[i] = e; d.failed {
			return nil, errPlanBytes
		}
	}
	if !d.done() {
		return nil, errPlanBytes
	}
	return p, nil
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

func (d *decoder) place() Place {
	return Place{File: d.text(), Line: d.number(), Column: d.number()}
}

func (d *decoder) node() Node {
	n := Node{Name: d.text(), Zone: d.text()}
	size := d.count(1)
	if size == 0 {
		return n
	}
	n.Tags = make(map[string]string, size-1)
	for range size - 1 {
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

func (d *decoder) invocation() Invocation {
	in := Invocation{ID: d.text(), Number: d.number(), Skip: d.text(), Lazy: d.uint() == 1, OnRemove: d.text(), Undo: d.text()}
	in.Retry = Retry{Attempts: d.number(), Delay: d.duration()}
	in.Timeout = d.duration()
	in.Place = d.place()
	n := d.count(6)
	if n == 0 {
		return in
	}
	in.Parts = make([]Part, n)
	for i := range in.Parts {
		in.Parts[i] = Part{Module: d.text(), Function: d.text(), Place: d.place(), Params: d.entries(0)}
	}
	return in
}

func (d *decoder) entries(depth int) map[string]any {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	m := make(map[string]any, n-1)
	for range n - 1 {
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
		return Content{Hash: d.text(), Size: int64(d.duration()), Source: d.text(), From: d.text()}
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
