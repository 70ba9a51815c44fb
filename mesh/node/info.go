package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"shoal/executor"
	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/ring"
	"shoal/store"
)

// maxLog bounds how far back Log looks.
const maxLog = 1000

// gather asks all members that are alive what they know.
func (n *Node) gather(ctx context.Context) (mesh.Gathered, error) {
	return n.gatherFrom(ctx, 0)
}

// gatherFrom asks some of them; 0 stands for all.
func (n *Node) gatherFrom(ctx context.Context, some int) (mesh.Gathered, error) {
	v, err := n.call(ctx, func(id uint64) mesh.Event { return mesh.AskStatus{ID: id, Some: some} })
	if err != nil {
		return mesh.Gathered{}, err
	}
	return v.(mesh.Gathered), nil
}

// Status is what each member last said of itself, and the heads.
func (n *Node) Status(ctx context.Context) (mesh.StatusInfo, error) {
	g, err := n.gather(ctx)
	if err != nil {
		return mesh.StatusInfo{}, err
	}
	shown := n.shown.Load()
	info := mesh.StatusInfo{Envs: map[string]mesh.EnvHead{}, Nodes: []mesh.NodeStatus{}}
	info.Overdrawn = mesh.Overdrawn(shown.roster.Overdrawn(time.Now()))
	for env, h := range shown.heads {
		info.Envs[env] = mesh.EnvHead{Version: h.Version, Revision: h.Revision}
	}
	said := map[membership.NodeID]mesh.NodeLog{}
	for _, l := range g.Logs {
		said[l.Node] = l
	}
	placed, stale := map[membership.NodeID]string{}, map[membership.NodeID]time.Duration{}
	for _, h := range g.Holdings {
		stale[h.Node] = h.Stale
		if h.Placement != shown.ring.Version() {
			placed[h.Node] = h.Placement
		}
	}
	for _, m := range shown.members {
		l := said[m.ID]
		info.Nodes = append(info.Nodes, mesh.NodeStatus{
			Name: m.Name, Env: l.Env, Version: l.Version, Revision: l.Revision, Result: l.Result, Changed: l.Changed,
			Drift: l.Drift, Error: l.Error, Seen: l.Time,
		})
		last := &info.Nodes[len(info.Nodes)-1]
		last.Convicted = slices.Contains(shown.convicted, m.ID)
		last.Placement, last.StaleSeconds = placed[m.ID], int64(stale[m.ID]/time.Second)
		last.Forked = slices.Contains(g.Forked, m.ID)
	}
	return info, nil
}

// Ring is who owns what, and how much each holds.
func (n *Node) Ring(ctx context.Context) (mesh.RingInfo, error) {
	g, err := n.gather(ctx)
	if err != nil {
		return mesh.RingInfo{}, err
	}
	shown := n.shown.Load()
	replicas := n.cfg.Replicas
	if replicas == 0 {
		replicas = mesh.DefaultReplicas
	}
	info := mesh.RingInfo{
		Placement: shown.ring.Version(), Partitions: ring.Partitions, Replicas: replicas, Nodes: []mesh.RingNode{},
	}
	at := map[membership.NodeID]int{}
	for _, node := range shown.ring.Nodes() {
		at[node.ID] = len(info.Nodes)
		m, _ := shown.roster.Lookup(node.ID, time.Now())
		info.Nodes = append(info.Nodes, mesh.RingNode{Name: m.Name, ID: node.ID, Zone: node.Zone, Objects: -1, Bytes: -1})
	}
	here := map[membership.NodeID]bool{}
	for _, m := range shown.members {
		here[m.ID] = m.Status == membership.Alive || m.Status == membership.Suspect
	}
	for p := range ring.Partition(ring.Partitions) {
		copies := 0
		for _, id := range shown.ring.Owners(p, replicas) {
			if here[id] {
				copies++
			}
		}
		if copies < min(replicas, len(info.Nodes)) {
			info.UnderReplicated++
		}
		for i, id := range shown.ring.Owners(p, replicas) {
			info.Nodes[at[id]].Owned++
			if i == 0 {
				info.Nodes[at[id]].Primary++
			}
		}
	}
	for _, h := range g.Holdings {
		if i, ok := at[h.Node]; ok {
			info.Nodes[i].Objects, info.Nodes[i].Bytes = h.Objects, h.Bytes
			info.Nodes[i].Behind, info.Nodes[i].Moving = h.Behind, h.Moving
			info.Nodes[i].Placement = h.Placement
		}
	}
	return info, nil
}

