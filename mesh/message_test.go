package mesh

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/ring"
	"shoal/store"
)

var updateWire = flag.Bool("update-wire", false, "write the fixture of the wire format anew")

// samples has a message of each kind, with every field set; where fields were added, one without them and one with them.
func samples() []Message {
	h, ballot := store.HashOf([]byte("x")), store.Ballot{Number: 3, Proposer: "n1", Run: 7}
	signed := membership.Signed{Domain: membership.DomainGrant, Body: []byte{1}, Signatures: []membership.Signature{{Key: []byte{2}, Sig: []byte{3}}}}
	certificate := store.Certificate{Value: []byte{4}, Votes: signed}
	return []Message{
		&RosterAsk{Digest: h},
		&RosterAsk{Digest: h, Joins: true},
		&RosterHave{IDs: [][]byte{h[:recordIDSize]}, Answer: true},
		&RosterTell{Records: []membership.Signed{signed}},
		&HeadAsk{Heads: []EnvVersion{{Env: "production", Version: 9}}},
		&HeadAsk{Heads: []EnvVersion{{Env: "production", Version: 9}}, Epochs: []uint64{2}},
		&HeadAsk{Heads: []EnvVersion{{Env: "production", Version: 9}}, Marks: []uint64{2}},
		&HeadTell{Creation: &store.Creation{
			Env: "production", Electorate: []membership.NodeID{"n1", "n2"}, Certificate: certificate,
		}, Seals: []membership.Signed{signed}},
		&HeadTell{
			Creation: &store.Creation{Env: "production", Electorate: []membership.NodeID{"n1", "n2"}, Certificate: certificate},
			Head:     &store.HeadRecord{Env: "production", Certificate: certificate},
		},
		&HeadTell{Creation: &store.Creation{
			Env: "production", Electorate: []membership.NodeID{"n1", "n2"}, Certificate: certificate, Order: []byte{3},
		}},
		&HeadTell{Recovery: &signed},
		&Prepare{Register: "dir/production", Epoch: 1, Ballot: ballot, Members: []membership.NodeID{"n1"}},
		&Prepare{Register: "dir/production", Ballot: ballot, Members: []membership.NodeID{"n1"}, Order: []byte{3}},
		&Promise{Register: "dir/production", Ballot: ballot, Order: []byte{3}},
		&Promise{Register: "head/production", Ballot: ballot, Word: &signed.Signatures[0]},
		&Promise{
			Register: "head/production", Ballot: ballot, Refused: store.RefusedMembers, Promised: ballot, Accepted: ballot,
			Value: []byte{5}, Members: []membership.NodeID{"n1"},
		},
		&Promise{
			Register: "head/production", Ballot: ballot, Accepted: ballot, Value: []byte{5},
			Next: []store.Seat{{Node: "n1", Disk: 6}}, Starts: []uint64{7},
		},
		&Accept{Register: "head/production", Epoch: 1, Ballot: ballot, Value: []byte{6}},
		&Accept{Register: "head/production", Epoch: 1, Ballot: ballot, Value: []byte{6}, Next: []store.Seat{{Node: "n1", Disk: 6}}},
		&Accept{Register: "head/production", Epoch: 1, Ballot: ballot, Value: []byte{6}, Then: &ballot},
		&Accepted{Register: "head/production", Ballot: ballot, Refused: store.RefusedBallot, Promised: ballot, Vote: signed.Signatures[0]},
		&Accepted{Register: "head/production", Ballot: ballot, Vote: signed.Signatures[0], Starts: []uint64{7}},
		&Offer{Hashes: []store.Hash{h}},
		&Offer{Hashes: []store.Hash{h}, Placed: "circular/1"},
		&Have{Have: []store.Hash{h}, Lacks: []store.Hash{h}},
		&Put{Objects: []Object{{Hash: h, Data: []byte("x")}}},
		&Get{Hashes: []store.Hash{h}},
		&Lacks{Hashes: []store.Hash{h}},
		&Compare{Placement: h, Root: h},
		&Compare{Placement: h, Root: h, Groups: true, Placed: "circular/1"},
		&Digests{Placement: h, Partitions: []PartitionDigest{{Partition: 5, Count: 1, Xor: [16]byte(h[:16])}}},
		&Hashes{Partitions: []ring.Partition{5}, Hashes: []store.Hash{h}, Answer: true},
		&LogTell{Record: []byte{7}, Report: []byte{8}},
		&LogAck{Node: "n1", Seq: 4},
		&StatusAsk{ID: 5},
		&StatusTell{ID: 5, Records: [][]byte{{9}}, Objects: 3, Bytes: 4},
		&StatusTell{ID: 5, Records: [][]byte{{9}}, Objects: 3, Bytes: 4, Forks: []ForkProof{{A: []byte{13}, B: []byte{14}}}},
		&StatusTell{ID: 5, Placed: "circular/1"},
		&ReportAsk{ID: 6, Node: "n1"},
		&ReportTell{ID: 6, Record: []byte{10}, Report: []byte{11}},
		&StandingAsk{ID: 7, Env: "production"},
		&StandingTell{ID: 7, Epoch: 1 << 32, Version: 3, Revision: h, Votes: true, At: 1 << 32, Ballot: ballot, Accepted: []byte{2}},
		&Accuse{Evidence: store.Evidence{A: signed, B: signed}},
		&CollectAsk{Round: 7, Heads: []EnvVersion{{Env: "production", Version: 9}}, Epochs: []uint64{2}},
		&CollectTell{Round: 7, Ahead: true},
		&KeepAsk{Round: 8, Placement: h, Hashes: []store.Hash{h}},
		&KeepTell{Receipt: signed},
		&Groups{Placement: h, Groups: []GroupDigest{{Group: 3, Sum: [16]byte(h[:16])}}},
		&FenceAsk{Incarnation: signed, Register: "head/production", Epoch: 2},
		&FenceTell{Incarnation: signed, Nonce: 3, Register: "head/production", Newer: &signed, Acceptor: &store.Acceptor{
			Register: "head/production", Epoch: 2, Members: []membership.NodeID{"n1"}, Promised: ballot, Accepted: ballot,
			Value: []byte{4}, Phase: store.Sealed, Disk: 5, Next: []store.Seat{{Node: "n1", Disk: 6}},
		}},
		&LogHave{Logs: []LogState{{Node: "n1", First: 2, Seq: 3, Hash: h, Forked: true}}, Answer: true},
		&LogAsk{ID: 9, Node: "n1", From: 2, To: 3},
		&LogRange{ID: 9, Node: "n1", Entries: [][]byte{{12}}, Fork: &ForkProof{A: []byte{13}, B: []byte{14}}},
		&RunAsk{ID: 10, Node: "n1", Report: h},
		&RunTell{ID: 10, Node: "n1", Report: []byte{15}},
		&Placed{Version: "circular/1"},
		&KeyAsk{ID: 5, Env: "production", Secrets: []store.Hash{h}},
		&KeyTell{ID: 5, Keys: [][]byte{{7}, {}}},
		&FreshAsk{Env: "production", Nonce: [16]byte(h[:16])},
		&FreshTell{Word: signed},
	}
}

