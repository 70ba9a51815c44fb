package mesh

import (
	"errors"
	"fmt"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/ring"
	"shoal/store"
)

// WireVersion is the first byte of every frame. A frame of another version is ignored.
const WireVersion = 1

// Limits of a message, whatever its frame's length.
const (
	maxHashes  = 2048 // in one message
	maxGet     = 64   // objects asked for at once
	maxRecords = 1024 // roster or log records in one message
	maxEnvs    = 256
	// MaxReport is the longest report in bytes; longer ones are trimmed by whoever makes them.
	MaxReport = 256 << 10
)

// Errors of Decode.
var (
	ErrFrame       = errors.New("bad frame")
	ErrUnknownKind = errors.New("unknown kind of message")
)

// Message is what nodes say to each other.
type Message interface {
	kind() byte
	check() error
}

// The messages. Nothing a peer says is believed beyond what its signatures show and its hashes name.
type (
	// RosterAsk: this is my roster's digest; tell me if yours differs.
	RosterAsk struct {
		Digest [32]byte `cbor:"1,keyasint"`
		Joins  bool     `cbor:"2,keyasint,omitempty"` // the sender was told to join others, and does not know all members yet
	}
	// RosterHave lists the records that the sender has. With Answer unset the receiver lists its own in return.
	RosterHave struct {
		IDs    [][]byte `cbor:"1,keyasint"` // 8 bytes each
		Answer bool     `cbor:"2,keyasint"`
	}
	// RosterTell brings records that the receiver lacks.
	RosterTell struct {
		Records []membership.Signed `cbor:"1,keyasint"`
	}
	// HeadAsk: these are the heads I know; tell me newer ones.
	HeadAsk struct {
		Heads  []EnvVersion `cbor:"1,keyasint"`
		Epochs []uint64     `cbor:"2,keyasint,omitempty"` // of the acceptors, for each of Heads; none: 0
		Marks  []uint64     `cbor:"3,keyasint,omitempty"` // of the revisions; see head.mark
	}
	// HeadTell brings an environment's creation, its head, or both.
	HeadTell struct {
		Creation *store.Creation   `cbor:"1,keyasint,omitempty"`
		Head     *store.HeadRecord `cbor:"2,keyasint,omitempty"`
		// Seals lead from one set of acceptors to the next, in order: the votes of their certificates.
		Seals []membership.Signed `cbor:"3,keyasint,omitempty"`
		// Recovery takes the place of Creation where the operators have begun a new era.
		Recovery *membership.Signed `cbor:"4,keyasint,omitempty"`
	}
	// Prepare, Promise, Accept and Accepted are CASPaxos (store/register.go). Members is set for directory registers,
	// whose acceptors install themselves when they know the same roster.
	Prepare struct {
		Register string              `cbor:"1,keyasint"`
		Epoch    uint64              `cbor:"2,keyasint"`
		Ballot   store.Ballot        `cbor:"3,keyasint"`
		Members  []membership.NodeID `cbor:"4,keyasint,omitempty"`
		Order    []byte              `cbor:"5,keyasint,omitempty"` // with Members: see store.OpenOrder
	}
	Promise struct {
		Register string              `cbor:"1,keyasint"`
		Ballot   store.Ballot        `cbor:"2,keyasint"`
		Refused  store.Refusal       `cbor:"3,keyasint,omitempty"`
		Promised store.Ballot        `cbor:"4,keyasint"`
		Accepted store.Ballot        `cbor:"5,keyasint"`
		Value    []byte              `cbor:"6,keyasint,omitempty"`
		Members  []membership.NodeID `cbor:"7,keyasint,omitempty"` // with RefusedMembers: those that were installed
		Next     []store.Seat        `cbor:"8,keyasint,omitempty"`
		Starts   []uint64            `cbor:"9,keyasint,omitempty"`
		// Word is the signature of the store.Word: what was promised, and what had been accepted by then.
		Word  *membership.Signature `cbor:"11,keyasint,omitempty"`
		Order []byte                `cbor:"10,keyasint,omitempty"` // that the acceptor goes by, when the asker did not say one
	}
	Accept struct {
		Register string        `cbor:"1,keyasint"`
		Epoch    uint64        `cbor:"2,keyasint"`
		Ballot   store.Ballot  `cbor:"3,keyasint"`
		Value    []byte        `cbor:"4,keyasint"`
		Next     []store.Seat  `cbor:"5,keyasint,omitempty"`
		Then     *store.Ballot `cbor:"6,keyasint,omitempty"`
	}
	Accepted struct {
		Register string               `cbor:"1,keyasint"`
		Ballot   store.Ballot         `cbor:"2,keyasint"`
		Refused  store.Refusal        `cbor:"3,keyasint,omitempty"`
		Promised store.Ballot         `cbor:"4,keyasint"`
		Vote     membership.Signature `cbor:"5,keyasint"` // of the store.Vote, when not refused
		Starts   []uint64             `cbor:"6,keyasint,omitempty"`
	}
	// FenceAsk says which disk and start the sender has. With Register: I was its acceptor before I started; how far is it?
	FenceAsk struct {
		Incarnation membership.Signed `cbor:"1,keyasint"`
		Register    string            `cbor:"2,keyasint,omitempty"`
		Epoch       uint64            `cbor:"3,keyasint,omitempty"`
	}
	// FenceTell answers it. With Newer the asker's disk went back in time: it said that itself, before.
	FenceTell struct {
		Incarnation membership.Signed  `cbor:"1,keyasint"`
		Nonce       uint64             `cbor:"2,keyasint"` // of the asker
		Register    string             `cbor:"3,keyasint,omitempty"`
		Acceptor    *store.Acceptor    `cbor:"4,keyasint,omitempty"`
		Newer       *membership.Signed `cbor:"5,keyasint,omitempty"`
	}
	// Accuse shows that an acceptor has contradicted itself.
	Accuse struct {
		Evidence store.Evidence `cbor:"1,keyasint"`
	}
	// StandingAsk: what do you know of the head of Env? StandingTell answers: the operators want to begin a new era.
	StandingAsk struct {
		ID  uint64 `cbor:"1,keyasint"`
		Env string `cbor:"2,keyasint"`
	}
	StandingTell struct {
		ID       uint64       `cbor:"1,keyasint"`
		Epoch    uint64       `cbor:"2,keyasint"`
		Version  uint64       `cbor:"3,keyasint"` // of the newest certified head
		Revision store.Hash   `cbor:"4,keyasint"`
		Votes    bool         `cbor:"5,keyasint"`           // this node is an acceptor
		At       uint64       `cbor:"6,keyasint"`           // its epoch
		Ballot   store.Ballot `cbor:"7,keyasint"`           // of Accepted
		Accepted []byte       `cbor:"8,keyasint,omitempty"` // maybe not chosen
	}
	// Offer: I have these, and you own them; which do you lack?
	Offer struct {
		Hashes []store.Hash `cbor:"1,keyasint"`
		Placed string       `cbor:"2,keyasint,omitempty"` // by which algorithm you own them; empty: ring.FirstTokenVersion
	}
	// Have answers Offer and Put: these are durable here, those are not.
	Have struct {
		Have  []store.Hash `cbor:"1,keyasint"`
		Lacks []store.Hash `cbor:"2,keyasint"`
	}
	// Get asks for objects; Put and Lacks answer.
	Get struct {
		Hashes []store.Hash `cbor:"1,keyasint"`
	}
	// Put brings objects.
	Put struct {
		Objects []Object `cbor:"1,keyasint"`
	}
	// Lacks answers Get for what is not here.
	Lacks struct {
		Hashes []store.Hash `cbor:"1,keyasint"`
	}
	// Compare begins a repair: the digest of all partitions that both own, under the same placement.
	Compare struct {
		Placement [32]byte `cbor:"1,keyasint"`
		Root      [32]byte `cbor:"2,keyasint"`
		Groups    bool     `cbor:"3,keyasint,omitempty"` // the sender understands Groups; version 0.1 does not
		Placed    string   `cbor:"4,keyasint,omitempty"` // as in Offer
	}
	// Digests answers Groups: of the groups that differ, the partitions that both own and that are not empty here. Without
	// Groups it is about all of them.
	Digests struct {
		Placement  [32]byte          `cbor:"1,keyasint"`
		Partitions []PartitionDigest `cbor:"2,keyasint"`
		Groups     []uint8           `cbor:"3,keyasint,omitempty"`
	}
	// Hashes lists what the sender has of some partitions; both sides then fetch what they lack. With Answer unset the
	// receiver lists its own in return.
	Hashes struct {
		Partitions []ring.Partition `cbor:"1,keyasint"`
		Hashes     []store.Hash     `cbor:"2,keyasint"`
		Answer     bool             `cbor:"3,keyasint"`
	}
	// LogTell brings the newest record of a node's log, and its report, to an owner of the log.
	LogTell struct {
		Record []byte `cbor:"1,keyasint"` // as store.OpenLogEntry reads it
		Report []byte `cbor:"2,keyasint,omitempty"`
	}
	// LogAck: this record of the node is durable here.
	LogAck struct {
		Node membership.NodeID `cbor:"1,keyasint"`
		Seq  uint64            `cbor:"2,keyasint"`
	}
	// StatusAsk and StatusTell gather the newest log records.
	StatusAsk struct {
		ID uint64 `cbor:"1,keyasint"`
	}
	StatusTell struct {
		ID      uint64   `cbor:"1,keyasint"`
		Records [][]byte `cbor:"2,keyasint"` // as store.OpenLogEntry reads them
		Objects int      `cbor:"3,keyasint"`
		Bytes   int64    `cbor:"4,keyasint"`
		Behind  int      `cbor:"5,keyasint,omitempty"` // partitions that differ from those of another owner
		Moving  int      `cbor:"6,keyasint,omitempty"` // objects that are being fetched or brought to others
		// Forks are proofs that a node wrote its log twice.
		Forks []ForkProof `cbor:"7,keyasint,omitempty"`
		// Placed is how the sender places, as in Offer.
		Placed string `cbor:"8,keyasint,omitempty"`
		// Stale is for how many seconds nobody has confirmed that the sender is up to date, once it has raised the alarm.
		Stale uint64 `cbor:"9,keyasint,omitempty"`
	}
	// ReportAsk and ReportTell fetch a node's last report.
	ReportAsk struct {
		ID   uint64            `cbor:"1,keyasint"`
		Node membership.NodeID `cbor:"2,keyasint"`
	}
	ReportTell struct {
		ID     uint64 `cbor:"1,keyasint"`
		Record []byte `cbor:"2,keyasint,omitempty"` // empty: I have none
		Report []byte `cbor:"3,keyasint,omitempty"`
	}
	// Groups answers Compare when the roots differ: the digests of groups of partitions, as far as both own them.
	Groups struct {
		Placement [32]byte      `cbor:"1,keyasint"`
		Groups    []GroupDigest `cbor:"2,keyasint"`
	}
	// CollectAsk: I know these heads; do you know of others, or newer ones, or have you accepted one? CollectTell answers.
	CollectAsk struct {
		Round  uint64       `cbor:"1,keyasint"`
		Heads  []EnvVersion `cbor:"2,keyasint"`
		Epochs []uint64     `cbor:"3,keyasint"` // of the acceptors of each
	}
	CollectTell struct {
		Round uint64 `cbor:"1,keyasint"`
		Ahead bool   `cbor:"2,keyasint"`
	}
	// KeepAsk: sign that you own these and have them. KeepTell answers with a KeptReceipt for those that are so.
	KeepAsk struct {
		Round     uint64       `cbor:"1,keyasint"`
		Placement [32]byte     `cbor:"2,keyasint"`
		Hashes    []store.Hash `cbor:"3,keyasint"`
	}
	KeepTell struct {
		Receipt membership.Signed `cbor:"1,keyasint"`
	}
	// LogHave says how far the sender has some logs. With Answer unset the receiver says the same of them in return.
	LogHave struct {
		Logs   []LogState `cbor:"1,keyasint"`
		Answer bool       `cbor:"2,keyasint"`
	}
	// LogAsk asks for entries of a log; LogRange brings them, the newest first.
	LogAsk struct {
		ID   uint64            `cbor:"1,keyasint"` // 0: to keep them; else of somebody who asked
		Node membership.NodeID `cbor:"2,keyasint"`
		From uint64            `cbor:"3,keyasint"`
		To   uint64            `cbor:"4,keyasint"`
	}
	LogRange struct {
		ID      uint64            `cbor:"1,keyasint"`
		Node    membership.NodeID `cbor:"2,keyasint"`
		Entries [][]byte          `cbor:"3,keyasint"` // as store.OpenLogEntry reads them
		Fork    *ForkProof        `cbor:"4,keyasint,omitempty"`
	}
	// Placed says by which algorithm the sender places. As an answer to a request it says too that nothing was done: the sender
	// of the request places by another.
	Placed struct {
		Version string `cbor:"1,keyasint"`
	}
	// RunAsk asks for the report that an entry of a log names; RunTell brings it.
	RunAsk struct {
		ID     uint64            `cbor:"1,keyasint"` // as in LogAsk
		Node   membership.NodeID `cbor:"2,keyasint"`
		Report store.Hash        `cbor:"3,keyasint"`
	}
	RunTell struct {
		ID     uint64            `cbor:"1,keyasint"`
		Node   membership.NodeID `cbor:"2,keyasint"`
		Report []byte            `cbor:"3,keyasint,omitempty"` // empty: I have none
	}
	// FreshAsk challenges an acceptor: how far are you? FreshTell answers with a signed Freshness.
	FreshAsk struct {
		Env   string   `cbor:"1,keyasint"`
		Nonce [16]byte `cbor:"2,keyasint"`
	}
	FreshTell struct {
		Word membership.Signed `cbor:"1,keyasint"`
	}
)

