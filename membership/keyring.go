package membership

import (
	"slices"
	"time"
)

// How keys follow each other. All nodes count from when the key was made, as far as they are told, so they do it at about the same time.
const (
	// KeySpread is how long a new key is only read with, until all who can be reached have it.
	KeySpread = 2 * time.Second
	// KeyOverlap is how long the old keys are still read with, after the new one is sent with.
	KeyOverlap = 6 * time.Second
	// keyAhead is how long a key is believed that was made for evictions which the own roster does not know of. Who comes back
	// gets its key before the roster.
	keyAhead = time.Minute
	// MaxKeys is how many keys a node has at a time. A member that proposes one after the other has to wait for each to end.
	MaxKeys = 6
)

// HeldKey is a gossip key and when it was made, as far as this node knows.
type HeldKey struct {
	_   struct{} `cbor:",toarray"`
	Key GossipKey
	At  int64 // Unix milliseconds
}

// Keyring is the gossip keys of one node. What it says is a function of what it holds, of the evictions in the roster and of the time.
type Keyring struct {
	held []HeldKey
	e    Evictions
}

// NewKeyring begins with what was held before, and, unless it is empty, with the key of a ticket.
func NewKeyring(saved []HeldKey, first []byte) *Keyring {
	k := &Keyring{e: evictionsOf(nil)}
	if len(first) == GossipKeySize {
		k.insert(HeldKey{Key: FirstGossipKey(first)})
	}
	for _, h := range saved {
		if h.Key.Check() == nil {
			k.insert(h)
		}
	}
	return k
}

// Know says which nodes are evicted by now.
func (k *Keyring) Know(e Evictions) { k.e = e }

// Add takes a key in that was made at a time, and tells whether it is new. One that was made for other evictions than those known here
// is taken only from who lets this node in, ahead; it is of use for a while.
func (k *Keyring) Add(key GossipKey, at, now time.Time, ahead bool) bool {
	if key.Check() != nil || (!key.Of(k.e) && !ahead) {
		return false
	}
	k.Prune(now)
	if at.After(now) {
		at = now
	}
	if key.Era > k.e.Era && now.Sub(at) > KeySpread+KeyOverlap {
		at = now.Add(-KeySpread - KeyOverlap) // it is ahead from now on
	}
	for i, h := range k.held {
		if h.Key.same(key) {
			if key.Era > k.e.Era && at.UnixMilli() > h.At {
				k.held[i].At = at.UnixMilli() // told again
			}
			return false
		}
	}
	if len(k.held) >= MaxKeys {
		return false
	}
	return k.insert(HeldKey{Key: key, At: at.UnixMilli()})
}

func (k *Keyring) insert(h HeldKey) bool {
	if len(k.held) >= MaxKeys || slices.ContainsFunc(k.held, func(o HeldKey) bool { return o.Key.same(h.Key) }) {
		return false
	}
	k.held = append(k.held, h)
	return true
}

// class orders keys by what they were made for: what is ahead of this node's roster, then what fits it, then what is over.
func (k *Keyring) class(h HeldKey, now time.Time) int {
	switch {
	case h.Key.Of(k.e):
		return 1
	case h.Key.Era > k.e.Era && h.Age(now) < keyAhead:
		return 2
	}
	return 0
}

func (h HeldKey) made() time.Time { return time.UnixMilli(h.At) }

// Age is how long ago the key was made; of one that was made in the future, for a clock went back, that is long.
func (h HeldKey) Age(now time.Time) time.Duration {
	age := now.Sub(h.made())
	if age < -KeySpread {
		return keyAhead
	}
	return max(age, 0)
}

// order sorts the best first.
func (k *Keyring) order(now time.Time) []HeldKey {
	sorted := slices.Clone(k.held)
	slices.SortFunc(sorted, func(a, b HeldKey) int {
		ca, cb := k.class(a, now), k.class(b, now)
		switch {
		case ca != cb:
			return cb - ca
		case ca != 1 && a.Key.Era != b.Key.Era:
			return int(b.Key.Era) - int(a.Key.Era)
		case a.Key.wins(b.Key):
			return -1
		}
		return 1
	})
	return sorted
}

// Use is what to seal and to open with now: the first of the keys is the one to send with.
func (k *Keyring) Use(now time.Time) [][]byte {
	k.Prune(now)
	sorted := k.order(now)
	first := 0
	for i, h := range sorted {
		if h.Age(now) >= KeySpread {
			first = i
			break
		}
		first = len(sorted) - 1 // nothing is old enough: the least of them, which the others have too
	}
	var keys [][]byte
	if len(sorted) > 0 {
		keys = append(keys, sorted[first].Key.Key)
	}
	for i, h := range sorted {
		if i != first {
			keys = append(keys, h.Key.Key)
		}
	}
	return keys
}

// Prune forgets the keys that a better one has taken the place of for long enough, and tells whether there were any.
func (k *Keyring) Prune(now time.Time) bool {
	sorted := k.order(now)
	for i, h := range sorted {
		class := k.class(h, now)
		if class == 0 || h.Age(now) < KeySpread+KeyOverlap {
			continue
		}
		// What fits is never forgotten for what is ahead: that may turn out to be nothing.
		kept := slices.DeleteFunc(slices.Clone(sorted[i+1:]), func(o HeldKey) bool { return k.class(o, now) == 0 || class == 1 })
		k.held = append(sorted[:i+1:i+1], kept...)
		return len(k.held) < len(sorted)
	}
	return false
}

// Fits is the best key that was made for the evictions that the roster knows of: what others may be told.
func (k *Keyring) Fits() (best HeldKey, ok bool) {
	for _, h := range k.held {
		if h.Key.Of(k.e) && (!ok || h.Key.wins(best.Key)) {
			best, ok = h, true
		}
	}
	return best, ok
}

// Held are all keys, the best first: what to save, and what a member that comes back is given.
func (k *Keyring) Held(now time.Time) []HeldKey { return k.order(now) }

// Next is when what Use says changes by itself; zero: not at all.
func (k *Keyring) Next(now time.Time) (next time.Time) {
	for _, h := range k.held {
		for _, d := range []time.Duration{KeySpread, KeySpread + KeyOverlap, keyAhead} {
			if at := h.made().Add(d); at.After(now) && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
	}
	return next
}
