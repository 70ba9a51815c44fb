package simulation

// Mutants are all bugs that can be planted. Each was a plausible line of code.
func Mutants() []Mutant {
	return []Mutant{
		{"forget-promise", "an acceptor does not write down what it promised", []Edit{
			{"mesh/acceptor.go", "if promise.Refused == \"\" {\n\t\tc.registers.acceptors[m.Register] = kept\n\t\tc.save(keyAcceptor+m.Register, kept)",
				"if promise.Refused == \"\" {\n\t\tc.registers.acceptors[m.Register] = kept"}}},
		{"forget-vote", "an acceptor does not write down what it accepted", []Edit{
			{"mesh/acceptor.go", "c.registers.acceptors[m.Register] = kept\n\t\t\tc.save(keyAcceptor+m.Register, kept)\n\t\t\tif len(held",
				"c.registers.acceptors[m.Register] = kept\n\t\t\tif len(held"}}},
		{"lower-ballot", "an acceptor accepts a ballot below the one that it promised", []Edit{
			{"store/register.go", "m.Ballot.Compare(a.Promised) < 0 || a.leaps(m.Ballot)", "a.leaps(m.Ballot)"}}},
		{"ignore-accepted", "a proposer goes on from the first value that it is told, not from the newest", []Edit{
			{"store/register_proposer.go", "m.Accepted.Compare(p.accepted) > 0 {", "p.accepted.IsZero() {"}}},
		{"small-majority", "two of five are taken for a majority", []Edit{
			{"store/ballot.go", "return n/2 + 1", "return max(1, (n+1)/2-(n+1)%2-n/5)"}}},
		{"quorum-from-gossip", "a majority of those acceptors who are alive is enough", []Edit{
			{"mesh/push.go", "Register: store.HeadRegister(env), Epoch: created.epoch(), Members: created.members(created.epoch()),",
				"Register: store.HeadRegister(env), Epoch: created.epoch(), Members: within(created.members(created.epoch()), append(c.alivePeers(), c.self)),"},
			{"store/register.go", "if len(voters) < Majority(len(members)) {", "if len(voters) < 1 {"}}},
		{"lease-not-kept", "an acceptor does not keep the promise that it gave along with its vote", []Edit{
			{"store/register.go", "a.Promised, answer.Promised = m.Then, m.Then", "answer.Promised = m.Then"}}},
		{"read-here", "a read of a head is answered from what the node knows", []Edit{
			{"mesh/read.go", "c.reads.waiting[ev.Env] = append(c.reads.waiting[ev.Env], ev.ID)\n",
				"c.emit(Answer{ID: ev.ID, Value: c.heads.current[ev.Env].head()})\n"}}},
		{"seat-by-name", "a node whose disk was wiped keeps its place among the acceptors", []Edit{
			{"store/register_config.go", "if !slices.Contains(next, self) || self.Disk == 0 {",
				"if !slices.Contains(NodesOf(next), self.Node) || self.Disk == 0 {"},
			{"mesh/configuration.go", "!installed && (!slices.Contains(created.seats(), self) ||",
				"!installed && (!slices.Contains(store.NodesOf(created.seats()), c.self) ||"},
			{"mesh/configuration.go", "if epoch == 0 {\n\t\tif !slices.Contains(created.seats(), self) {",
				"if epoch == 0 {\n\t\tif !slices.Contains(store.NodesOf(created.seats()), c.self) {"}}},
		{"skip-fence", "an acceptor votes at once after a start, whatever its disk may have forgotten", []Edit{
			{"mesh/fence.go", "c.fence.first || now.Lineage", "c.fence.first || true || now.Lineage"}}},
		{"lineage-ignored", "an acceptor asks once for each epoch, and not again when its disk may have gone back", []Edit{
			{"mesh/fence.go", "now.Lineage != 0 && c.fence.asked[register] == now", "c.fence.asked[register].Disk == now.Disk && c.fence.asked[register].Epoch == now.Epoch"}}},
		{"ack-before-sync", "objects are acknowledged when they came, not when they are on the disk", []Edit{
			{"mesh/objects.go", "c.objects.pending += len(o.Data)\n\t\t\tkeep = append(keep, o.Data)",
				"c.objects.pending += len(o.Data)\n\t\t\tkeep, have = append(keep, o.Data), append(have, o.Hash)"}}},
		{"sync-ignored", "an error of the disk while saving is not looked at", []Edit{
			{"mesh/shelldisk.go", "if err := kv.Write(ctx, all[from:to]); err != nil {", "if err := kv.Write(ctx, all[from:to]); err != nil && false {"}}},
		{"one-copy", "one copy of an object is enough for a push", []Edit{
			{"mesh/objects.go", "return store.Majority(owners)", "return min(1, owners)"}}},
		{"shrunken-ring", "who is alone for long counts its own copy as enough (seed 31011 found it)", []Edit{
			{"mesh/objects.go", "if members > 2 {", "if members > 2 && false {"}}},
		{"lost-disk-seated", "a node that missed the news gives a seat back to the disk that lost it (seed 723 found it)", []Edit{
			{"mesh/configuration.go", "had(r.seats()) && slices.Contains(store.NodesOf(r.seats()), s.Node)", "had(r.seats()) && false"}}},
		{"unsigned-head", "a revision is taken whoever signed it", []Edit{
			{"store/revision.go", "for _, key := range keys {\n\t\tif who.Publishes(key, r.Env) {", "for range keys {\n\t\tif true {"}}},
		{"unverified-repair", "an object is taken for what its sender says that it is", []Edit{
			{"mesh/objects.go", "if store.HashOf(o.Data) != o.Hash {", "if false {"}}},
		{"go-back", "an older head is taken for news", []Edit{
			{"mesh/heads.go", "return nil // old news", "h.value.Version += 0 // taken"},
			{"mesh/heads.go", "return h.value.Version > a.Version ||", "return h.value.Version != a.Version ||"}}},
		{"staged-in-memory", "what is staged is not written down", []Edit{
			{"mesh/push.go", "c.save(keyStaged+p.hash.String(), stagedPush{Object: p.object, Electorate: p.electorate})", ""}}},
		{"apply-early", "a revision is applied before all of it is here", []Edit{
			{"mesh/heads.go", "case len(ev.Missing) > 0:\n\t\tp.want.cancel()", "case len(ev.Missing) > 3:\n\t\tp.want.cancel()"}}},
		{"forget-history", "a push that is repeated after the next one is told that it diverged", []Edit{
			{"mesh/push.go", "case h.value.Includes(p.hash):", "case h.value.Hash() == p.hash:"}}},
		{"never-out", "a member that is never seen keeps its place for ever (seed 30 found it)", []Edit{
			{"mesh/placement.go", "case membership.Failed, \"\":", "case membership.Failed:"}}},
		{"drop-needed", "collection does not see what came to be needed while it read (seed 460 found it)", []Edit{
			{"mesh/collect.go", "if slices.Equal(r.trees, c.treesHere()) {", "if true {"}}},
		{"drop-early", "a copy that moved is deleted when one of its new owners has it", []Edit{
			{"mesh/collect.go", "if c.signedByAll(h, signed) && ", "if "}}},
		{"collect-history", "collection keeps the newest revision alone", []Edit{
			{"mesh/collect.go", "ask := ReachObjects{Round: r.id, Keep: c.cfg.Keep}", "ask := ReachObjects{Round: r.id, Keep: 1}"}}},
		{"collect-alone", "collection asks nobody whether there is a newer head", []Edit{
			{"mesh/collect.go", "if !c.answers(r, c.people.ids) {\n\t\treturn\n\t}\n\tfor env := range c.heads.creations {", "for env := range map[string]bool{} {"}}},
		{"readable-is-kept", "an object that a failed sync left readable is acknowledged (seed 56 found it)", []Edit{
			{"store/objects.go", "if err := o.brokenBy(nil); err != nil {\n\t\treturn err\n\t}", ""}}},
		{"collect-staged", "collection does not know what is staged", []Edit{
			{"mesh/collect.go", "ask.Staged = sortedHashes(c.pushes.open)", ""},
			{"mesh/collect.go", "trees = append(trees, c.pushes.open[h].revision.Manifest)", "_ = h"}}},
		{"new-nodes-decide", "new nodes that have met only each other say that there is no parent (seed 101 found it)", []Edit{
			{"mesh/create.go", "case len(electorate) == 1:", "case true:"}}},
		{"skip-seal", "a push goes on in an epoch that was sealed", []Edit{
			{"store/register_proposer.go", "case len(p.next) > 0: // sealed", "case len(p.next) > 0 && p.Change == nil: // sealed"},
			{"store/register_proposer.go", "if p.value = p.Change(p.current); p.value == nil {", "p.next = nil\n\t\tif p.value = p.Change(p.current); p.value == nil {"}}},
		{"reuse-ballot", "a proposer that restarts uses its ballots again, and acceptors promise one twice", []Edit{
			{"store/register_proposer.go", "Proposer: self, Run: run}", "Proposer: self, Run: 1}"},
			{"store/register.go", "m.Ballot.Compare(a.Promised) <= 0 || a.leaps(m.Ballot)", "m.Ballot.Compare(a.Promised) < 0 || a.leaps(m.Ballot)"}}},
	}
}
