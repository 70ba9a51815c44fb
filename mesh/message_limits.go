package mesh

import (
	"errors"
	"fmt"

	"shoal/membership"
	"shoal/ring"
	"shoal/store"
)

func atMost(what string, n, most int) error {
	if n > most {
		return fmt.Errorf("%d %s, more than %d", n, what, most)
	}
	return nil
}

func checkRegister(name string) error {
	return atMost("bytes of a register's name", len(name), store.MaxRegisterName)
}

func checkBallot(b store.Ballot) error {
	return atMost("bytes of a proposer's id", len(b.Proposer), 64)
}

func checkIDs(ids []membership.NodeID) error {
	for _, id := range ids {
		if len(id) > 64 {
			return fmt.Errorf("a node id of %d bytes", len(id))
		}
	}
	return atMost("nodes", len(ids), store.MaxAcceptors)
}

func (m *RosterAsk) check() error { return nil }

func (m *RosterHave) check() error {
	for _, id := range m.IDs {
		if len(id) != recordIDSize {
			return fmt.Errorf("a record id of %d bytes", len(id))
		}
	}
	return atMost("records", len(m.IDs), membership.MaxRoster+membership.MaxStatements)
}

func (m *RosterTell) check() error { return atMost("records", len(m.Records), maxRecords) }

func (m *HeadAsk) check() error {
	for _, h := range m.Heads {
		if err := store.CheckEnv(h.Env); err != nil {
			return err
		}
	}
	if len(m.Epochs) > 0 && len(m.Epochs) != len(m.Heads) {
		return fmt.Errorf("%d epochs of %d heads", len(m.Epochs), len(m.Heads))
	}
	if len(m.Marks) > 0 && len(m.Marks) != len(m.Heads) {
		return fmt.Errorf("%d marks of %d heads", len(m.Marks), len(m.Heads))
	}
	return atMost("environments", len(m.Heads), maxEnvs)
}

func (m *HeadTell) check() error {
	if m.Creation != nil {
		if err := errors.Join(checkIDs(m.Creation.Electorate), checkOrder(m.Creation.Order), store.CheckEnv(m.Creation.Env)); err != nil {
			return err
		}
	}
	if m.Head != nil {
		if err := store.CheckEnv(m.Head.Env); err != nil {
			return err
		}
	}
	if m.Recovery != nil {
		if err := atMost("bytes of a recovery", len(m.Recovery.Body), maxRecovery); err != nil {
			return err
		}
	}
	return atMost("seals", len(m.Seals), sealsTold)
}

func (m *Accuse) check() error {
	return atMost("bytes of evidence", len(m.Evidence.A.Body)+len(m.Evidence.B.Body), 4<<10)
}

func (m *StandingAsk) check() error { return store.CheckEnv(m.Env) }

func (m *StandingTell) check() error {
	return errors.Join(checkBallot(m.Ballot), atMost("bytes of a value", len(m.Accepted), store.MaxRegisterValue))
}

func (m *Prepare) check() error {
	return errors.Join(checkRegister(m.Register), checkBallot(m.Ballot), checkIDs(m.Members), checkOrder(m.Order))
}

func checkOrder(order []byte) error {
	return atMost("bytes of an order", len(order), store.MaxRegisterValue)
}

func (m *Promise) check() error {
	return errors.Join(checkRegister(m.Register), checkBallot(m.Ballot), checkBallot(m.Promised), checkBallot(m.Accepted), checkOrder(m.Order),
		checkIDs(m.Members), checkSeats(m.Next), atMost("starts", len(m.Starts), store.MaxAcceptors), atMost("bytes of a value", len(m.Value), store.MaxRegisterValue))
}

func (m *Accept) then() store.Ballot {
	if m.Then == nil {
		return store.Ballot{}
	}
	return *m.Then
}

func (m *Accept) check() error {
	return errors.Join(checkRegister(m.Register), checkBallot(m.Ballot), checkBallot(m.then()), checkSeats(m.Next),
		atMost("bytes of a value", len(m.Value), store.MaxRegisterValue))
}

func (m *Accepted) check() error {
	return errors.Join(checkRegister(m.Register), checkBallot(m.Ballot), checkBallot(m.Promised),
		atMost("starts", len(m.Starts), store.MaxAcceptors))
}

func checkSeats(seats []store.Seat) error {
	return errors.Join(checkIDs(store.NodesOf(seats)), atMost("seats", len(seats), store.MaxSeats))
}

func (m *FenceAsk) check() error { return checkRegister(m.Register) }

func (m *FenceTell) check() error {
	if m.Acceptor == nil {
		return checkRegister(m.Register)
	}
	a := m.Acceptor
	return errors.Join(checkRegister(m.Register), checkRegister(a.Register), checkIDs(a.Members), checkBallot(a.Promised),
		checkBallot(a.Accepted), checkSeats(a.Next), atMost("bytes of a value", len(a.Value), store.MaxRegisterValue))
}

