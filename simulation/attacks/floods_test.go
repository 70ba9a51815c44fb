package attacks

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/p2p"
	"shoal/ring"
	"shoal/store"
)

func floodAttacks() []attack {
	return []attack{
		{"ask-for-everything", "oversize", Member, "asks for 2,000 objects in one message of 70 KB, to be sent all of them", "gets-unbounded", askAll},
		{"flood-of-objects", "oversize", Member, "brings objects faster than a disk takes them, so that they pile up in memory", "storing-unbounded", floodObjects},
		{"flood-of-registers", "oversize", Member, "makes a node an acceptor of thousands of environments that nobody wants", "registers-unbounded", floodRegisters},
		{"flood-of-challenges", "oversize", Member, "challenges a node a thousand times at once, to have it sign all the time", "answers-all-challenges", floodChallenges},
		{"a-long-environment-name", "oversize", Member, "names an environment ../../etc", "any-environment-name", envTraversal},
		{"large-object", "oversize", Member, "brings an object of 400 KiB, more than an object may have", "objects-of-any-size", largeObject},
		{"large-value", "oversize", Member, "proposes a value of 400 KiB to a register", "values-of-any-size", largeValue},
		{"large-evidence", "oversize", Member, "accuses with 400 KiB, which go to all and stay on all disks", "evidence-of-any-size", largeEvidence},
		{"partition-out-of-range", "oversize", Member, "compares a partition that there is not, to read past a table", "any-partition", badPartition},
		{"frame-of-a-gigabyte", "oversize", Member, "announces a frame of 1 GiB, for which memory is to be made ready", "frames-of-any-size", gigabyteFrame},
		{"message-past-the-limit", "oversize", Member, "sends a frame of 32 MiB", "messages-of-any-size", largeMessage},
		{"nesting-bomb", "bomb", Member, "nests a record thousands of levels deep, for a decoder that recurses", "nesting-unbounded", nestingBomb},
		{"signature-bomb", "bomb", Member, "puts 10,000 good signatures under one record, each of which is to be verified", "signatures-unbounded", signatureBomb},
		{"duplicate-keys", "bomb", Member, "writes a field of a signed record twice, so that two readers see two records", "duplicate-fields", duplicateFields},
	}
}

func askAll(t *testing.T) string {
	a := newArena(t, 3)
	victim := a.nodes[0]
	get := &mesh.Get{}
	for i := range 2000 {
		data := fmt.Appendf(nil, "object %d", i)
		victim.Keep(data)
		get.Hashes = append(get.Hashes, store.HashOf(data))
	}
	since := a.mark(victim)
	if err := a.say(victim, get); err != nil {
		return ""
	}
	n := 0
	for _, put := range answered[*mesh.Put](a, victim, since) {
		n += len(put.Objects)
	}
	if n > 64 {
		return fmt.Sprintf("%d objects for one message", n)
	}
	return ""
}

func floodObjects(t *testing.T) string {
	a := newArena(t, 3)
	victim, hashes := a.nodes[0], []store.Hash{}
	for i := range 160 {
		data := bytes.Repeat([]byte{byte(i), 1, 2, 3}, 64<<10)
		hashes = append(hashes, store.HashOf(data))
		_ = a.say(victim, &mesh.Put{Objects: []mesh.Object{{Hash: store.HashOf(data), Data: data}}})
	}
	a.Run(time.Second)
	held := 0
	for _, h := range hashes {
		if victim.Holds(h) {
			held++
		}
	}
	if mib := held / 4; mib > 30 {
		return fmt.Sprintf("%d MiB at once wait for the disk", mib)
	}
	return ""
}

