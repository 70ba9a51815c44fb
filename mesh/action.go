package mesh

import (
	"fmt"

	"shoal/membership"
	"shoal/store"
)

// Action is something that the shell is to do. All Saves of one Step are to be durable before any other of its actions is
// done; when they cannot be, none of the others may be done, and the Core must not be stepped again: it would speak of
// what it has not kept.
type Action interface{ action() }

type (
	// Save keeps a small record under a key; a nil Value deletes it. New is given all of them again.
	Save struct {
		Key   string
		Value []byte
		// Late: it may become durable later than what else the Step says, but in the order of the Saves. Who forgets it at a crash
		// has merely not heard something yet.
		Late bool
	}
	// Send sends a message, or loses it.
	Send struct {
		To      membership.NodeID
		Message Message
		// Early: it may be sent before the Step's Saves are durable. It is a question, and promises nothing.
		Early bool
	}
	// SendObjects reads objects and sends them in Puts of at most MaxFrame; those that are not here are told in a Lacks.
	SendObjects struct {
		To     membership.NodeID
		Hashes []store.Hash
	}
	// SendReport reads a report with ReadReport and sends it in Message.Report. What cannot be read is told with ReportLost.
	SendReport struct {
		To      membership.NodeID
		Node    membership.NodeID
		Report  store.Hash
		Message Message // LogTell, ReportTell or RunTell
	}
	// SendSecretKeys sends a SecretTell with those keys that To may have and that are here.
	SendSecretKeys struct {
		To      membership.NodeID
		ID      uint64
		Env     string
		Secrets []store.Hash
	}
	// StoreObjects makes verified objects durable and answers with Stored.
	StoreObjects struct{ Objects [][]byte }
	// VerifyObjects reads objects and compares them with their hashes; it is answered with Verified.
	VerifyObjects struct{ Hashes []store.Hash }
	// ReachObjects reads what revisions are made of; it is answered with Reached.
	ReachObjects struct {
		Round     uint64
		Revisions []store.Hash // the heads: their newest Keep revisions are read
		Keep      int
		Staged    []store.Hash // revisions alone
		Here      []store.Hash // manifests whose files are needed on this node, whoever owns them
	}
	// DropObjects deletes objects; it is answered with Dropped. Moved: they are needed, and all their owners have signed that
	// they have them; else nothing refers to them.
	DropObjects struct {
		Hashes []store.Hash
		Moved  bool
	}
	// CheckTree asks what is missing of a tree; it is answered with TreeChecked.
	CheckTree struct{ Manifest store.Hash }
	// Converge makes the machine match a revision whose objects are all here.
	Converge struct {
		Head     store.Head
		Manifest store.Hash
		Proof    *Proof // that Head was committed; nil where this node knows a newer one by now
	}
	// Hint tells all members, by gossip, at most membership.MaxHint bytes.
	Hint struct{ Data []byte }
	// UseKeys are the gossip's keys from now on: the first to seal with, all to open with.
	UseKeys struct{ Keys [][]byte }
	// Learn says where a peer can be dialled.
	Learn struct {
		Peer membership.NodeID
		Addr string
	}
	// Drop closes the connections to a peer that is not a member any more.
	Drop struct{ Peer membership.NodeID }
	// Answer ends what was asked under ID. Value is as the event's comment says; nil with Err.
	Answer struct {
		ID    uint64
		Value any
		Err   error
	}
	// AnswerReport answers AskReport with what ReadReport reads.
	AnswerReport struct {
		ID     uint64
		Node   membership.NodeID
		Report store.Hash
	}
	// Note is for the log: something that a person may want to know.
	Note struct {
		What string
		Node membership.NodeID // whom it is about; may be empty
		Env  string
		Err  error
	}
)

func (Save) action()           {}
func (Send) action()           {}
func (SendObjects) action()    {}
func (SendReport) action()     {}
func (SendSecretKeys) action() {}
func (StoreObjects) action()   {}
func (ReachObjects) action()   {}
func (DropObjects) action()    {}
func (VerifyObjects) action()  {}
func (CheckTree) action()      {}
func (Converge) action()       {}
func (Hint) action()           {}
func (UseKeys) action()        {}
func (Learn) action()          {}
func (Drop) action()           {}
func (Answer) action()         {}
func (AnswerReport) action()   {}
func (Note) action()           {}

// String is for people.
func (n Note) String() string {
	s := n.What
	if n.Env != "" {
		s += " env=" + n.Env
	}
	if n.Node != "" {
		s += " node=" + n.Node.Short()
	}
	if n.Err != nil {
		s += fmt.Sprintf(": %v", n.Err)
	}
	return s
}
