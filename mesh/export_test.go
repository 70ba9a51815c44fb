package mesh

import "shoal/membership"

// What a member with bad intent says of the gossip's keys.

// KeyBomb is a key for evictions that never happened.
func KeyBomb(era uint64) Message {
	key := membership.GossipKey{Era: era, Evicted: [32]byte{1, 2, 3}, Key: make([]byte, membership.GossipKeySize)}
	return &KeysTell{Keys: []toldKey{{Key: key}}}
}

// UnaskedWelcome is a Welcome to a node that asked for none.
func UnaskedWelcome() Message {
	return &Welcome{Keys: KeyBomb(membership.MaxEra).(*KeysTell).Keys}
}
