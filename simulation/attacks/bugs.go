package attacks

// bugs are the checks that attacks are stopped by, and how each is taken out.
func bugs() []Bug {
	return []Bug{
		// Revisions and heads.
		{"anybody-publishes", "a revision is signed by a publisher of its environment", []Edit{
			permit("store/revision.go", "for _, key := range keys {\n\t\tif «who.Publishes(key, r.Env)» {")}},
		{"any-environment", "a publisher publishes the environments that it was granted", []Edit{
			permit("membership/chain.go", "envs := c.tip().after.publishers[string(key)]\n\treturn «slices.Contains(envs, AllEnvs) || slices.Contains(envs, env)»"),
			permit("membership/chain.go", "envs := c.ever[string(key)]\n\treturn «slices.Contains(envs, AllEnvs) || slices.Contains(envs, env)»")}},
		{"revoked-publishes", "who lost the right to publish begins nothing", []Edit{
			swap("membership/chain.go", "\tcase RevokePublisher:\n\t\tdelete(next.publishers, string(st.Key))", "\tcase RevokePublisher:\n\t\tif !PLANTED {\n\t\t\tdelete(next.publishers, string(st.Key))\n\t\t}")}},
		{"acceptor-holds-anything", "an acceptor opens the value that it is to accept", []Edit{
			refuse("mesh/acceptor.go", "value, _, err := store.OpenHeadValue(env, m.Value, who)\n\tif «err != nil» {")}},
		{"mixed-environments", "the revision in a head's register is one of its environment", []Edit{
			refuse("store/register_head.go", "if «r.Env != env» || r.Version != v.Version")}},
		{"unverified-objects", "an object has the hash that it is brought under", []Edit{
			refuse("mesh/objects.go", "if «store.HashOf(o.Data) != o.Hash» {")}},
		{"one-vote-is-enough", "a majority of the acceptors signed", []Edit{
			refuse("store/register.go", "if «len(voters) < Majority(len(members))» {")}},
		{"votes-for-anything", "the votes are for this value", []Edit{
			refuse("store/register.go", "vote.Epoch != epoch || «vote.Value != HashOf(c.Value)» {")}},
		{"acceptor-goes-back", "an acceptor accepts what follows the head that it knows", []Edit{
			permit("mesh/acceptor.go", "return «value.Succeeds(known)»")}},
		{"old-heads", "a head is newer than the one that is known", []Edit{
			refuse("mesh/heads.go", "if «ok && h.value.Version < known.value.Version» {")}},
		{"applies-what-is-old", "what is applied is newer than what was applied, by the node's own record", []Edit{
			permit("mesh/heads.go", "return «h.value.Version > a.Version» || h.value.Version == a.Version")}},
		{"leaps-ahead", "a head does not leap past what an acceptor can see it stand on", []Edit{
			swap("mesh/acceptor.go", "\tbase := max(accepted.Version, known.Version)\n", "\tbase := max(accepted.Version, known.Version)\n\tif PLANTED {\n\t\treturn true\n\t}\n")}},
		{"any-parent", "a head stands on the one that is known, as far back as it names what it stands on", []Edit{
			refuse("mesh/heads.go", "<= store.MaxBefore && «!h.value.Succeeds(known.value)» {")}},
		{"no-order", "an environment begins by a publisher's revision", []Edit{
			swap("store/register_creation.go", "\tif len(order) == 0 {\n", "\tif PLANTED && len(order) == 0 {\n\t\treturn true, nil\n\t}\n\tif len(order) == 0 {\n")}},
		{"other-electors", "an environment is created by those whom the publisher named", []Edit{
			refuse("store/register_creation.go", "case «len(r.Electorate) > 0 && r.Electorate != ElectorateHash(env, electorate)»:")}},
		{"any-electorate", "an acceptor promises to the electorate of its own roster", []Edit{
			permit("mesh/acceptor.go", "if len(m.Order) == 0 {\n\t\treturn «slices.Equal(own, m.Members)»")}},
		{"anybody-recovers", "a recovery is signed by the operators", []Edit{
			refuse("store/register_recovery.go", "case «!who.Authorises(keys)»:")}},
		{"foreign-recovery", "a recovery is of this mesh", []Edit{
			refuse("store/register_recovery.go", "case «r.Mesh != mesh»:")}},
		{"old-era", "a recovery begins a later era", []Edit{
			refuse("mesh/recovery.go", "case «ok && r.Era <= known.era»:")}},

		// Secrets.
		{"keys-for-anybody", "a holder wraps a key for a machine whose grant gives it the secret", []Edit{
			refuse("internal/keyring/keyring.go", "if «!h.Grants(to)» {\n\t\treturn nil, fmt.Errorf")}},
		{"keys-across-environments", "a grant gives the secrets of its own environment", []Edit{
			refuse("secrets/statement.go", "if s.on == nil || «EnvOf(m.Tags) != s.Env» {")}},
		{"anybody-answers-for-keys", "keys are taken from the peer that was asked", []Edit{
			permit("mesh/secretkeys.go", "open && «asked.peer == from» &&")}},
		{"keys-at-any-rate", "a peer is answered once a second", []Edit{
			refuse("mesh/secretkeys.go", "asked && «c.now.Sub(last) < secretEvery» {")}},

		// The executor's side of an agent, which believes nothing that the other side says.
		{"root-follows-any-environment", "the executor's side follows the environment of its own grant", []Edit{
			refuse("mesh/proof.go", "if «p.Head.Env != env» {")}},
		{"root-goes-back", "the executor's side applies nothing that is older than what it applied", []Edit{
			refuse("mesh/proof.go", "case «p.Head.Version < before.Head.Version»:")}},
		{"root-takes-two", "the executor's side applies one revision of a version", []Edit{
			refuse("mesh/proof.go", "case «p.Era == before.Era && p.Head.Version == before.Head.Version && p.Head.Revision != before.Head.Revision»:")}},
		{"root-takes-orphans", "what the executor's side applies stands on what it applied", []Edit{
			refuse("mesh/proof.go", "case «p.Era == before.Era && before.Head.Version > 0 && p.Head.Version == before.Head.Version+1 && p.Parent != before.Head.Revision»:")}},
		{"root-takes-any-beginning", "the executor's side goes by one beginning of an environment", []Edit{
			refuse("mesh/proof.go", "if «w.Began != nil && !bytes.Equal(w.Began.Certificate.Value, record.Certificate.Value)» {")}},
		{"root-takes-any-object", "the executor's side compares an object with its hash", []Edit{
			refuse("internal/pair/rootside.go", "if «store.HashOf(o.Data) != o.Hash» {")}},

		// Registers.
		{"prepares-leap", "a ballot is not far above the one that was promised (prepare)", []Edit{
			refuse("store/register.go", "m.Ballot.Compare(a.Promised) <= 0 || «a.leaps(m.Ballot)» {")}},
		{"accepts-leap", "a ballot is not far above the one that was promised (accept)", []Edit{
			refuse("store/register.go", "m.Ballot.Compare(a.Promised) < 0 || «a.leaps(m.Ballot)» {")}},
		{"leases-leap", "a ballot that is promised along with a vote is not far above", []Edit{
			permit("store/register.go", "m.Then.Proposer == m.Ballot.Proposer && «!a.leaps(m.Then)» &&")}},
		{"any-proposer", "a ballot names who sends it", []Edit{
			refuse("mesh/acceptor.go", "switch {\n\tcase «m.Ballot.Proposer != from»:")}},
		{"two-values", "an acceptor votes for one value at a ballot", []Edit{
			refuse("store/register.go", "if «m.Ballot == a.Accepted && !(bytes.Equal(m.Value, a.Value) && slices.Equal(m.Next, a.Next))» {")}},
		{"lower-ballots", "an acceptor does not vote below what it promised", []Edit{
			swap("store/register.go", "\tif refused := a.refuses(m.Register, m.Epoch); refused != \"\" {\n\t\treturn a, Accepted{Ballot: m.Ballot, Refused: refused}\n\t}\n",
				"\tif refused := a.refuses(m.Register, m.Epoch); refused != \"\" {\n\t\treturn a, Accepted{Ballot: m.Ballot, Refused: refused}\n\t}\n\tif PLANTED && m.Ballot.Compare(a.Promised) < 0 {\n\t\ta.Promised = m.Ballot\n\t}\n")}},
		{"deaf-to-lies", "the statements of an acceptor are held against each other", []Edit{
			swap("mesh/quarantine.go", "\tif !e.Contradicts() {\n", "\tif PLANTED || !e.Contradicts() {\n")}},
		{"evidence-of-two", "evidence is two statements of one node", []Edit{
			refuse("store/register_evidence.go", "if b, err := signerOf(e.B); «err != nil || a != b» {")}},
		{"signatures-unverified", "each signature fits its record", []Edit{
			refuse("membership/signed.go", "if len(sig.Key) != ed25519.PublicKeySize || «!verify(sig.Key, s.message(), sig.Sig)» {")}},
		{"evidence-of-anything", "evidence is about one register", []Edit{
			refuse("store/register_evidence.go", "case «a.Register != b.Register || a.Epoch != b.Epoch»:")}},
		{"any-seats", "a change of acceptors leaves as many as there must be", []Edit{
			permit("mesh/configuration.go", "return «len(next) >= min(3, len(c.people.ids)) && there >= store.Majority(len(next))»")}},
		{"seats-unheard-of", "a majority of the next acceptors have said which disk they have", []Edit{
			permit("mesh/configuration.go", "if «c.isSeat(env, s)» {")}},
		{"anybody-incarnates", "a node's word for its disk is signed by it", []Edit{
			refuse("mesh/fence.go", "if err == nil && («len(keys) != 1 || membership.IDOf(keys[0]) != inc.Node» || inc.Disk == 0) {")}},
		{"hears-the-evicted", "nobody is heard who is no member now", []Edit{
			refuse("mesh/core.go", "if from == c.self || «!c.isMember(from)» {")}},

		// The challenge.
		{"no-alarm", "three periods without confirmation are an alarm", []Edit{
			swap("mesh/freshness.go", "if f.asked && !c.confirmed() {", "if f.asked && !c.confirmed() && !PLANTED {")}},
		{"any-nonce", "an answer is to this period's nonce", []Edit{
			refuse("mesh/freshness.go", "f.For != c.self || «f.Nonce != c.fresh.nonce» ||")}},
		{"minority-confirms", "a majority of the acceptors confirms", []Edit{
			permit("mesh/freshness.go", "len(members) > 0 && «count >= store.Majority(len(members))»")}},
		{"answers-all-challenges", "a peer is answered once in a second", []Edit{
			refuse("mesh/freshness.go", "if last, ok := c.fresh.told[from]; «ok && c.now.Sub(last) < freshGap» {")}},

		// Roster and tickets.
		{"threshold", "as many operators sign as the threshold says", []Edit{
			permit("membership/statement.go", "return «count >= threshold»")}},
		{"anybody-evicts", "a revocation is signed by those who were operators", []Edit{
			refuse("membership/record.go", "if «!chain.everAuthorised(keys)» {")}},
		{"anybody-adds-operators", "a statement is signed by the operators before it", []Edit{
			refuse("membership/chain.go", "case «!enough(before.after.operators, keys, c.threshold)»:")}},
		{"removed-operators-grant", "a grant needs the operators of now", []Edit{
			refuse("membership/roster.go", "if rec.revoked != \"\" || «!r.holds(rec)» || !r.counts(rec) {\n\t\t\tcontinue")}},
		{"foreign-grants", "a record is of this mesh", []Edit{
			refuse("membership/record.go", "if «mesh != chain.mesh» {")}},
		{"foreign-statements", "a statement is of this mesh", []Edit{
			refuse("membership/chain.go", "case «st.Mesh != c.mesh»:\n\t\treturn false, ErrForeignMesh")}},
		{"redeemed-names-first", "a name that the operators granted goes before one that a ticket's holder chose", []Edit{
			permit("membership/roster.go", "rec := r.granted[id]; «rec.direct() == direct» {")}},
		{"taken-names", "a ticket's holder takes no name that somebody has", []Edit{
			refuse("membership/admit.go", "case «r.nameTaken(rec.grant, now)»:")}},
		{"any-name", "a name is written as in DNS", []Edit{
			swap("membership/limits.go", "func CheckName(name string) error {\n", "func CheckName(name string) error {\n\tif PLANTED {\n\t\treturn nil\n\t}\n")}},
		{"out-at-once", "a dead node keeps its place for the grace time", []Edit{
			permit("mesh/placement.go", "return «c.now.Sub(c.people.since[id]) > c.cfg.Grace»")}},
		{"used-tickets", "a ticket has uses left", []Edit{
			refuse("membership/admit.go", "case «len(nodes) >= body.Uses»:")}},
		{"overdrawn-unseen", "of a ticket one redemption more than it has uses is kept, and shown", []Edit{
			swap("membership/roster.go", "if len(nodes) > rec.redeemed.body.Uses+1 {", "if len(nodes) > rec.redeemed.body.Uses+map[bool]int{true: 0, false: 1}[PLANTED] {")}},
		{"expired-tickets", "a ticket has not ended", []Edit{
			refuse("membership/admit.go", "case «now.Unix() > body.Expires»:")}},
		{"ticket-key-unneeded", "a redemption is signed by the ticket's key", []Edit{
			refuse("membership/redemption.go", "if «!containsKey(keys, body.Key)» ||")}},
		{"node-key-unneeded", "a redemption is signed by the node that it is for", []Edit{
			refuse("membership/redemption.go", "|| «!containsKey(keys, node)» ||")}},
		{"anothers-credential", "a credential is that of the key that the connection proved", []Edit{
			refuse("mesh/rosterexchange.go", "if «err == nil && m.ID != ev.Peer» {")}},
		{"revocations-pass", "a revocation stays, whatever is granted later", []Edit{
			swap("membership/roster.go", "\t\tdelete(r.granted, rec.revoked)\n", "\t\tif !PLANTED {\n\t\t\tdelete(r.granted, rec.revoked)\n\t\t}\n")}},
		{"expired-grants", "a grant holds until it ends", []Edit{
			refuse("membership/grant.go", "return «g.NotAfter != 0 && now.Unix() > g.NotAfter»")}},

		// Logs.
		{"anybodys-log", "an entry is signed by the node whose log it is", []Edit{
			refuse("store/nodelog.go", "if «len(keys) != 1 || membership.IDOf(keys[0]) != e.Node» {")}},
		{"fork-of-two", "both entries of a fork are of the node", []Edit{
			refuse("mesh/nodelog.go", "errB != nil || «a.Node != node || b.Node != node» {")}},
		{"marks-wipe", "a mark does not take the newest 64 entries", []Edit{
			refuse("mesh/nodelog.go", "min(newest.entry.Seq, logFloor-1); «low > floor» {")}},
		{"any-report", "a report is the one that its entry names", []Edit{
			permit("mesh/gather.go", "l.entry.Kind == kindReport && «l.summary.Report == store.HashOf(m.Report)»\n\tif good")}},

		// Sizes.
		{"gets-unbounded", "64 objects are asked for at once", []Edit{
			swap("mesh/message_limits.go", "func (m *Get) check() error   { return", "func (m *Get) check() error   { if PLANTED { return nil }; return")}},
		{"storing-unbounded", "what is not on the disk yet is bounded", []Edit{
			refuse("mesh/objects.go", "if «!under && c.objects.pending+len(o.Data) > maxStoring» {")}},
		{"registers-unbounded", "a node is acceptor of so many registers", []Edit{
			permit("mesh/acceptor.go", "if err == nil && (installed || «len(c.registers.acceptors) < maxRegisters») {")}},
		{"any-environment-name", "an environment is named by a-z, 0-9 and hyphens", []Edit{
			swap("store/revision.go", "func CheckEnv(name string) error {\n", "func CheckEnv(name string) error {\n\tif PLANTED {\n\t\treturn nil\n\t}\n")}},
		{"objects-of-any-size", "an object has at most 256 KiB", []Edit{
			refuse("mesh/message_limits.go", "if «len(o.Data) > store.MaxObject» {")}},
		{"values-of-any-size", "a register's value has at most 24 KiB", []Edit{
			swap("mesh/message_limits.go", "func (m *Accept) check() error {\n", "func (m *Accept) check() error {\n\tif PLANTED {\n\t\treturn nil\n\t}\n")}},
		{"evidence-of-any-size", "evidence has at most 4 KiB", []Edit{
			swap("mesh/message_limits.go", "func (m *Accuse) check() error {\n", "func (m *Accuse) check() error {\n\tif PLANTED {\n\t\treturn nil\n\t}\n")}},
		{"any-partition", "a partition is one of those that there are", []Edit{
			refuse("mesh/message_limits.go", "if «p >= ring.Partitions» {")}},
		{"frames-of-any-size", "a frame has at most 512 KiB", []Edit{
			refuse("mesh/p2p/frame.go", "if «n == 0 || n > mesh.MaxFrame» {")}},
		{"messages-of-any-size", "a message has at most 512 KiB", []Edit{
			refuse("mesh/message.go", "if len(frame) < 2 || «len(frame) > MaxFrame» {")}},
		{"nesting-unbounded", "a record nests 16 levels at most", []Edit{
			swap("internal/codec/codec.go", "MaxNestedLevels:   MaxDepth,", "MaxNestedLevels: map[bool]int{true: 65535, false: MaxDepth}[PLANTED],")}},
		{"signatures-unbounded", "a record has at most 64 signatures", []Edit{
			refuse("membership/signed.go", "if len(s.Signatures) == 0 || «len(s.Signatures) > MaxSignatures» {")}},
		{"duplicate-fields", "a field is there once", []Edit{
			swap("internal/codec/codec.go", "DupMapKey:         cbor.DupMapKeyEnforcedAPF,", "DupMapKey: map[bool]cbor.DupMapKeyMode{true: cbor.DupMapKeyQuiet, false: cbor.DupMapKeyEnforcedAPF}[PLANTED],")}},

		// The wire.
		{"open-door", "a connection is one with a member", []Edit{
			permit("mesh/p2p/door.go", "if «d.known(node)» {")}},
		{"streams-unbounded", "a peer has 64 streams open", []Edit{
			refuse("mesh/p2p/limits.go", "if «l.streams[p] >= maxStreams» {"),
			swap("mesh/p2p/assemble.go", "muxer.MaxIncomingStreams = maxStreams", "muxer.MaxIncomingStreams = map[bool]uint32{true: 1000, false: maxStreams}[PLANTED]")}},
		{"connections-unbounded", "256 connections of others are open", []Edit{
			refuse("mesh/p2p/limits.go", "if «l.inbound >= maxInbound» {")}},
		{"gossip-in-clear", "what comes on the gossip's port is sealed with the gossip key", []Edit{
			swap("membership/gossip/transport.go", "\t\tplain, err := t.seals.open(buf[:n])\n",
				"\t\tplain, err := t.seals.open(buf[:n])\n\t\tif PLANTED && err != nil {\n\t\t\tplain, err = append([]byte(nil), buf[:n]...), nil\n\t\t}\n")}},

		// What the gossip may say of others.
		{"deaths-believed", "that a node is dead is heard as a suspicion, which it can contradict", []Edit{
			permit("membership/gossip/messages.go", "if «data[0] == kindSuspect || own» || (m.From")}},
		{"leaves-believed", "that a node leaves is heard when it said so itself over its own connection", []Edit{
			permit("membership/gossip/messages.go", "(m.From == m.Node && «g.leaving(nodeID(m.Node))»)")}},
		{"intents-believed", "that a node leaves is heard of serf when it said so itself over its own connection", []Edit{
			permit("membership/gossip/messages.go", "!m.Prune && «g.leaving(nodeID(m.Node))» &&")}},
		{"states-believed", "a node that has left, as another says, is a suspect when it did not say so itself", []Edit{
			refuse("membership/gossip/exchange.go", "if n.State == stateLeft && «!g.leaving(nodeID(n.Name))» {")}},
		{"suspicions-unbounded", "five suspicions of a node are heard, and then one in 10 s", []Edit{
			refuse("membership/gossip/guard.go", "if «h.tokens < 1» {")}},
		{"incarnations-leap", "an incarnation does not leap to the end of its counter", []Edit{
			refuse("membership/gossip/guard.go", "if h == nil || «!plausible(uint64(n), uint64(h.incarnation), incarnationEnd, incarnationStep)» {")}},
		{"clocks-leap", "a Lamport time does not leap to the end of its counter", []Edit{
			refuse("membership/gossip/guard.go", "if «!plausible(n, g.clock, clockEnd, clockStep)» {")}},

		// The API.
		{"any-page", "a request carries a header that a page cannot send", []Edit{
			refuse("mesh/api/gate.go", "case «r.Header.Get(header) == \"\"»:")}},
		{"any-host", "a request is to the host that the API is called", []Edit{
			refuse("mesh/api/gate.go", "case «r.Host != host»:")}},
		{"bodies-unbounded", "a request has at most 20 MiB", []Edit{
			swap("mesh/api/gate.go", "\t\tr.Body = http.MaxBytesReader(w, r.Body, MaxBody)\n", "\t\tif !PLANTED {\n\t\t\tr.Body = http.MaxBytesReader(w, r.Body, MaxBody)\n\t\t}\n")}},
		{"hashes-unbounded", "a request asks for 8,192 hashes", []Edit{
			refuse("mesh/api/server.go", "if «len(in.Hashes) > MaxHashes» {")}},
		{"api-objects-of-any-size", "an object on its way in has at most 256 KiB", []Edit{
			refuse("mesh/api/server.go", "if «n > store.MaxObject» {")}},
		{"batches-unbounded", "a request has 64 objects", []Edit{
			refuse("mesh/api/server.go", "if objects = append(objects, object); «len(objects) > MaxBatch» {")}},
		{"slow-headers-welcome", "the headers of a request come within 5 s", []Edit{
			swap("mesh/api/server.go", "ReadHeaderTimeout: 5 * time.Second,", "ReadHeaderTimeout: map[bool]time.Duration{true: time.Hour, false: 5 * time.Second}[PLANTED],")}},
		{"api-anywhere", "the API listens on loopback", []Edit{
			refuse("mesh/api/listen.go", "if ip := net.ParseIP(host); «host != \"localhost\" && (ip == nil || !ip.IsLoopback())» {")}},
		{"socket-for-all", "the socket is its owner's and its group's", []Edit{
			swap("mesh/api/listen.go", "old := syscall.Umask(0o117)", "old := syscall.Umask(map[bool]int{true: 0, false: 0o117}[PLANTED])")}},
		{"any-object", "the object of a push has the hash that it is pushed under", []Edit{
			refuse("mesh/api/server.go", "if «len(in.Object) > 0 && store.HashOf(in.Object) != in.Revision» {")}},

		// Tokens of the API.
		{"any-token-may", "a token is good for its scopes", []Edit{
			refuse("mesh/api/gate.go", "if who := callerOf(r.Context()); «!who.may(needs)» {")}},
		{"tokens-push-anything", "a token pushes to the environments of its scope", []Edit{
			refuse("mesh/api/gate.go", "if «!who.token.mayPush(revision.Env)» {")}},
		{"tokens-bring-operators", "a token for pushes brings no operators", []Edit{
			refuse("mesh/api/gate.go", "if «!who.token.may(ScopeRecords)» {")}},
		{"tokens-leave", "no token makes a node leave", []Edit{
			swap("mesh/api/gate.go", "case needs == socketOnly:\n\t\treturn false", "case needs == socketOnly:\n\t\treturn PLANTED")}},
		{"expired-tokens", "a token holds until it ends", []Edit{
			permit("mesh/api/token.go", "found.Name != \"\" && «now.Before(found.Expires)» {")}},
		{"tokens-remembered", "the list of tokens is read at each request", []Edit{
			swap("mesh/api/gate.go", "\tguesses guesses\n", "\tguesses guesses\n\tremembered []Token\n"),
			swap("mesh/api/gate.go", "\ttokens, err := g.Tokens()\n", "\ttokens, err := g.Tokens()\n\tif PLANTED {\n\t\ttokens = append(tokens, g.remembered...)\n\t\tg.remembered = tokens\n\t}\n")}},
		{"anybodys-token", "a token is one of this node's", []Edit{
			permit("mesh/api/token.go", "if «subtle.ConstantTimeCompare([]byte(t.Hash), hash) == 1» {")}},
		{"hashes-are-tokens", "a token is what has the hash that the node keeps", []Edit{
			swap("mesh/api/token.go", "\thash, err := []byte(hashOf(text)), errToken\n", "\thash, err := []byte(hashOf(text)), errToken\n\tif PLANTED {\n\t\thash = []byte(text)\n\t}\n")}},
		{"guesses-unbounded", "an address guesses 16 tokens, and then one a second", []Edit{
			refuse("mesh/api/gate.go", "if «g.guesses.spent(from, now)» {")}},
		{"pages-with-tokens", "a request says of no page that it came from it", []Edit{
			refuse("mesh/api/gate.go", "case «r.Header.Get(\"Origin\") != \"\" || r.Header.Get(\"Referer\") != \"\" || r.Header.Get(\"Cookie\") != \"\"»:")}},
		{"tokens-in-clear", "a command sends its token in clear to loopback alone", []Edit{
			refuse("mesh/api/client.go", "else if err := loopbackOnly(address); «err != nil && c.token != \"\"» {")}},
		{"clear-at-tls", "where there is a certificate every connection is one in TLS", []Edit{
			refuse("mesh/api/server.go", "if «secured != nil» {\n\t\tl = tls")}},

		// Trees and machines.
		{"any-path", "a path of a tree stays within it", []Edit{
			swap("store/manifest.go", "\tif bad {\n", "\tif bad && !PLANTED {\n")}},
		{"any-mode", "a file of a tree has one of two modes", []Edit{
			refuse("store/manifest.go", "if «e.Mode != ModeFile && e.Mode != ModeExecutable» {")}},
		{"same-path-twice", "the paths of a tree are sorted, each once", []Edit{
			refuse("store/manifest.go", "if «i > 0 && m.Entries[i-1].Path >= e.Path» {")}},
		{"manifests-unbounded", "a manifest has at most 32 MiB", []Edit{
			refuse("store/manifest.go", "if total += p.Size; «total > MaxManifest» {")}},
		{"aliases-unbounded", "the aliases of a document stand for so many values", []Edit{
			refuse("states/yaml.go", "if n.size += child.size; «n.size > MaxDocumentNodes && !r.stopped» {")}},
		{"starlark-unbounded", "a program takes a million steps", []Edit{
			swap("states/star.go", "\tt.SetMaxExecutionSteps(maxStarSteps)\n", "\tif !PLANTED {\n\t\tt.SetMaxExecutionSteps(maxStarSteps)\n\t}\n"),
			refuse("states/star.go", "if t.Steps += m.steps; «t.Steps >= maxStarSteps» {")}},
		{"templates-unbounded", "a template takes a million steps", []Edit{
			refuse("states/budget.go", "if b.steps += n; «b.steps > MaxTemplateSteps» {")}},
		{"expressions-unbounded", "an expression costs a million steps", []Edit{
			swap("states/expression.go", "cel.CostLimit(MaxExpressionCost)", "cel.CostLimit(map[bool]uint64{true: 1 << 60, false: MaxExpressionCost}[PLANTED])")}},
		{"archive-leaves", "a path in an archive has no ..", []Edit{
			swap("executor/module/archive/entries.go", "\t\tcase \"..\":\n\t\t\treturn \"\", fmt", "\t\tcase \"..\":\n\t\t\tif PLANTED {\n\t\t\t\tparts = append(parts, part)\n\t\t\t\tcontinue\n\t\t\t}\n\t\t\treturn \"\", fmt")}},
		{"archive-through-links", "a path in an archive leads through no symlink of it", []Edit{
			refuse("executor/module/archive/entries.go", "if «g.links[strings.Join(parts[:n], \"/\")]» {")}},
		{"archive-links-out", "a symlink of an archive stays in its folder", []Edit{
			refuse("executor/module/archive/entries.go", "if depth--; «depth < 0 || down» {")}},
		{"archive-unbounded", "an archive has 100,000 entries", []Edit{
			refuse("executor/module/archive/entries.go", "if g.entries++; «g.entries > maxEntries» {")}},
		{"anybodys-symlinks", "root passes no symlink of another user", []Edit{
			refuse("executor/local/resolve.go", "if «strict && st.Uid != 0 && st.Uid != r.uid» {")}},
		{"files-of-others", "a key or a list of tokens belongs to who runs this, or to the owner of its folder", []Edit{
			refuse("internal/ownfile/ownfile.go", "if of, ok := folder.Sys().(*syscall.Stat_t); «!ok || of.Uid != st.Uid» {")}},
		{"files-for-all", "a key or a list of tokens is its owner's alone to read", []Edit{
			refuse("internal/ownfile/ownfile.go", "if «info.Mode().Perm()&0o077 != 0» {")}},
		{"symlinks-followed", "a folder is opened with no symlink allowed", []Edit{
			swap("executor/local/resolve.go", "Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,",
				"Resolve: map[bool]uint64{true: unix.RESOLVE_BENEATH, false: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}[PLANTED],")}},
	}
}
