package mesh

import (
	"fmt"
	"strings"

	"shoal/store"
)

// What a node saved may be damaged: a disk rots, and the store makes of it what it can. Objects prove themselves, and what is
// signed does; heads, seals, logs and the roster come from the others. What this node has promised as an acceptor it alone knows.
// A promise that is lost, or older than the last, must not be taken for the last one: so the node counts as one whose disk was
// replaced (fence.go). It keeps none of its seats, and is given others like any newcomer.

// damage is what was found at the start.
type damage struct {
	forgot  bool // something may be missing, or older than it was
	records []string
	err     error // of the last of them
}

// ForgotRecord is to be saved before a Core is made from records of which some may be gone. The Core deletes it when it has drawn
// its consequences.
func ForgotRecord() store.Change {
	return store.Change{Key: store.MetaKey(keyForgot + "store"), Value: []byte{1}}
}

// recordDamaged leaves a record out that cannot be read.
func (c *Core) recordDamaged(key string, err error) {
	c.damage.records = append(c.damage.records, key)
	c.damage.err = fmt.Errorf("saved record %q: %w", key, err)
	if strings.HasPrefix(key, keyAcceptor) || strings.HasPrefix(key, keyDisk) {
		c.damage.forgot = true
	}
}

// forgets tells whether this node's own promises can count no more. Those to itself alone still do, as far as they can be read:
// nobody else has anything to set against them.
func (c *Core) forgets() bool {
	if !c.damage.forgot {
		return false
	}
	alone := c.fence.own.Disk != 0
	for register, a := range c.registers.acceptors {
		alone = alone && (!isHead(register) || len(a.Members) == 1)
	}
	return !alone || len(c.registers.acceptors) == 0
}

// startDamaged tells what was found, and deletes what cannot be read: it is never to be looked at again.
func (c *Core) startDamaged() {
	for _, key := range c.damage.records {
		if key != keyDisk+"own" && key != keyVersion+"core" { // those the fence has just written
			c.emit(Save{Key: key})
		}
	}
	if c.damage.forgot {
		c.emit(Save{Key: keyForgot + "store"})
	}
	switch {
	case c.damage.forgot:
		c.note("the store was damaged; what was promised on it does not count any more", "", "", store.ErrAmnesia)
		c.event("the store was damaged, and made anew of what could be read", c.damage.err)
	case len(c.damage.records) > 0:
		c.note(fmt.Sprintf("%d saved records were damaged; they come from peers", len(c.damage.records)), "", "", c.damage.err)
		c.event(fmt.Sprintf("%d saved records were damaged", len(c.damage.records)), c.damage.err)
	}
}