// Standing is what is left of an environment's acceptors, and how it could go on without them.
func (n *Node) Standing(ctx context.Context, env string) (mesh.StandingInfo, error) {
	v, err := n.call(ctx, func(id uint64) mesh.Event { return mesh.AskRecovery{ID: id, Env: env} })
	if err != nil {
		return mesh.StandingInfo{}, err
	}
	s := v.(mesh.Standing)
	members := map[membership.NodeID]mesh.MemberInfo{}
	for _, m := range n.shown.Load().members {
		members[m.ID] = m
	}
	name := func(id membership.NodeID) string { return cmp.Or(members[id].Name, id.Short()) }
	info := mesh.StandingInfo{
		Env: env, Era: s.Recovery.Era, Version: s.Head.Version, Revision: s.Head.Revision, Accepted: s.Accepted,
		HeldBy: s.HeldBy, Answered: s.Answered, Deciding: len(s.Voting) >= store.Majority(len(s.Acceptors)),
	}
	for _, seat := range s.Acceptors {
		info.Acceptors = append(info.Acceptors, mesh.AcceptorInfo{
			Name: name(seat.Node), ID: seat.Node, Status: cmp.Or(members[seat.Node].Status, membership.Left),
			Votes: slices.Contains(s.Voting, seat.Node),
		})
	}
	for _, seat := range s.Recovery.Seats {
		info.Chosen = append(info.Chosen, name(seat.Node))
	}
	info.Body, err = codec.Marshal(s.Recovery)
	return info, err
}

// Staged are the revisions that were pushed at this node and wait for a majority.
func (n *Node) Staged() []mesh.RevisionInfo {
	return append([]mesh.RevisionInfo(nil), n.shown.Load().staged...)
}

// Log is the history of an environment, newest last, as far back as revisions are kept.
func (n *Node) Log(ctx context.Context, env string) ([]mesh.RevisionInfo, error) {
	head, ok := n.shown.Load().heads[env]
	if !ok {
		return nil, fmt.Errorf("log of %s: %w", env, store.ErrNotFound)
	}
	var out []mesh.RevisionInfo
	for hash := head.Revision; !hash.IsZero() && len(out) < maxLog; {
		kept := len(out) < cmp.Or(n.cfg.Keep, mesh.DefaultKeep)
		object, err := n.obtain(ctx, hash, !kept)
		if !kept && (errors.Is(err, store.ErrNotFound) || errors.Is(err, mesh.ErrUnreached)) {
			break // collected
		}
		if err != nil {
			return nil, fmt.Errorf("log of %s: %w", env, err)
		}
		r, err := revisionOf(object)
		if err != nil {
			return nil, fmt.Errorf("log of %s: %w", env, err)
		}
		out = append(out, mesh.InfoOf(hash, r))
		hash = r.Parent
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out, nil
}

// named finds a member; an empty name is this node.
func (n *Node) named(name string) (membership.Member, error) {
	if name == "" {
		own, _ := n.Self()
		own.ID = n.self
		return own, nil
	}
	m, ok := n.shown.Load().roster.Named(name, time.Now())
	if !ok {
		return m, fmt.Errorf("%s: %w", name, mesh.ErrUnknownNode)
	}
	return m, nil
}

// History is a part of a node's log, from the node itself and from the owners of its log: at most the newest 128 entries of
// those numbered up to the given one; 0: of all.
func (n *Node) History(ctx context.Context, name string, to uint64) (mesh.HistoryInfo, error) {
	m, err := n.named(name)
	if err != nil {
		return mesh.HistoryInfo{}, fmt.Errorf("log of %w", err)
	}
	h, err := n.history(ctx, m.ID, 1, to)
	if err != nil {
		return mesh.HistoryInfo{}, fmt.Errorf("log of %s: %w", name, err)
	}
	return mesh.HistoryOf(m.Name, h), nil
}

func (n *Node) history(ctx context.Context, id membership.NodeID, from, to uint64) (mesh.History, error) {
	v, err := n.call(ctx, func(ask uint64) mesh.Event { return mesh.AskHistory{ID: ask, Node: id, From: from, To: to} })
	if err != nil {
		return mesh.History{}, err
	}
	return v.(mesh.History), nil
}

// Report is a node's last run; an empty name is this node. It comes from the node itself or, when that is gone, from the
// owners of its log.
func (n *Node) Report(ctx context.Context, name string) (executor.Report, error) {
	return n.EarlierReport(ctx, name, 0)
}

// EarlierReport is the run that an entry of a node's log is about; 0: the last run.
func (n *Node) EarlierReport(ctx context.Context, name string, entry uint64) (executor.Report, error) {
	var report executor.Report
	m, err := n.named(name)
	if err != nil {
		return report, fmt.Errorf("report of %w", err)
	}
	var hash store.Hash
	if entry > 0 {
		h, err := n.history(ctx, m.ID, entry, entry)
		if err != nil {
			return report, fmt.Errorf("report of %s: %w", name, err)
		}
		if len(h.Entries) == 0 || h.Entries[0].Report.IsZero() {
			return report, fmt.Errorf("report of %s: entry %d: %w", name, entry, mesh.ErrNoReport)
		}
		hash = h.Entries[0].Report
	}
	v, err := n.call(ctx, func(ask uint64) mesh.Event { return mesh.AskReport{ID: ask, Node: m.ID, Report: hash} })
	if err != nil {
		return report, fmt.Errorf("report of %s: %w", name, err)
	}
	data, _ := v.([]byte)
	if report, err = decodeReport(data); err != nil {
		return report, fmt.Errorf("report of %s: %w", name, err)
	}
	return report, nil
}

// decodeReport reads what another node said of itself.
func decodeReport(data []byte) (report executor.Report, err error) {
	return report, codec.Unmarshal(data, &report)
}
