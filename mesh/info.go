package mesh

import (
	"cmp"
	"errors"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/store"
)

// What a node answers to the people who ask it. These are the shapes of the command line's JSON (LANGUAGE.md, section 2);
// mesh/node fills them in, mesh/api carries them, and neither has to know the other.

// ErrUnknownNode is returned for a name that no member has.
var ErrUnknownNode = errors.New("no member has this name")

// MemberInfo is one line of `shoal members`.
type MemberInfo struct {
	Name   string            `json:"name"`
	ID     membership.NodeID `json:"id"`
	Addr   string            `json:"addr"`
	Status membership.Status `json:"status"`
	Tags   map[string]string `json:"tags"`
	Zone   string            `json:"zone"`
	// Expires is when its grant ends; nil: never.
	Expires *time.Time `json:"expires,omitempty"`
}

// RingInfo is `shoal ring`: the placement and what each node holds of it.
type RingInfo struct {
	Placement  string     `json:"placement"` // algorithm and version, such as "token/2"
	Partitions int        `json:"partitions"`
	Replicas   int        `json:"replicas"`
	Nodes      []RingNode `json:"nodes"`
	// UnderReplicated partitions have fewer owners that are here than copies are wanted.
	UnderReplicated int `json:"under_replicated"`
}

// RingNode is one owner on the ring.
type RingNode struct {
	Name    string            `json:"name"`
	ID      membership.NodeID `json:"id"`
	Zone    string            `json:"zone"`
	Primary int               `json:"primary"` // partitions of which it is the first owner
	Owned   int               `json:"owned"`   // partitions of which it is one of the owners
	Objects int               `json:"objects"` // held on its disk; -1 when it did not answer
	Bytes   int64             `json:"bytes"`   // of those objects; -1 when it did not answer
	Behind  int               `json:"behind"`  // partitions that differ from another owner's, when they were last compared
	Moving  int               `json:"moving"`  // objects that it fetches, or brings to others
	// Placement is by what it places; empty when it did not answer. One that differs from RingInfo's is no owner to this node.
	Placement string `json:"placement"`
}

// EnvHead is what an environment is at.
type EnvHead struct {
	Version  uint64     `json:"version"`
	Revision store.Hash `json:"revision"`
}

// NodeStatus is one line of `shoal status`: the newest that the node said of itself.
type NodeStatus struct {
	Name     string     `json:"name"`
	Env      string     `json:"env"`
	Version  uint64     `json:"version"`
	Revision store.Hash `json:"revision"`
	Result   string     `json:"result"` // as executor.Result; empty before the first run
	Changed  int        `json:"changed"`
	Drift    int        `json:"drift"` // managed things that differed and were put back since the last revision
	Error    string     `json:"error,omitempty"`
	Seen     time.Time  `json:"seen"`
	// Forked: the node has written its log twice. Its disk went back in time, or two machines have its key.
	Forked bool `json:"forked,omitempty"`
	// Convicted: as an acceptor the node has signed two statements that cannot both be true, and everybody can see them.
	Convicted bool `json:"convicted,omitempty"`
	// StaleSeconds is for how long no majority of the acceptors has confirmed that the node is up to date, once that is worth an alarm.
	StaleSeconds int64 `json:"stale_seconds,omitempty"`
	// Placement is set when the node places by another algorithm than the one that answers.
	Placement string `json:"placement,omitempty"`
}

// HistoryInfo is `shoal report --history`: what a node's log has of its runs and of what befell it.
type HistoryInfo struct {
	Node    string      `json:"node"`
	Low     uint64      `json:"low"`     // entries before this number are not kept
	Reports uint64      `json:"reports"` // reports of entries before this number are not kept
	Entries []EntryInfo `json:"entries"` // newest last
	// Fork is proved by two entries that the node's key signed: it is the number that was written twice.
	Fork uint64 `json:"fork,omitempty"`
}

// EntryInfo is one entry of a node's log. Those that are not about a run have only What and Error.
type EntryInfo struct {
	Seq      uint64     `json:"seq"`
	Time     time.Time  `json:"time"`
	Kind     string     `json:"kind"` // report, event, mark, fork
	Env      string     `json:"env,omitempty"`
	Version  uint64     `json:"version,omitempty"`
	Revision store.Hash `json:"revision,omitzero"`
	Result   string     `json:"result,omitempty"`
	Changed  int        `json:"changed,omitempty"`
	Drift    int        `json:"drift,omitempty"`
	What     string     `json:"what,omitempty"`
	Error    string     `json:"error,omitempty"`
}