func (m *Offer) check() error {
	return errors.Join(checkPlaced(m.Placed), atMost("hashes", len(m.Hashes), maxHashes))
}
func (m *Have) check() error  { return atMost("hashes", len(m.Have)+len(m.Lacks), maxHashes) }
func (m *Get) check() error   { return atMost("hashes", len(m.Hashes), maxGet) }
func (m *Lacks) check() error { return atMost("hashes", len(m.Hashes), maxHashes) }

func (m *Put) check() error {
	for _, o := range m.Objects {
		if len(o.Data) > store.MaxObject {
			return fmt.Errorf("an object of %d bytes", len(o.Data))
		}
	}
	return atMost("objects", len(m.Objects), maxHashes)
}

func (m *FreshAsk) check() error { return store.CheckEnv(m.Env) }
func (m *FreshTell) check() error {
	return atMost("bytes of an answer", len(m.Word.Body), 1<<10)
}

func (m *Compare) check() error { return checkPlaced(m.Placed) }
func (m *Placed) check() error  { return checkPlaced(m.Version) }

func checkPlaced(version string) error { return atMost("bytes of a placement", len(version), 64) }

func (m *Digests) check() error {
	for _, p := range m.Partitions {
		if p.Partition >= ring.Partitions {
			return fmt.Errorf("partition %d", p.Partition)
		}
	}
	return errors.Join(atMost("partitions", len(m.Partitions), ring.Partitions), checkGroups(m.Groups))
}

func checkGroups(groups []uint8) error {
	for _, g := range groups {
		if g >= repairGroups {
			return fmt.Errorf("group %d", g)
		}
	}
	return atMost("groups", len(groups), repairGroups)
}

func (m *Groups) check() error {
	for _, g := range m.Groups {
		if g.Group >= repairGroups {
			return fmt.Errorf("group %d", g.Group)
		}
	}
	return atMost("groups", len(m.Groups), repairGroups)
}

func (m *Hashes) check() error {
	for _, p := range m.Partitions {
		if p >= ring.Partitions {
			return fmt.Errorf("partition %d", p)
		}
	}
	return errors.Join(atMost("hashes", len(m.Hashes), 2*maxHashes), atMost("partitions", len(m.Partitions), maxDiffer))
}

func (m *LogTell) check() error {
	return errors.Join(atMost("bytes of a record", len(m.Record), maxLogRecord), atMost("bytes of a report", len(m.Report), MaxReport))
}

func (m *LogAck) check() error    { return checkIDs([]membership.NodeID{m.Node}) }
func (m *StatusAsk) check() error { return nil }
func (m *StatusTell) check() error {
	for _, r := range m.Records {
		if len(r) > maxLogRecord {
			return fmt.Errorf("a record of %d bytes", len(r))
		}
	}
	for _, p := range m.Forks {
		if err := p.checkSize(); err != nil {
			return err
		}
	}
	return errors.Join(checkPlaced(m.Placed), atMost("records", len(m.Records), maxRecords), atMost("forks", len(m.Forks), maxForks))
}

func (p ForkProof) checkSize() error {
	return errors.Join(atMost("bytes of a record", len(p.A), maxLogRecord), atMost("bytes of a record", len(p.B), maxLogRecord))
}

func (m *LogHave) check() error {
	for _, s := range m.Logs {
		if err := checkIDs([]membership.NodeID{s.Node}); err != nil {
			return err
		}
	}
	return atMost("logs", len(m.Logs), maxLogStates)
}

func (m *LogAsk) check() error { return checkIDs([]membership.NodeID{m.Node}) }

func (m *LogRange) check() error {
	for _, r := range m.Entries {
		if len(r) > maxLogRecord {
			return fmt.Errorf("an entry of %d bytes", len(r))
		}
	}
	if m.Fork != nil {
		if err := m.Fork.checkSize(); err != nil {
			return err
		}
	}
	return errors.Join(checkIDs([]membership.NodeID{m.Node}), atMost("entries", len(m.Entries), maxLogRange))
}

func (m *RunAsk) check() error { return checkIDs([]membership.NodeID{m.Node}) }

func (m *RunTell) check() error {
	return errors.Join(checkIDs([]membership.NodeID{m.Node}), atMost("bytes of a report", len(m.Report), MaxReport))
}

func (m *ReportAsk) check() error { return checkIDs([]membership.NodeID{m.Node}) }
func (m *ReportTell) check() error {
	return errors.Join(atMost("bytes of a record", len(m.Record), maxLogRecord), atMost("bytes of a report", len(m.Report), MaxReport))
}

func (m *CollectAsk) check() error {
	if len(m.Epochs) != len(m.Heads) {
		return fmt.Errorf("%d epochs of %d heads", len(m.Epochs), len(m.Heads))
	}
	return (&HeadAsk{Heads: m.Heads}).check()
}
func (m *CollectTell) check() error { return nil }
func (m *KeepAsk) check() error     { return atMost("hashes", len(m.Hashes), maxHashes) }
func (m *KeepTell) check() error {
	return atMost("bytes of a receipt", len(m.Receipt.Body), 40*maxHashes)
}
