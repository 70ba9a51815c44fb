package attacks

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shoal/internal/codec"
	"shoal/internal/fleet"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/api"
	"shoal/mesh/meshtest"
	"shoal/secrets"
	"shoal/secrets/agebox"
	"shoal/store"
)

// What a member does to a real agent with its own transport, and a stranger with a ticket that it found.
func processMemberAttacks() []attack {
	return []attack{
		{"process-replays-the-old-head", "replay", Member, "tells a real agent of version 1 with its certificate, after version 2", "old-heads", processReplay},
		{"process-proposes-unsigned", "push", Member, "has a real agent accept what no publisher signed", "acceptor-holds-anything", processPropose},
		{"process-ballot-bomb", "bomb", Member, "has a real agent promise the highest ballot that there is", "prepares-leap", processBallots},
		{"process-foreign-secret", "foreign secret", Member, "asks a real agent for the key of a secret that its own tags do not give it", "keys-for-anybody", processSecret},
		{"process-forged-death", "suspicion", Member, "says with the gossip key that another real agent is dead", "deaths-believed", processDeath},
		{"process-frame-of-a-gigabyte", "oversize", Member, "announces a frame of 1 GiB to a real agent", "frames-of-any-size", processFrame},
		{"process-path-traversal", "path traversal", Member, "with a stolen key of a publisher pushes a tree with a file ../../escaped to a real agent", "any-path", processTraversal},
		{"process-used-ticket", "ticket", Stranger, "joins a real agent with a ticket whose use is spent, and a key whose id comes first", "used-tickets", processUsedTicket},
		{"process-expired-ticket", "ticket", Stranger, "joins a real agent with a ticket that has ended", "expired-tickets", processExpiredTicket},
		{"process-stolen-credential", "certificate", Stranger, "shows a real agent the credential of a member in its own certificate", "anothers-credential", processCredential},
		{"process-symlink-of-a-user", "symlink", Stranger, "puts a symlink to /etc where the agent, as root, is to write", "anybodys-symlinks", processSymlink},
	}
}

func operatorOf(t *testing.T, f *fleet.Fleet) ed25519.PrivateKey {
	t.Helper()
	return must(fleet.OperatorKey(filepath.Join(f.Home, "operator.key")))(t)
}

