package store

import (
	"encoding/binary"
	"strings"

	"shoal/ring"
)

// The layout of a node's KV. What comes after the prefix:
//
//	o/  partition (2 bytes, big endian), hash (32 bytes)   objects, so that a partition is one range
//	m/  name                                               what the mesh's core saved
const (
	objectPrefix = "o/"
	metaPrefix   = "m/"
)

// PartitionOf is the partition of an object.
func PartitionOf(h Hash) ring.Partition { return ring.PartitionOf(h[:]) }

// ObjectKey is where an object is.
func ObjectKey(h Hash) []byte { return append(PartitionPrefix(PartitionOf(h)), h[:]...) }

// PartitionPrefix begins the keys of all objects of a partition.
func PartitionPrefix(p ring.Partition) []byte {
	return binary.BigEndian.AppendUint16(append(make([]byte, 0, 36), objectPrefix...), uint16(p))
}

// objectOf is the inverse of ObjectKey.
func objectOf(key []byte) (h Hash, ok bool) {
	at := len(objectPrefix) + 2
	if len(key) != at+len(h) || string(key[:len(objectPrefix)]) != objectPrefix {
		return h, false
	}
	copy(h[:], key[at:])
	return h, string(ObjectKey(h)) == string(key)
}

// ObjectPrefix begins the keys of all objects. They sort after everything else.
func ObjectPrefix() []byte { return []byte(objectPrefix) }

// MetaKey is where the node keeps what its core saved under a name.
func MetaKey(name string) []byte { return []byte(metaPrefix + name) }

// Name returns what a meta key was made of.
func Name(key []byte) string {
	_, name, _ := strings.Cut(string(key), "/")
	return name
}

// MetaPrefix is what to Scan by for all that the core saved.
func MetaPrefix() []byte { return []byte(metaPrefix) }
