package mesh

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/store"
)

// SavePrefix begins the keys of all Saves; the shell may put it below another of its own.
const SavePrefix = "mesh/"

// The kinds of saved records; their keys are SavePrefix, the kind and a name.
const (
	keyRoster   = SavePrefix + "roster/"   // record id -> Signed
	keyChain    = SavePrefix + "chain/"    // "solo" -> []Signed, of a node without a mesh; "line" -> []Signed, what is followed of a chain that forks
	keyAddr     = SavePrefix + "addr/"     // node id -> IP:port
	keyCreation = SavePrefix + "creation/" // env -> store.Creation
	keyHead     = SavePrefix + "head/"     // env -> store.HeadRecord
	keyAcceptor = SavePrefix + "acceptor/" // register -> store.Acceptor
	keySeal     = SavePrefix + "seal/"     // env-epoch -> Signed, the votes for the end of that epoch
	keyRecovery = SavePrefix + "recovery/" // env -> Signed store.Recovery
	keyEvidence = SavePrefix + "evidence/" // node id -> store.Evidence against it
	keyJoins    = SavePrefix + "joins/"    // "roster": people.joins
	keyDisk     = SavePrefix + "disk/"     // "own" -> store.Incarnation of the last start
	keyLineage  = SavePrefix + "lineage/"  // "own" -> Config.Lineage in the start that is saved as own
	keyRecalled = SavePrefix + "recalled/" // register -> asked
	keyPeerDisk = SavePrefix + "peerdisk/" // node id-disk -> Signed store.Incarnation
	keyVersion  = SavePrefix + "version/"  // "core" -> savedVersion
	keyApplied  = SavePrefix + "applied/"  // env -> appliedHead
	keyStaged   = SavePrefix + "staged/"   // revision hash -> stagedPush
	keyRevision = SavePrefix + "revision/" // hash -> the revision's object, until it is kept as one
	keyLog      = SavePrefix + "log/"      // node id -> store.SealedEntry.Raw, the newest; until version 2
	keyReport   = SavePrefix + "report/"   // node id -> bytes of the last report; until version 2
	keyEntry    = SavePrefix + "entry/"    // node id-number -> savedEntry
	keyFork     = SavePrefix + "fork/"     // node id -> ForkProof
	keyForgot   = SavePrefix + "forgot/"   // "store": the disk was damaged; see damage.go
	keyGossip   = SavePrefix + "gossip/"   // "ring" -> []membership.HeldKey
	keyRun      = SavePrefix + "run/"      // node id-hash -> bytes of a report; never loaded into a Core
)

// savedVersion is the version of the saved records as a whole. Version 1 had none: it lacks disks and seals, and is read.
// Version 2 kept of each log the newest entry alone. Version 3 knows no lineage.
const savedVersion = 4

// KeysPrefix begins the names of the records that hold keys in the clear: those of the gossip. Each is of worth without the others.
const KeysPrefix = keyGossip

// RunKey is where a report of a node is saved.
func RunKey(node membership.NodeID, report store.Hash) string {
	return keyRun + string(node) + "-" + hex.EncodeToString(report[:])
}

// entryKey sorts by number.
func entryKey(node membership.NodeID, seq uint64) string {
	return fmt.Sprintf("%s%s-%016x", keyEntry, node, seq)
}

// savedEntry is an entry of a log, and how much of its report is kept: logged.held.
type savedEntry struct {
	Raw  []byte `cbor:"1,keyasint"`
	Held int    `cbor:"2,keyasint"`
}

func (c *Core) saveEntry(l logged) {
	c.save(entryKey(l.entry.Node, l.entry.Seq), savedEntry{Raw: l.entry.Raw, Held: l.held})
}

// Loaded tells whether New wants the record under key.
func Loaded(key string) bool {
	return strings.HasPrefix(key, SavePrefix) && !strings.HasPrefix(key, keyReport) && !strings.HasPrefix(key, keyRun)
}

var errNewer = errors.New("a newer shoal has written here")

// save emits a Save of an encoded record.
func (c *Core) save(key string, record any) { c.saveAs(key, record, false) }

// saveLate is for what others know too.
func (c *Core) saveLate(key string, record any) { c.saveAs(key, record, true) }

func (c *Core) saveAs(key string, record any, late bool) {
	data, err := codec.Marshal(record)
	if err != nil {
		c.note("cannot encode a record", "", "", err) // a bug: all our records have a form
		return
	}
	c.emit(Save{Key: key, Value: data, Late: late})
}