// hand brings objects to a real agent, of which the last is a revision that it is to push.
func hand(t *testing.T, f *fleet.Fleet, n1 *fleet.Node, objects [][]byte) error {
	t.Helper()
	client := api.NewClient(filepath.Join(f.Dir, n1.Socket()))
	defer client.Close()
	if err := client.Put(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
	object := objects[len(objects)-1]
	result, err := client.Push(t.Context(), api.PushRequest{Revision: store.HashOf(object), Object: object})
	if err == nil && result.Status != store.Committed {
		err = fmt.Errorf("the push ends with %q: %s", result.Status, result.Why)
	}
	return err
}

// publishes pushes a version as the operator, which comes before the attack.
func publishes(t *testing.T, f *fleet.Fleet, n1 *fleet.Node, version uint64, parent store.Hash, files map[string]string) store.Hash {
	t.Helper()
	object, objects := meshtest.SignRevision(operatorOf(t, f), store.Revision{Env: production, Version: version, Parent: parent, Kind: store.KindPush}, files)
	if err := hand(t, f, n1, objects); err != nil {
		t.Fatal(err)
	}
	return store.HashOf(object)
}

func writing(path, content string) map[string]string {
	return map[string]string{
		"site.yaml":                   "targets:\n  - on: \"*\"\n    components: [motd]\n",
		"components/motd/states.yaml": "states:\n  motd:\n    file.managed: {path: " + path + ", content: \"" + content + "\"}\n",
	}
}

func holds(t *testing.T, n *fleet.Node, path, want string) {
	t.Helper()
	if within(patience, func() string {
		if data, _ := os.ReadFile(n.Path(path)); string(data) == want {
			return "there"
		}
		return ""
	}) == "" {
		log, _ := os.ReadFile(n.Log())
		t.Fatalf("%s does not come to hold %q\n%s", path, want, log)
	}
}

// head is the record of production's head, as the agent tells it.
func (g *guest) head(t *testing.T, version uint64) *store.HeadRecord {
	t.Helper()
	told := answer(t, g, &mesh.HeadAsk{Heads: []mesh.EnvVersion{{Env: production}}}, func(m *mesh.HeadTell) bool {
		var v store.HeadValue
		return m.Head != nil && codec.Unmarshal(m.Head.Certificate.Value, &v) == nil && v.Version == version
	})
	if told == nil {
		return nil
	}
	return (*told).Head
}

func processReplay(t *testing.T) string {
	f, n1 := fleetOf(t)
	one := publishes(t, f, n1, 1, store.Hash{}, writing("/etc/motd", "one"))
	holds(t, n1, "etc/motd", "one")
	g := newGuest(t, f, n1, "mallory", "role=web")
	old := g.head(t, 1)
	if old == nil {
		t.Fatal("the agent tells of no head")
	}
	// A guest keeps no copies, so a push waits for it; another one has what this one learnt.
	run(t, f, "evict", "mallory", "--node", n1.Socket())
	publishes(t, f, n1, 2, one, writing("/etc/motd", "two"))
	holds(t, n1, "etc/motd", "two")
	g = newGuest(t, f, n1, "friend", "role=web")
	if g.head(t, 2) == nil {
		t.Fatal("the agent tells of no second head")
	}
	g.says(t, &mesh.HeadTell{Head: old})
	if g.head(t, 1) != nil {
		return "the agent takes version 1 for the newest"
	}
	return ""
}

// prepare asks for the promise of a ballot for production's head, of which the agent is the only acceptor.
func (g *guest) prepare(number uint64) *mesh.Prepare {
	return &mesh.Prepare{Register: store.HeadRegister(production), Epoch: g.epoch, Ballot: store.Ballot{Number: number, Proposer: idOf(g.key), Run: 1}}
}

// seat is an agent that decides production alone, and a guest that knows in which epoch.
func seat(t *testing.T) (g *guest, one store.Hash) {
	t.Helper()
	f, n1 := fleetOf(t)
	one = publishes(t, f, n1, 1, store.Hash{}, writing("/etc/motd", "one"))
	holds(t, n1, "etc/motd", "one")
	g = newGuest(t, f, n1, "mallory", "role=web")
	head := g.head(t, 1)
	if head == nil {
		t.Fatal("the agent tells of no head")
	}
	g.epoch = must(head.Certificate.Vote())(t).Epoch
	return g, one
}

func processBallots(t *testing.T) string {
	g, _ := seat(t)
	bomb := g.prepare(1 << 62)
	said := answer(t, g, bomb, func(m *mesh.Promise) bool { return m.Ballot == bomb.Ballot })
	if said == nil {
		t.Fatal("the agent does not answer, so the attack shows nothing")
	}
	if (*said).Refused == "" {
		return "the agent promises a ballot that nobody can go above"
	}
	return ""
}

func processPropose(t *testing.T) string {
	g, one := seat(t)
	ask := g.prepare(1000)
	if said := answer(t, g, ask, func(m *mesh.Promise) bool { return m.Ballot == ask.Ballot && m.Refused == "" }); said == nil {
		t.Fatal("the agent promises nothing, so the attack shows nothing")
	}
	object, _ := meshtest.SignRevision(g.key, store.Revision{Env: production, Version: 2, Parent: one, Kind: store.KindPush}, writing("/etc/motd", "mine"))
	accept := &mesh.Accept{Register: ask.Register, Epoch: ask.Epoch, Ballot: ask.Ballot, Value: value(t, 2, object, one)}
	if said := answer(t, g, accept, func(m *mesh.Accepted) bool { return m.Ballot == ask.Ballot && m.Refused == "" }); said != nil {
		return "the agent votes for what no publisher signed"
	}
	return ""
}

func processSecret(t *testing.T) string {
	f, n1 := fleetOf(t)
	var web []membership.Member
	for _, m := range members(t, f, n1) {
		web = append(web, membership.Member{ID: membership.NodeID(m.ID), Name: m.Name, Tags: m.Tags})
	}
	data, _, err := agebox.Seal(secrets.Statement{Env: production, Name: "web/password", Version: 1, On: "role=web"}, []byte(password), web)
	if err != nil {
		t.Fatal(err)
	}
	tree := writing("/etc/motd", "x")
	tree["components/motd/motd.j2"] = `{{ secret("web/password") }}`
	tree["components/motd/states.yaml"] = "states:\n  motd:\n    file.managed: {path: /etc/motd, template: motd.j2}\n"
	tree[secrets.PathOf("web/password")] = string(data)
	publishes(t, f, n1, 1, store.Hash{}, tree)
	holds(t, n1, "etc/motd", password)
	g := newGuest(t, f, n1, "mallory", "role=db")
	sealed := must(secrets.Decode(data))(t)
	asked := &mesh.SecretAsk{ID: 5, Env: production, Secrets: []store.Hash{sealed.Hash}}
	said := answer(t, g, asked, func(m *mesh.SecretTell) bool { return len(m.Keys) == 1 && len(m.Keys[0]) > 0 })
	if said == nil {
		return ""
	}
	opener := must(agebox.NewNodeKey(g.key))(t)
	key := must(agebox.OpenKey(sealed, (*said).Keys[0], opener))(t)
	if got := must(agebox.Reveal(sealed, key))(t); string(got) == password {
		return "a database has the password of the web servers"
	}
	return ""
}

func processDeath(t *testing.T) string {
	f, n1 := fleetOf(t)
	n2 := f.Add("n2", "role=web")
	join(t, n2, n1)
	if err := fleet.Eventually(t.Context(), patience, func() error { return n1.Sees(t.Context(), 2) }); err != nil {
		t.Fatal(err)
	}
	g := newGuest(t, f, n1, "mallory", "role=web")
	id := ""
	for _, m := range members(t, f, n1) {
		if m.Name == "n2" {
			id = m.ID
		}
	}
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(n1.Addr))
	incarnation := uint32(0)
	return within(2*quiet, func() string {
		incarnation += 10
		nonce := make([]byte, 12)
		_, _ = rand.Read(nonce)
		plain := packed(t, accusation{incarnation, id, string(idOf(g.key))}, kindDead)
		packet := sealerOf(t, g.ticket.GossipKey()).Seal(append([]byte{1}, nonce...), nonce, plain, nil)
		_ = must(g.PacketConn().WriteTo(packet, to))(t)
		for _, m := range members(t, f, n1) {
			if m.Name == "n2" && m.Status != "alive" {
				return "the agent takes n2, which lives, for " + m.Status
			}
		}
		return ""
	})
}

