package wasm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Limits of what a few bytes of a module can announce.
const (
	maxLocals    = 50_000    // of one function, as browsers have it
	maxAllLocals = 1_000_000 // of all functions together
	maxTable     = 1_000_000 // elements that a table begins with
)

var (
	errShort   = errors.New("a size in it is larger than what follows")
	errFeature = errors.New("it uses a feature that is not in WebAssembly 2.0")
)

// measured returns a module's binary without its custom sections, or an error where it announces more than it holds. The runtime makes
// room for as many elements as a vector says it has before it reads the first, and so a dozen bytes could ask for gigabytes. What is
// followed here is the binary format of the specification of WebAssembly 2.0, chapter 5.
func measured(module []byte) ([]byte, error) {
	const header = 8
	if len(module) < header {
		return nil, errShort
	}
	m := &measure{rest: module[header:]}
	out := slices.Clone(module[:header])
	for len(m.rest) > 0 && m.err == nil {
		start := m.rest
		id, body := m.byte(), m.bytes()
		if id == 0 {
			continue // names and other things for people
		}
		s := &measure{rest: body, locals: m.locals}
		s.section(id)
		if s.err == nil && len(s.rest) > 0 {
			s.fail(fmt.Errorf("section %d: something follows its end", id))
		}
		m.fail(s.err)
		m.locals = s.locals
		if id == 4 && s.err == nil {
			out = append(out, s.tables()...)
			continue
		}
		out = append(out, start[:len(start)-len(m.rest)]...)
	}
	return out, m.err
}

// measure is a reader that stops at the first error.
type measure struct {
	rest   []byte
	locals uint64
	own    []byte // tables, each with an end
	tabled uint64
	err    error
}

// tables is a section of them in which none can grow past maxTable while the module runs: the runtime sets no end by itself.
func (m *measure) tables() []byte {
	body := append(binary.AppendUvarint(nil, m.tabled), m.own...)
	return append(binary.AppendUvarint([]byte{4}, uint64(len(body))), body...)
}

func (m *measure) fail(err error) {
	if m.err == nil && err != nil {
		m.err, m.rest = err, nil
	}
}

func (m *measure) skip(n int) {
	if n > len(m.rest) {
		m.fail(errShort)
		return
	}
	m.rest = m.rest[n:]
}

func (m *measure) byte() byte {
	if len(m.rest) == 0 {
		m.fail(errShort)
		return 0
	}
	b := m.rest[0]
	m.rest = m.rest[1:]
	return b
}

// mostLeb is how many bytes a number of 64 bits takes at most.
const mostLeb = 10

// leb skips a number in LEB128 of either sign, and returns it as if it had none.
func (m *measure) leb() (n uint64) {
	for i := range mostLeb {
		b := m.byte()
		if n |= uint64(b&0x7f) << (7 * i); b < 0x80 {
			return n
		}
	}
	m.fail(errShort)
	return 0
}

func (m *measure) u32() uint64 {
	n := m.leb()
	if n > math.MaxUint32 {
		m.fail(errShort)
	}
	return n
}

// count is how many elements follow, each of which takes a byte at least.
func (m *measure) count() int {
	n := m.u32()
	if n > uint64(len(m.rest)) {
		m.fail(errShort)
		return 0
	}
	return int(n)
}

func (m *measure) bytes() []byte {
	n := m.count()
	data := m.rest[:min(n, len(m.rest))]
	m.skip(n)
	return data
}

func (m *measure) each(one func()) {
	for n := m.count(); n > 0 && m.err == nil; n-- {
		one()
	}
}

func (m *measure) section(id byte) {
	switch id {
	case 1:
		m.each(m.functionType)
	case 2:
		m.each(m.imported)
	case 3:
		m.each(func() { m.u32() })
	case 4:
		m.each(m.table)
	case 5:
		m.each(func() { m.limits() })
	case 6:
		m.each(func() { m.valueType(); m.byte(); m.expression() })
	case 7:
		m.each(func() { m.bytes(); m.byte(); m.u32() })
	case 8, 12:
		m.u32()
	case 9:
		m.each(m.element)
	case 10:
		m.each(m.code)
	case 11:
		m.each(m.data)
	default:
		m.fail(errFeature)
	}
}

func (m *measure) functionType() {
	if m.byte() != 0x60 {
		m.fail(errFeature)
	}
	m.each(m.valueType)
	m.each(m.valueType)
}

// valueType is a number, a vector or one of the two plain references.
func (m *measure) valueType() {
	switch m.byte() {
	case 0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x70, 0x6f:
	default:
		m.fail(errFeature)
	}
}

func (m *measure) imported() {
	m.bytes()
	m.bytes()
	switch m.byte() {
	case 0:
		m.u32()
	case 1:
		m.table()
	case 2:
		m.limits()
	case 3:
		m.valueType()
		m.byte()
	default:
		m.fail(errFeature)
	}
}

func (m *measure) limits() (least, most uint64) {
	flags := m.byte()
	least, most = m.u32(), math.MaxUint32
	if flags > 1 {
		m.fail(errFeature)
	}
	if flags == 1 {
		most = m.u32()
	}
	return least, most
}

func (m *measure) table() {
	if len(m.rest) == 0 {
		m.fail(errShort)
		return
	}
	kind := m.rest[0]
	m.valueType()
	least, most := m.limits()
	if least > maxTable {
		m.fail(fmt.Errorf("a table of %d elements, at most %d", least, maxTable))
	}
	m.tabled++
	m.own = binary.AppendUvarint(binary.AppendUvarint(append(m.own, kind, 1), least), min(most, maxTable))
}

// expression is a constant one, up to its end.
func (m *measure) expression() {
	for m.err == nil {
		switch m.byte() {
		case 0x0b:
			return
		case 0x41, 0x42, 0x23, 0xd0, 0xd2: // constants, a global, references
			m.leb()
		case 0x43:
			m.skip(4)
		case 0x44:
			m.skip(8)
		case 0xfd: // a vector
			if m.u32() != 0x0c {
				m.fail(errFeature)
			}
			m.skip(16)
		default:
			m.fail(errFeature)
		}
	}
}

func (m *measure) element() {
	kind := m.u32()
	if kind > 7 {
		m.fail(errFeature)
		return
	}
	passive, explicit, expressions := kind&1 != 0, kind&2 != 0, kind&4 != 0
	if !passive {
		if explicit {
			m.u32() // of the table
		}
		m.expression()
	}
	if passive || explicit {
		m.byte() // what it holds
	}
	if expressions {
		m.each(m.expression)
	} else {
		m.each(func() { m.u32() })
	}
}

// code is a function: how many locals of each type, and its instructions, which the runtime reads as they come.
func (m *measure) code() {
	body := &measure{rest: m.bytes()}
	locals := uint64(0)
	body.each(func() {
		locals += body.u32()
		body.valueType()
		if locals > maxLocals {
			body.fail(fmt.Errorf("a function has more than %d locals", maxLocals))
		}
	})
	m.fail(body.err)
	if m.locals += locals; m.locals > maxAllLocals {
		m.fail(fmt.Errorf("its functions have more than %d locals", maxAllLocals))
	}
}

func (m *measure) data() {
	switch m.u32() {
	case 0:
		m.expression()
	case 1:
	case 2:
		m.u32()
		m.expression()
	default:
		m.fail(errFeature)
	}
	m.bytes()
}
