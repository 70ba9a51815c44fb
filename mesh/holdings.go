package mesh

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"shoal/ring"
	"shoal/store"
)

// holdings is the index of the objects that are durable here, with a digest of each partition.
type holdings struct {
	parts [ring.Partitions]map[store.Hash]int // size
	xor   [ring.Partitions][16]byte
	count int
	bytes int64
	added uint64 // objects that ever came

	changes uint64 // objects that ever came or went
}

func (h *holdings) add(k Kept) {
	p := ring.PartitionOf(k.Hash[:])
	if _, ok := h.parts[p][k.Hash]; ok {
		return
	}
	if h.parts[p] == nil {
		h.parts[p] = map[store.Hash]int{}
	}
	h.parts[p][k.Hash] = k.Size
	h.flip(p, k.Hash)
	h.added++
	h.count++
	h.bytes += int64(k.Size)
}

func (h *holdings) remove(hash store.Hash) {
	p := ring.PartitionOf(hash[:])
	size, ok := h.parts[p][hash]
	if !ok {
		return
	}
	delete(h.parts[p], hash)
	h.flip(p, hash)
	h.count--
	h.bytes -= int64(size)
}

func (h *holdings) flip(p ring.Partition, hash store.Hash) {
	h.changes++
	for i := range h.xor[p] {
		h.xor[p][i] ^= hash[i]
	}
}

// size of an object; one that is not held counts as a large one.
func (h *holdings) size(hash store.Hash) int {
	if size, ok := h.parts[ring.PartitionOf(hash[:])][hash]; ok {
		return size
	}
	return store.MaxObject
}

func (h *holdings) has(hash store.Hash) bool {
	_, ok := h.parts[ring.PartitionOf(hash[:])][hash]
	return ok
}

// in lists what is held of a partition, sorted.
func (h *holdings) in(p ring.Partition) []store.Hash {
	if len(h.parts[p]) == 0 {
		return nil
	}
	out := make([]store.Hash, 0, len(h.parts[p]))
	for hash := range h.parts[p] {
		out = append(out, hash)
	}
	slices.SortFunc(out, compareHashes)
	return out
}

func (h *holdings) digest(p ring.Partition) PartitionDigest {
	return PartitionDigest{Partition: p, Count: uint32(len(h.parts[p])), Xor: h.xor[p]}
}

// root sums up some partitions.
func (h *holdings) root(parts []ring.Partition) [32]byte {
	sum := sha256.New()
	var b [6]byte
	for _, p := range parts {
		binary.BigEndian.PutUint16(b[:], uint16(p))
		binary.BigEndian.PutUint32(b[2:], uint32(len(h.parts[p])))
		sum.Write(b[:])
		sum.Write(h.xor[p][:])
	}
	return [32]byte(sum.Sum(nil))
}

func compareHashes(a, b store.Hash) int { return bytes.Compare(a[:], b[:]) }

// groups sums up the partitions of each group, of those that are given, in order. Empty partitions count too, so that a group
// that both know has one sum.
func (h *holdings) groups(parts []ring.Partition) []GroupDigest {
	var out []GroupDigest
	for len(parts) > 0 {
		n, group := 0, groupOf(parts[0])
		for n < len(parts) && groupOf(parts[n]) == group {
			n++
		}
		sum := h.root(parts[:n])
		out = append(out, GroupDigest{Group: group, Sum: [16]byte(sum[:16])})
		parts = parts[n:]
	}
	return out
}