// processFrame looks at how much the agent has asked for at the most: what is only announced is never resident.
func processFrame(t *testing.T) string {
	f, n1 := fleetOf(t)
	g := newGuest(t, f, n1, "mallory", "role=web")
	before := peak(t, n1)
	c := must(g.DialStream(t.Context(), g.victim, "/shoal/frames/1"))(t)
	defer c.Close()
	must(c.Write(binary.BigEndian.AppendUint32(nil, 1<<30)))(t)
	return within(2*quiet, func() string {
		if more := peak(t, n1) - before; more > 900<<10 {
			return fmt.Sprintf("the agent asks for %d MiB more", more>>10)
		}
		return ""
	})
}

// peak is the most that the agent's side on the network has had of its address space, in KiB.
func peak(t *testing.T, n *fleet.Node) (kib int) {
	t.Helper()
	pid := n.PID()
	if side, ok := n.MeshSide(); ok {
		pid = side
	}
	data := must(os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)))(t)
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmPeak:"); ok {
			must(fmt.Sscan(rest, &kib))(t)
		}
	}
	if kib == 0 {
		t.Skip("the kernel does not say how much a process has had")
	}
	return kib
}

// processTraversal: the manifest is made by hand, since store.Pack writes none of this kind.
func processTraversal(t *testing.T) string {
	f, n1 := fleetOf(t)
	files := writing("/etc/motd", "theirs")
	files["../../escaped"] = "out"
	var objects [][]byte
	var entries []store.Entry
	for _, name := range slices.Sorted(maps.Keys(files)) {
		data := []byte(files[name])
		objects = append(objects, data)
		entries = append(entries, store.Entry{Path: name, Mode: store.ModeFile, Size: int64(len(data)), Chunks: []store.Chunk{{Hash: store.HashOf(data), Size: int64(len(data))}}})
	}
	manifest := manifestOf(t, entries...)
	object := must(store.SealRevision(store.Revision{Env: production, Version: 1, Kind: store.KindPush, Manifest: store.HashOf(manifest)}, operatorOf(t, f)))(t)
	if err := hand(t, f, n1, append(objects, manifest, object)); err != nil {
		t.Log(err)
	}
	return within(4*quiet, func() string {
		if data, err := os.ReadFile(n1.Path("etc/motd")); err == nil {
			return fmt.Sprintf("the agent takes the tree, and writes %q", data)
		}
		return ""
	})
}