const wireFixture = "testdata/wire_v1.golden"

// TestWireFormat: a mesh runs two versions of the program at once while it is upgraded, so the bytes of version 1 stay.
func TestWireFormat(t *testing.T) {
	var b strings.Builder
	last := byte(0)
	for i, m := range samples() {
		if m.kind() < last {
			t.Errorf("sample %d is of kind %d", i+1, m.kind())
		}
		last = m.kind()
		frame, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s\n", strings.TrimPrefix(fmt.Sprintf("%T", m), "*mesh."), hex.EncodeToString(frame))
	}
	kinds := map[byte]bool{}
	for _, m := range samples() {
		kinds[m.kind()] = true
	}
	if len(kinds) != len(blank) {
		t.Errorf("samples of %d of %d kinds", len(kinds), len(blank))
	}
	if *updateWire {
		if err := os.WriteFile(wireFixture, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(wireFixture)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the wire format has changed; that needs a new WireVersion. Now it is:\n%s", b.String())
	}
	for i, line := range strings.Split(strings.TrimSpace(string(want)), "\n") {
		_, text, _ := strings.Cut(line, " ")
		frame, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Decode(frame)
		if err != nil || !reflect.DeepEqual(m, samples()[i]) {
			t.Errorf("%s: %+v, %v", line, m, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	frame := func(m Message) []byte {
		body, err := codec.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return append([]byte{WireVersion, m.kind()}, body...)
	}
	hashes := make([]store.Hash, maxHashes+1)
	long := membership.NodeID(strings.Repeat("n", 65))
	for name, bad := range map[string][]byte{
		"nothing":                 nil,
		"a byte":                  {WireVersion},
		"too long":                make([]byte, MaxFrame+1),
		"another version":         append([]byte{WireVersion + 1}, frame(&StatusAsk{})[1:]...),
		"an unknown kind":         {WireVersion, 250, 0xa0},
		"no body":                 {WireVersion, 20},
		"trailing bytes":          append(frame(&StatusAsk{}), 0),
		"too many hashes":         frame(&Offer{Hashes: hashes}),
		"too many to get":         frame(&Get{Hashes: hashes[:maxGet+1]}),
		"a large object":          frame(&Put{Objects: []Object{{Data: make([]byte, store.MaxObject+1)}}}),
		"a partition":             frame(&Digests{Partitions: []PartitionDigest{{Partition: ring.Partitions}}}),
		"a large report":          frame(&LogTell{Report: make([]byte, MaxReport+1)}),
		"a long environment":      frame(&HeadAsk{Heads: []EnvVersion{{Env: strings.Repeat("e", 65)}}}),
		"a long id in a ballot":   frame(&Accept{Ballot: store.Ballot{Proposer: long}}),
		"a long register":         frame(&Prepare{Register: strings.Repeat("r", 81)}),
		"a large value":           frame(&Accept{Value: make([]byte, store.MaxRegisterValue+1)}),
		"too large an electorate": frame(&Prepare{Members: make([]membership.NodeID, store.MaxAcceptors+1)}),
		"a record id":             frame(&RosterHave{IDs: [][]byte{{1}}}),
	} {
		if m, err := Decode(bad); !errors.Is(err, ErrFrame) && !errors.Is(err, ErrUnknownKind) {
			t.Errorf("%s: %T, %v", name, m, err)
		}
	}
}

// FuzzDecode: whatever a peer sends, decoding ends, and what was accepted encodes to something that decodes to the same.
func FuzzDecode(f *testing.F) {
	for _, m := range samples() {
		frame, err := Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := Decode(frame)
		if err != nil {
			return
		}
		again, err := Encode(m)
		if err != nil {
			t.Fatalf("%T decodes and does not encode: %v", m, err)
		}
		back, err := Decode(again)
		if err != nil {
			t.Fatalf("%T does not survive: %v", m, err)
		}
		third, err := Encode(back)
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%T is not stable: %x, %x, %v", m, again, third, err)
		}
	})
}

func TestPackObjectsFitsIntoFrames(t *testing.T) {
	var objects []Object
	for i := range 300 {
		objects = append(objects, Object{Data: make([]byte, (i*7919)%store.MaxObject+1)})
	}
	for range maxHashes + 10 {
		objects = append(objects, Object{})
	}
	count := 0
	for _, put := range PackObjects(objects) {
		frame, err := Encode(put)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(frame); err != nil {
			t.Fatal(err)
		}
		count += len(put.Objects)
	}
	if count != len(objects) {
		t.Errorf("%d of %d objects", count, len(objects))
	}
}