// load takes the saved records in. One that does not decode is taken for damaged (damage.go); one of a kind that this version does
// not know stops the node: a newer version has written here.
func (c *Core) load(saved []store.Pair) error {
	var roster []membership.Signed
	for _, p := range saved {
		key := string(p.Key)
		if !Loaded(key) {
			continue
		}
		kind, name, ok := strings.Cut(strings.TrimPrefix(key, SavePrefix), "/")
		if !ok {
			return fmt.Errorf("saved record %q: %w", key, errNewer)
		}
		switch err := c.loadOne(SavePrefix+kind+"/", name, p.Value, &roster); {
		case errors.Is(err, errNewer):
			return fmt.Errorf("saved record %q: %w", key, err)
		case err != nil:
			c.recordDamaged(key, err)
		}
	}
	for _, id := range recordIDs(roster) {
		c.people.saved[string(id)] = true
	}
	if len(roster) > 0 {
		// The line first: what it was before is what a chain follows where no rule decides. Those that came after it are with the others.
		_, _ = c.people.roster.Add(c.now, c.people.followed...)
		if _, err := c.people.roster.Add(c.now, roster...); errors.Is(err, membership.ErrNoMesh) {
			return fmt.Errorf("saved roster: %w", err)
		}
	}
	c.openSaved()
	return nil
}

func (c *Core) loadOne(kind, name string, value []byte, roster *[]membership.Signed) error {
	switch kind {
	case keyRoster:
		var s membership.Signed
		if err := codec.Unmarshal(value, &s); err != nil {
			return err
		}
		*roster = append(*roster, s)
		return nil
	case keyChain:
		var statements []membership.Signed
		if err := codec.Unmarshal(value, &statements); err != nil {
			return err
		}
		if name == "line" {
			c.people.followed = statements
			return nil
		}
		chain, err := membership.OpenChain(statements)
		if err != nil {
			return err
		}
		c.people.adopted = chain
		return nil
	case keyAddr:
		return loadInto(c.people.addrs, membership.NodeID(name), value)
	case keyCreation:
		return loadInto(c.heads.unopened, name, value)
	case keyHead:
		return loadInto(c.heads.saved, name, value)
	case keyAcceptor:
		return loadInto(c.registers.acceptors, name, value)
	case keySeal:
		var votes membership.Signed
		if err := codec.Unmarshal(value, &votes); err != nil {
			return err
		}
		return c.loadSeal(name, votes)
	case keyRecovery:
		var signed membership.Signed
		err := codec.Unmarshal(value, &signed)
		c.heads.lost[name] = signed
		return err
	case keyEvidence:
		return c.loadEvidence(name, value)
	case keyJoins:
		c.people.joins = true
		return nil
	case keyDisk:
		own := map[string]store.Incarnation{}
		err := loadInto(own, name, value)
		c.fence.own = own[name]
		return err
	case keyLineage:
		return codec.Unmarshal(value, &c.fence.lineage)
	case keyRecalled:
		return loadInto(c.fence.asked, name, value)
	case keyPeerDisk:
		return c.loadPeerDisk(value)
	case keyVersion:
		var version uint64
		if err := codec.Unmarshal(value, &version); err != nil {
			return err
		}
		if version > savedVersion {
			return fmt.Errorf("version %d of the records, this shoal knows up to %d: %w", version, savedVersion, errNewer)
		}
		return nil
	case keyApplied:
		return loadInto(c.heads.applied, name, value)
	case keyStaged:
		return c.loadStaged(name, value)
	case keyRevision:
		if store.HashOf(value).String() != name {
			return store.ErrCorrupt
		}
		c.objects.soon.load(value)
		return nil
	case keyLog:
		return c.loadLog(savedEntry{Raw: value, Held: heldBefore}, true)
	case keyEntry:
		var s savedEntry
		if err := codec.Unmarshal(value, &s); err != nil {
			return err
		}
		return c.loadLog(s, false)
	case keyGossip:
		held, err := loadKeys(value)
		c.sealing.saved = held
		return err
	case keyForgot:
		c.damage.forgot = true
		return nil
	case keyFork:
		return c.loadFork(membership.NodeID(name), value)
	}
	return fmt.Errorf("unknown kind: %w", errNewer)
}

// loadInto decodes a record, and enters it only when all of it is good.
func loadInto[K comparable, V any](into map[K]V, name K, value []byte) error {
	var v V
	if err := codec.Unmarshal(value, &v); err != nil {
		return err
	}
	into[name] = v
	return nil
}

// loadLog takes an entry in. Its signature was looked at when it came, and is by whomever it is given to.
func (c *Core) loadLog(s savedEntry, legacy bool) error {
	entry, err := store.ReadLogEntry(s.Raw)
	if err != nil {
		return err
	}
	l, err := readLog(entry)
	if err != nil {
		return err
	}
	l.held = s.Held
	n := c.logs.kept[entry.Node]
	if n == nil {
		n = &nodeLog{}
		c.logs.kept[entry.Node] = n
	}
	n.insert(l)
	if legacy {
		c.logs.legacy = append(c.logs.legacy, entry.Node)
	}
	return nil
}

func (c *Core) loadFork(node membership.NodeID, value []byte) error {
	var proof ForkProof
	if err := codec.Unmarshal(value, &proof); err != nil {
		return err
	}
	at, ok := proof.check(node)
	if !ok {
		return errors.New("not a proof")
	}
	if c.logs.kept[node] == nil {
		c.logs.kept[node] = &nodeLog{}
	}
	c.logs.kept[node].fork, c.logs.kept[node].forkAt = &proof, at
	return nil
}