func processUsedTicket(t *testing.T) string {
	f, n1 := fleetOf(t)
	g := newGuest(t, f, n1, "mallory", "role=web")
	_, thief, _ := ed25519.GenerateKey(rand.Reader)
	for idOf(thief) > idOf(g.key) {
		_, thief, _ = ed25519.GenerateKey(rand.Reader)
	}
	if second := dial(t, n1, thief, g.ticket, redeems(t, g.ticket, thief, "another")); second != nil && second.isMember(t, f, n1) {
		return "two members have joined with a ticket of one use"
	}
	return ""
}

func processExpiredTicket(t *testing.T) string {
	f, n1 := fleetOf(t)
	ticket := must(membership.ParseTicket(strings.TrimSpace(run(t, f, "ticket", "--ttl", "1s").Stdout)))(t)
	<-time.After(time.Until(ticket.Spec().Expires.Add(1100 * time.Millisecond)))
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	if g := dial(t, n1, key, ticket, redeems(t, ticket, key, "mallory")); g != nil && g.isMember(t, f, n1) {
		return "a machine has joined with a ticket that had ended"
	}
	return ""
}

func processCredential(t *testing.T) string {
	f, n1 := fleetOf(t)
	g := newGuest(t, f, n1, "mallory", "role=web")
	stolen := redeems(t, g.ticket, g.key, "mallory")
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	if thief := dial(t, n1, key, g.ticket, stolen); thief != nil {
		return "the agent lets a stranger in for another's credential"
	}
	return ""
}

func processSymlink(t *testing.T) string {
	if os.Getuid() != 0 {
		t.Skip("needs root: the attack is one of another user")
	}
	f, n1 := fleetOf(t)
	for _, dir := range []string{"etc", "home"} {
		if err := os.MkdirAll(n1.Path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(n1.Path("home"), userID, userID); err != nil {
		t.Fatal(err)
	}
	if err := plantLink(n1.Root); err != nil {
		t.Fatal(err)
	}
	publishes(t, f, n1, 1, store.Hash{}, writing("/home/d/x", "text"))
	return within(2*quiet, func() string {
		if data, err := os.ReadFile(n1.Path("etc/x")); err == nil && bytes.Equal(data, []byte("text")) {
			return "the agent writes etc/x for a user"
		}
		return ""
	})
}