// EnvVersion is an environment and the version of its head that somebody knows; 0: its creation alone.
type EnvVersion struct {
	_       struct{} `cbor:",toarray"`
	Env     string
	Version uint64
}

// Object is bytes and the hash that they are said to have.
type Object struct {
	_    struct{} `cbor:",toarray"`
	Hash store.Hash
	Data []byte
}

// PartitionDigest sums up what somebody has of a partition.
type PartitionDigest struct {
	_         struct{} `cbor:",toarray"`
	Partition ring.Partition
	Count     uint32
	Xor       [16]byte // of the first halves of the hashes
}

// GroupDigest sums up what somebody has of the partitions of a group, as far as the other owns them too.
type GroupDigest struct {
	_     struct{} `cbor:",toarray"`
	Group uint8
	Sum   [16]byte // of the digests of its partitions
}

func (*RosterAsk) kind() byte    { return 1 }
func (*RosterHave) kind() byte   { return 2 }
func (*RosterTell) kind() byte   { return 3 }
func (*HeadAsk) kind() byte      { return 4 }
func (*HeadTell) kind() byte     { return 5 }
func (*Prepare) kind() byte      { return 6 }
func (*Promise) kind() byte      { return 7 }
func (*Accept) kind() byte       { return 8 }
func (*Accepted) kind() byte     { return 9 }
func (*Offer) kind() byte        { return 10 }
func (*Have) kind() byte         { return 11 }
func (*Put) kind() byte          { return 12 }
func (*Get) kind() byte          { return 13 }
func (*Lacks) kind() byte        { return 14 }
func (*Compare) kind() byte      { return 15 }
func (*Digests) kind() byte      { return 16 }
func (*Hashes) kind() byte       { return 17 }
func (*LogTell) kind() byte      { return 18 }
func (*LogAck) kind() byte       { return 19 }
func (*StatusAsk) kind() byte    { return 20 }
func (*StatusTell) kind() byte   { return 21 }
func (*ReportAsk) kind() byte    { return 22 }
func (*ReportTell) kind() byte   { return 23 }
func (*StandingAsk) kind() byte  { return 24 }
func (*StandingTell) kind() byte { return 25 }
func (*Accuse) kind() byte       { return 26 }

