package mesh

import (
	"time"

	"shoal/membership"
	"shoal/store"
)

// Event is something that happened to a node. The Core learns of nothing else.
type Event interface{ event() }

type (
	// Start is the first event: the node is up, with what New was given.
	Start struct{}
	// Tick says that time has passed; Step does what is due.
	Tick struct{}
	// Gossiped is what the gossip told: a member changed, or a hint came.
	Gossiped struct{ membership.Event }
	// Received is a message of a peer whose grant was verified by the transport.
	Received struct {
		From    membership.NodeID
		Message Message
	}
	// Stored says that objects are durable here, or why not.
	Stored struct {
		Objects []Kept
		Err     error
	}
	// Lost says that an object's bytes were found missing or damaged.
	Lost struct{ Hash store.Hash }
	// Verified answers VerifyObjects: of those that were asked about, these are missing or damaged.
	Verified struct{ Bad []store.Hash }
	// Reached answers ReachObjects: all that the revisions are made of, and what of that is to stay on this node. Revisions and
	// manifests stay where they were read, so that the next round need not fetch them. Err: something could not be read.
	Reached struct {
		Round      uint64
		Kept, Here []store.Hash
		Err        error
	}
	// Dropped answers DropObjects.
	Dropped struct {
		Hashes []store.Hash
		Err    error
	}
	// TreeChecked answers CheckTree. Missing are the next objects to fetch; when there are none, Objects are all that the
	// tree is made of, its manifest among them. Err: it is not a tree.
	TreeChecked struct {
		Manifest         store.Hash
		Missing, Objects []store.Hash
		Err              error
	}
)

// Kept is an object that is durable here.
type Kept struct {
	Hash store.Hash
	Size int // bytes
}

// What people and the shell ask of a Core. Each is answered by one Answer with its ID.
type (
	// Push asks to make a signed revision, whose objects are stored here or on the ring, the head of its environment.
	// The answer's Value is a Pushed.
	Push struct {
		ID     uint64
		Object []byte // the object of the signed revision
	}
	// Replicate asks to bring objects that are stored here to a quorum of their owners.
	Replicate struct {
		ID     uint64
		Hashes []store.Hash
	}
	// Want asks to fetch objects; they are stored here when the answer comes. For one that nobody has who can be asked it waits a while
	// for those members that should have it, unless it is Hasty.
	Want struct {
		ID     uint64
		Hashes []store.Hash
		Hasty  bool
	}
	// Reported is a finished run of the executor. It has no answer.
	Reported struct {
		Summary Summary
		Report  []byte // encoded, at most MaxReport bytes
	}
	// AskHead asks what the head of an environment is now, of a majority of its acceptors: no push that was committed before is
	// missing. The answer's Value is a store.Head, of version 0 when there is none yet. ErrNoMajority: not now.
	AskHead struct {
		ID  uint64
		Env string
	}
	// AskStatus asks members what they know: all that are alive, or only Some of them, chosen at random. The answer's Value is a
	// Gathered.
	AskStatus struct {
		ID   uint64
		Some int // 0: all
	}
	// AskReport asks for a node's last report, or for the one with a hash. The answer's Value is its bytes.
	AskReport struct {
		ID     uint64
		Node   membership.NodeID
		Report store.Hash // zero: the last
	}
	// AskHistory asks for a part of a node's log. The answer's Value is a History.
	AskHistory struct {
		ID       uint64
		Node     membership.NodeID
		From, To uint64 // numbers of entries; To 0: the newest
	}
	// ReportLost says that a report which was saved cannot be read any more.
	ReportLost struct {
		Node   membership.NodeID
		Report store.Hash
	}
	// RecordsLost says that saved records cannot be read any more.
	RecordsLost struct{ Keys []string }
	// Occurred is something that befell the node, for its log. It has no answer.
	Occurred struct {
		What string
		Err  error
	}
	// Admit asks to take a stranger in by its credential. Vouch is for one that we have dialled: it may have joined long
	// ago, so its ticket's time and uses are not looked at again.
	Admit struct {
		ID         uint64
		Peer       membership.NodeID
		Credential []membership.Signed
		Vouch      bool
	}
	// Submit adds records that an operator signed, such as a revocation, and tells the others.
	Submit struct {
		ID      uint64
		Records []membership.Signed
	}
	// AskSecretKeys asks a peer for the keys of secrets, at most MaxSecretKeys of them. The answer's Value is a [][]byte: one for each, wrapped for
	// this node; an empty one: the peer has none for it.
	AskSecretKeys struct {
		ID      uint64
		Peer    membership.NodeID
		Env     string
		Secrets []store.Hash
	}
	// AskRecovery asks how the head of an environment could go on without its acceptors. The answer's Value is a Standing.
	AskRecovery struct {
		ID  uint64
		Env string
	}
	// Recover begins a new era of an environment: what Standing proposed, signed by the operators.
	Recover struct {
		ID     uint64
		Signed membership.Signed
	}
	// Meet asks a peer that can be reached to let this node in: what has become of both their grants, and the gossip's keys. It is
	// answered when that is known here.
	Meet struct {
		ID   uint64
		Peer membership.NodeID
	}
	// AdoptChain gives a node without a mesh the trust chain whose publishers it is to believe.
	AdoptChain struct {
		ID         uint64
		Statements []membership.Signed
	}
)

func (Start) event()         {}
func (Tick) event()          {}
func (Gossiped) event()      {}
func (Received) event()      {}
func (Stored) event()        {}
func (Lost) event()          {}
func (Reached) event()       {}
func (Dropped) event()       {}
func (Verified) event()      {}
func (TreeChecked) event()   {}
func (Push) event()          {}
func (Replicate) event()     {}
func (Want) event()          {}
func (Reported) event()      {}
func (AskHead) event()       {}
func (AskStatus) event()     {}
func (AskReport) event()     {}
func (AskHistory) event()    {}
func (ReportLost) event()    {}
func (Occurred) event()      {}
func (RecordsLost) event()   {}
func (Admit) event()         {}
func (AdoptChain) event()    {}
func (Submit) event()        {}
func (AskSecretKeys) event() {}
func (AskRecovery) event()   {}
func (Recover) event()       {}
func (Meet) event()          {}

// Pushed is how a push ended.
type Pushed struct {
	Outcome store.Outcome
	Head    store.Head // what is committed; the winner's with Diverged
	Why     string     // a sentence, for staged and diverged
}

// Gathered is what the members told when they were asked for their status.
type Gathered struct {
	Logs     []NodeLog // the newest of each node, sorted by node
	Holdings []Holding // of those that answered, sorted by node
	Forked   []membership.NodeID
}

// History is a part of a node's log: at most its newest 128 entries that were asked for and that somebody has.
type History struct {
	Node         membership.NodeID
	Low, Reports uint64    // the low-water marks that it signed, as far as they are among the entries
	Entries      []NodeLog // in order; numbers may be missing
	Fork         *ForkProof
	ForkAt       uint64 // with Fork: there are two entries of this number
}

// Holding is how much a node keeps.
type Holding struct {
	Node    membership.NodeID
	Objects int
	Bytes   int64
	Behind  int // partitions that differ from those of another owner, as far as the node knows
	Moving  int // objects that the node fetches, or brings to others
	// Placement is the algorithm by which it places, such as "token/2".
	Placement string
	// Stale is for how long nobody has confirmed that the node is up to date; 0: it has not raised the alarm.
	Stale time.Duration
}
