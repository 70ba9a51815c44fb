package mesh

import (
	"fmt"
	"slices"
	"strings"

	"shoal/membership"
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

// recordsLost saves records anew that the disk cannot read any more: the Core has in memory what they said. So a promise that rots
// while the node runs is not forgotten.
func (c *Core) recordsLost(ev RecordsLost) {
	c.note(fmt.Sprintf("%d saved records cannot be read; they are written anew", len(ev.Keys)), "", "", store.ErrCorrupt)
	kinds := map[string]bool{}
	for _, key := range ev.Keys {
		kind, name, _ := strings.Cut(strings.TrimPrefix(key, SavePrefix), "/")
		if kind = SavePrefix + kind + "/"; kind == keyRun {
			c.runLost(name)
			continue
		}
		if kinds[kind] {
			continue
		}
		kinds[kind] = true
		c.saveKind(kind)
	}
	if len(kinds) > 0 {
		c.event(fmt.Sprintf("%d saved records could not be read, and were written anew", len(ev.Keys)), store.ErrCorrupt)
	}
}

func (c *Core) runLost(name string) {
	node, digits, _ := strings.Cut(name, "-")
	if hash, err := store.ParseHash("sha256:" + digits); err == nil {
		c.reportLost(ReportLost{Node: membership.NodeID(node), Report: hash})
	}
}

// saveKind saves all records of a kind, in the order of their keys.
func (c *Core) saveKind(kind string) {
	from := len(c.out)
	c.saveEach(kind)
	slices.SortFunc(c.out[from:], func(a, b Action) int { return strings.Compare(a.(Save).Key, b.(Save).Key) })
}

func (c *Core) saveEach(kind string) {
	switch kind {
	case keyRoster:
		c.people.saved = map[string]bool{}
		c.saveRoster()
	case keyChain:
		c.people.tip = [32]byte{}
		c.saveRoster()
		if c.people.adopted != nil {
			c.save(keyChain+"solo", c.people.adopted.Statements())
		}
	case keyAddr:
		saveAll(c, kind, c.people.addrs)
	case keyCreation:
		for env, created := range c.heads.creations {
			c.save(kind+env, created.record)
		}
	case keySeal:
		for env, created := range c.heads.creations {
			for i, votes := range created.seals {
				c.save(sealKey(env, uint64(i)), votes)
			}
		}
	case keyHead:
		for env, h := range c.heads.current {
			c.save(kind+env, h.record)
		}
	case keyAcceptor:
		saveAll(c, kind, c.registers.acceptors)
	case keyDisk:
		c.save(keyDisk+"own", c.fence.own)
	case keyLineage:
		c.save(keyLineage+"own", c.cfg.Lineage)
	case keyRecalled:
		saveAll(c, kind, c.fence.asked)
	case keyVersion:
		c.save(keyVersion+"core", uint64(savedVersion))
	case keyPeerDisk:
		for _, disks := range c.fence.known {
			for _, inc := range disks {
				c.save(kind+peerDisk(inc.Incarnation), inc.signed)
			}
		}
	case keyApplied:
		saveAll(c, kind, c.heads.applied)
	case keyStaged:
		for h, p := range c.pushes.open {
			if p.staged {
				c.save(kind+h.String(), stagedPush{Object: p.object})
			}
		}
	case keyEntry:
		for _, n := range c.logs.kept {
			for _, l := range n.entries {
				c.saveEntry(l)
			}
		}
	case keyFork:
		for node, n := range c.logs.kept {
			if n.fork != nil {
				c.save(kind+string(node), *n.fork)
			}
		}
	}
}

func saveAll[K ~string, V any](c *Core, kind string, all map[K]V) {
	for name, v := range all {
		c.save(kind+string(name), v)
	}
}