func (*CollectAsk) kind() byte  { return 30 }
func (*CollectTell) kind() byte { return 31 }
func (*KeepAsk) kind() byte     { return 32 }
func (*KeepTell) kind() byte    { return 33 }
func (*Groups) kind() byte      { return 34 }
func (*FenceAsk) kind() byte    { return 40 }
func (*FenceTell) kind() byte   { return 41 }

func (*LogHave) kind() byte  { return 50 }
func (*LogAsk) kind() byte   { return 51 }
func (*LogRange) kind() byte { return 52 }
func (*RunAsk) kind() byte   { return 53 }
func (*RunTell) kind() byte  { return 54 }
func (*Placed) kind() byte   { return 55 }

func (*FreshAsk) kind() byte  { return 70 }
func (*FreshTell) kind() byte { return 71 }

// blank returns an empty message of each kind, to decode into.
var blank = map[byte]func() Message{
	1: func() Message { return &RosterAsk{} }, 2: func() Message { return &RosterHave{} },
	3: func() Message { return &RosterTell{} }, 4: func() Message { return &HeadAsk{} },
	5: func() Message { return &HeadTell{} }, 6: func() Message { return &Prepare{} },
	7: func() Message { return &Promise{} }, 8: func() Message { return &Accept{} },
	9: func() Message { return &Accepted{} }, 10: func() Message { return &Offer{} },
	11: func() Message { return &Have{} }, 12: func() Message { return &Put{} },
	13: func() Message { return &Get{} }, 14: func() Message { return &Lacks{} },
	15: func() Message { return &Compare{} }, 16: func() Message { return &Digests{} },
	17: func() Message { return &Hashes{} }, 18: func() Message { return &LogTell{} },
	19: func() Message { return &LogAck{} }, 20: func() Message { return &StatusAsk{} },
	21: func() Message { return &StatusTell{} }, 22: func() Message { return &ReportAsk{} },
	23: func() Message { return &ReportTell{} },
	24: func() Message { return &StandingAsk{} }, 25: func() Message { return &StandingTell{} },
	26: func() Message { return &Accuse{} },
	30: func() Message { return &CollectAsk{} }, 31: func() Message { return &CollectTell{} },
	32: func() Message { return &KeepAsk{} }, 33: func() Message { return &KeepTell{} },
	34: func() Message { return &Groups{} },
	40: func() Message { return &FenceAsk{} }, 41: func() Message { return &FenceTell{} },
	50: func() Message { return &LogHave{} }, 51: func() Message { return &LogAsk{} },
	52: func() Message { return &LogRange{} }, 53: func() Message { return &RunAsk{} },
	54: func() Message { return &RunTell{} }, 55: func() Message { return &Placed{} },
	60: func() Message { return &KeyAsk{} }, 61: func() Message { return &KeyTell{} },
	70: func() Message { return &FreshAsk{} }, 71: func() Message { return &FreshTell{} },
}

// Encode makes a frame: the version, the kind, the body.
func Encode(m Message) ([]byte, error) {
	body, err := codec.Marshal(m)
	if err != nil {
		return nil, err
	}
	if len(body)+2 > MaxFrame {
		return nil, fmt.Errorf("%w: %T of %d bytes", ErrFrame, m, len(body))
	}
	return append([]byte{WireVersion, m.kind()}, body...), nil
}

// Decode reads a frame and checks its limits.
func Decode(frame []byte) (Message, error) {
	if len(frame) < 2 || len(frame) > MaxFrame {
		return nil, fmt.Errorf("%w: %d bytes", ErrFrame, len(frame))
	}
	make, known := blank[frame[1]]
	if frame[0] != WireVersion || !known {
		return nil, fmt.Errorf("%w %d of version %d", ErrUnknownKind, frame[1], frame[0])
	}
	m := make()
	if err := codec.Unmarshal(frame[2:], m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("%w: %T: %w", ErrFrame, m, err)
	}
	return m, nil
}