func floodRegisters(t *testing.T) string {
	a := newArena(t, 3)
	victim := a.nodes[0]
	var ids []membership.NodeID
	for _, m := range victim.Core.Members() {
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	for i := range 3000 {
		_ = a.say(victim, &mesh.Prepare{Register: store.DirectoryRegister(fmt.Sprintf("e%d", i)), Ballot: a.ballot(1), Members: ids})
	}
	n := 0
	for key := range victim.Saved() {
		if strings.HasPrefix(key, mesh.SavePrefix+"acceptor/") {
			n++
		}
	}
	if n > 1100 {
		return fmt.Sprintf("n1 keeps %d registers", n)
	}
	return ""
}

func floodChallenges(t *testing.T) string {
	a, _ := begun(t, 3)
	victim := a.nodes[0]
	since := a.mark(victim)
	for i := range 1000 {
		_ = a.say(victim, &mesh.FreshAsk{Env: production, Nonce: [16]byte{byte(i), byte(i >> 8)}})
	}
	if n := len(answered[*mesh.FreshTell](a, victim, since)); n > 2 {
		return fmt.Sprintf("n1 signs %d answers at once", n)
	}
	return ""
}

func envTraversal(t *testing.T) string {
	a := newArena(t, 3)
	since := a.mark(a.nodes[0])
	ask := &mesh.FreshAsk{Env: "../../etc"}
	if err := a.say(a.nodes[0], ask); err != nil || len(answered[*mesh.FreshTell](a, a.nodes[0], since)) == 0 {
		return ""
	}
	return "n1 answers for the environment ../../etc"
}

// decodes tells whether what one node encodes past a limit is taken by another.
func decodes(t *testing.T, m mesh.Message) bool {
	frame := must(mesh.Encode(m))(t)
	_, err := mesh.Decode(frame)
	return err == nil
}

func largeObject(t *testing.T) string {
	data := make([]byte, 400<<10)
	if decodes(t, &mesh.Put{Objects: []mesh.Object{{Hash: store.HashOf(data), Data: data}}}) {
		return "an object of 400 KiB is taken in"
	}
	return ""
}

func largeValue(t *testing.T) string {
	if decodes(t, &mesh.Accept{Register: store.HeadRegister(production), Value: make([]byte, 400<<10)}) {
		return "a value of 400 KiB comes to an acceptor"
	}
	return ""
}

func largeEvidence(t *testing.T) string {
	if decodes(t, &mesh.Accuse{Evidence: store.Evidence{A: membership.Signed{Body: make([]byte, 400<<10)}}}) {
		return "evidence of 400 KiB is looked at"
	}
	return ""
}

func badPartition(t *testing.T) string {
	if decodes(t, &mesh.Hashes{Partitions: []ring.Partition{ring.Partitions}}) {
		return "a partition beyond the last is looked up"
	}
	return ""
}

// gigabyteFrame says how long it is and sends nothing: who believes it makes room before it sees that nothing comes.
func gigabyteFrame(*testing.T) string {
	_, err := p2p.ReadFrame(bytes.NewReader([]byte{0x40, 0, 0, 0}))
	if errors.Is(err, p2p.ErrFrameSize) {
		return ""
	}
	return fmt.Sprintf("room is made for 1 GiB: %v", err)
}

func largeMessage(t *testing.T) string {
	body := must(codec.Marshal(&mesh.RosterTell{Records: []membership.Signed{{Body: make([]byte, 32<<20)}}}))(t)
	if _, err := mesh.Decode(append([]byte{mesh.WireVersion, 3}, body...)); err == nil {
		return "a message of 32 MiB is decoded"
	}
	return ""
}

func nestingBomb(*testing.T) string {
	data := append(bytes.Repeat([]byte{0x81}, 1000), 0x00)
	var anything codec.Raw
	if codec.Unmarshal(data, &anything) == nil {
		return "1,000 levels are decoded"
	}
	return ""
}

func signatureBomb(t *testing.T) string {
	key := keyFor(newArena(t, 1).mallory)
	s := must(membership.Sign(membership.DomainKept, "x", key))(t)
	for len(s.Signatures) < 10_000 {
		s.Signatures = append(s.Signatures, s.Signatures[0])
	}
	var text string
	if _, err := s.Open(membership.DomainKept, &text); err == nil {
		return "10,000 signatures are verified"
	}
	return ""
}

func duplicateFields(*testing.T) string {
	var v map[string]int
	if codec.Unmarshal([]byte{0xa2, 0x61, 'a', 1, 0x61, 'a', 2}, &v) == nil {
		return fmt.Sprintf("of two values of one field one counts: %v", v)
	}
	return ""
}
