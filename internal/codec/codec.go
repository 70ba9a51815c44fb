// Package codec is the one encoding of every record that is signed, stored or sent: core deterministic CBOR (RFC 8949,
// section 4.2), so that equal values have equal bytes and a signature is over bytes that anyone can make again.
package codec

import (
	"bytes"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Limits of what a peer can make a decoder build, whatever the length of its input.
const (
	MaxDepth    = 16
	MaxElements = 131072
)

var (
	encoding = must(cbor.CoreDetEncOptions().UserBufferEncMode())
	decoding = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   MaxDepth,
		MaxArrayElements:  MaxElements,
		MaxMapPairs:       MaxElements,
	}.DecMode())
)

// Raw is a value that is well formed, and not looked into.
type Raw = cbor.RawMessage

// Marshal encodes v; it fails only on types that have no CBOR form, which is a bug of the caller.
func Marshal(v any) ([]byte, error) {
	data, err := encoding.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return data, nil
}

// Append encodes v behind what buf holds, with no copy of it all: for what is large.
func Append(buf *bytes.Buffer, v any) error {
	if err := encoding.MarshalToBuffer(v, buf); err != nil {
		return fmt.Errorf("encode %T: %w", v, err)
	}
	return nil
}

// Unmarshal decodes data into v, and refuses unknown fields, duplicate keys, tags, indefinite lengths and trailing bytes.
func Unmarshal(data []byte, v any) error {
	if err := decoding.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decode %T: %w", v, err)
	}
	return nil
}

func must[T any](mode T, err error) T {
	if err != nil {
		panic(err)
	}
	return mode
}