// HistoryOf shows a part of a node's log.
func HistoryOf(name string, h History) HistoryInfo {
	info := HistoryInfo{Node: name, Low: max(h.Low, 1), Reports: max(h.Reports, 1), Entries: []EntryInfo{}, Fork: h.ForkAt}
	for _, l := range h.Entries {
		e := EntryInfo{
			Seq: l.Seq, Time: l.Time, Kind: l.Kind, Env: l.Env, Version: l.Version, Revision: l.Revision, Result: l.Result,
			Changed: l.Changed, Drift: l.Drift, What: l.Event.What, Error: cmp.Or(l.Error, l.Event.Error),
		}
		info.Entries = append(info.Entries, e)
	}
	return info
}

// StatusInfo is `shoal status`.
type StatusInfo struct {
	Envs  map[string]EnvHead `json:"envs"`
	Nodes []NodeStatus       `json:"nodes"`
	// Overdrawn are the tickets that more machines have redeemed than they have uses.
	Overdrawn []OverdrawnTicket `json:"overdrawn,omitempty"`
}

// OverdrawnTicket says who is out for it, and who is in.
type OverdrawnTicket struct {
	Ticket string            `json:"ticket"`
	Uses   int               `json:"uses"`
	Out    string            `json:"out"`
	OutID  membership.NodeID `json:"out_id"`
	In     []string          `json:"in"`
}

// Overdrawn is for StatusInfo.
func Overdrawn(tickets []membership.Overdrawn) (out []OverdrawnTicket) {
	for _, t := range tickets {
		o := OverdrawnTicket{Ticket: t.Ticket, Uses: t.Uses, Out: t.Out.Name, OutID: t.Out.ID}
		for _, m := range t.In {
			o.In = append(o.In, m.Name)
		}
		out = append(out, o)
	}
	return out
}

// StandingInfo is `shoal trust recover-head`: what is left of an environment's acceptors, and how it could go on.
type StandingInfo struct {
	Env       string         `json:"env"`
	Era       uint64         `json:"era"` // that would begin
	Version   uint64         `json:"version"`
	Revision  store.Hash     `json:"revision"`
	Accepted  bool           `json:"accepted"` // by an acceptor, and not certified
	HeldBy    int            `json:"held_by"`
	Answered  int            `json:"answered"`
	Deciding  bool           `json:"deciding"` // a majority of the acceptors is here
	Acceptors []AcceptorInfo `json:"acceptors"`
	Chosen    []string       `json:"chosen"` // the new ones
	Body      []byte         `json:"body"`   // the store.Recovery, encoded, to be signed
}

// AcceptorInfo is one of those that decide an environment's head.
type AcceptorInfo struct {
	Name   string            `json:"name"`
	ID     membership.NodeID `json:"id"`
	Status membership.Status `json:"status"`
	Votes  bool              `json:"votes"` // it answered, from the disk that has the seat
}

// Recovery decodes Body.
func (s StandingInfo) Recovery() (r store.Recovery, err error) {
	return r, codec.Unmarshal(s.Body, &r)
}

// RevisionInfo is one line of `shoal log`.
type RevisionInfo struct {
	Env      string     `json:"env"`
	Version  uint64     `json:"version"`
	Revision store.Hash `json:"revision"`
	Parent   store.Hash `json:"parent"`
	Author   string     `json:"author"`
	Message  string     `json:"message"`
	Kind     store.Kind `json:"kind"`
	Time     time.Time  `json:"time"`
	Manifest store.Hash `json:"manifest"`
}

// InfoOf shows a revision.
func InfoOf(hash store.Hash, r store.Revision) RevisionInfo {
	return RevisionInfo{
		Env: r.Env, Version: r.Version, Revision: hash, Parent: r.Parent, Author: r.Author, Message: r.Message, Kind: r.Kind,
		Time: time.Unix(r.Time, 0).UTC(), Manifest: r.Manifest,
	}
}

// PushResult is the answer to a push.
type PushResult struct {
	Env      string        `json:"env"`
	Version  uint64        `json:"version"`
	Revision store.Hash    `json:"revision"`
	Status   store.Outcome `json:"status"`
	// Head is what is committed now, where the push lost against it.
	Head *EnvHead `json:"head,omitempty"`
	// Why in a sentence, for staged and diverged.
	Why string `json:"why,omitempty"`
}
