package attacks

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shoal/internal/fleet"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/mesh/p2p"
	"shoal/store"
)

func processAttacks() []attack {
	return []attack{
		{"process-push-of-another-operator", "push", Stranger, "pushes with a key of its own at the socket of a real agent", "anybody-publishes", processPush},
		{"process-claims-tags", "tag claim", Member, "joins a real agent with its ticket, and sends a grant of other tags that its own key signed", "threshold", processClaims},
		{"process-evicts", "roster", Member, "joins a real agent with its ticket, and revokes its grant", "anybody-evicts", processEvicts},
		{"process-takes-a-name", "name", Stranger, "runs an agent with a good ticket and the name of another", "taken-names", processName},
		{"process-comes-back", "ticket", Member, "runs an agent that was evicted again", "revocations-pass", processComesBack},
		{"process-page-in-a-browser", "API", Stranger, "has a page in a browser post to a real agent that it leave", "any-page", processPage},
	}
}

// BinaryEnv names the shoal binary that processes are of; unset: it is built.
const BinaryEnv = "SHOAL_ATTACKED"

var shoal = sync.OnceValues(func() (string, error) {
	if binary := os.Getenv(BinaryEnv); binary != "" {
		return binary, nil
	}
	dir, err := os.MkdirTemp("", "shoal-attacked")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "shoal")
	if out, err := exec.Command("go", "build", "-o", binary, "shoal/cmd/shoal").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return binary, nil
})

// TestMain removes the binary that was built for the attacks on processes.
func TestMain(m *testing.M) {
	status := m.Run()
	if binary, err := shoalBuilt(); err == nil && binary != "" && os.Getenv(BinaryEnv) == "" {
		_ = os.RemoveAll(filepath.Dir(binary))
	}
	os.Exit(status)
}

var wasBuilt atomic.Bool

func shoalBuilt() (string, error) {
	if !wasBuilt.Load() {
		return "", nil
	}
	return shoal()
}

var nets atomic.Int64

// fleetOf is an operator's home and a first agent, which runs.
func fleetOf(t *testing.T) (*fleet.Fleet, *fleet.Node) {
	t.Helper()
	f := newFleet(t)
	n1 := f.Add("n1", "role=web")
	join(t, n1, nil)
	return f, n1
}

func join(t *testing.T, n, peer *fleet.Node) {
	t.Helper()
	must(n.Ticket(t.Context()))(t)
	must(n.Join(t.Context(), peer))(t)
	if err := fleet.Eventually(t.Context(), patience, func() error { return n.Sees(t.Context(), 1) }); err != nil {
		log, _ := os.ReadFile(n.Log())
		t.Fatalf("%v\n%s", err, log)
	}
}

func run(t *testing.T, f *fleet.Fleet, args ...string) fleet.Result {
	t.Helper()
	res := must(f.Shoal(t.Context(), args...))(t)
	if res.Status != 0 {
		t.Fatalf("shoal %v: status %d: %s", args, res.Status, res.Stderr)
	}
	return res
}

type shown struct {
	Name, ID, Status string
	Tags             map[string]string
}

func members(t *testing.T, f *fleet.Fleet, n *fleet.Node) (out []shown) {
	t.Helper()
	if err := f.JSON(t.Context(), &out, "members", "--node", n.Socket()); err != nil {
		t.Fatal(err)
	}
	return out
}

// within waits for what must not come.
func within(d time.Duration, what func() string) string {
	said := ""
	until(func() bool { said = what(); return said != "" }, d)
	return said
}

// processPush uses the API as a client of its own would: shoal push itself shows its trust chain first, and is refused for that.
func processPush(t *testing.T) string {
	f, n1 := fleetOf(t)
	_, objects := meshtest.SignRevision(meshtest.Key("stranger"), store.Revision{Env: production, Version: 1, Kind: store.KindPush}, writing("/etc/motd", "theirs"))
	t.Logf("push: %v", hand(t, f, n1, objects))
	return within(2*quiet, func() string {
		if data, err := os.ReadFile(n1.Path("etc/motd")); err == nil {
			return fmt.Sprintf("the agent writes %q", data)
		}
		return ""
	})
}

// guest is a member in this process: the agent's mesh has granted it, and it says what it likes.
type guest struct {
	*p2p.Transport
	key    ed25519.PrivateKey
	ticket membership.Ticket
	chain  *membership.Chain
	victim membership.NodeID
	heard  chan mesh.Message
	epoch  uint64 // of production's acceptors
}

// newGuest makes one with a name and tags of its own.
func newGuest(t *testing.T, f *fleet.Fleet, n1 *fleet.Node, name string, tags ...string) *guest {
	t.Helper()
	args := []string{"ticket", "--ttl", "10m"}
	for _, tag := range tags {
		args = append(args, "--tag", tag)
	}
	ticket := must(membership.ParseTicket(strings.TrimSpace(run(t, f, args...).Stdout)))(t)
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	g := dial(t, n1, key, ticket, redeems(t, ticket, key, name))
	if g == nil || !g.isMember(t, f, n1) {
		t.Fatal("the guest is no member, so the attack shows nothing")
	}
	return g
}

// redeems is what a node of a key shows of a ticket.
func redeems(t *testing.T, ticket membership.Ticket, key ed25519.PrivateKey, name string) []membership.Signed {
	t.Helper()
	roster := membership.NewRoster(must(ticket.Chain())(t))
	must(roster.Add(time.Now(), must(ticket.Redeem(key, name))(t)))(t)
	return roster.Credential(idOf(key))
}

// dial shows an agent what it likes in its certificate; nil: the agent hung up.
func dial(t *testing.T, n1 *fleet.Node, key ed25519.PrivateKey, ticket membership.Ticket, credential []membership.Signed) *guest {
	t.Helper()
	open := func(context.Context, membership.NodeID, []membership.Signed) error { return nil }
	g := &guest{key: key, ticket: ticket, chain: must(ticket.Chain())(t), heard: make(chan mesh.Message, 1<<12)}
	g.Transport = must(p2p.New(p2p.Options{
		Key: key, Bind: "127.0.0.1:0", Known: func(membership.NodeID) bool { return false }, Admit: open, Vouch: open,
		Credential: func() []membership.Signed { return credential },
	}))(t)
	t.Cleanup(func() { g.Close() })
	var err error
	if g.victim, err = g.Whoami(t.Context(), n1.Addr); err != nil && strings.Contains(err.Error(), "refused by the peer") {
		t.Log(err)
		return nil
	} else if err != nil {
		t.Fatal(err)
	}
	g.Learn(g.victim, n1.Addr)
	go func() {
		for f := range g.Frames() {
			m, err := mesh.Decode(f.Data)
			if err != nil {
				continue
			}
			select {
			case g.heard <- m:
			default: // nobody asked
			}
		}
	}()
	return g
}

// isMember greets the agent, and waits for a while until it has it among its members.
func (g *guest) isMember(t *testing.T, f *fleet.Fleet, n1 *fleet.Node) bool {
	t.Helper()
	return within(4*quiet, func() string {
		_ = g.Send(g.victim, must(mesh.Encode(&mesh.RosterAsk{}))(t))
		for _, m := range members(t, f, n1) {
			if m.ID == string(idOf(g.key)) {
				return m.Name
			}
		}
		return ""
	}) != ""
}

func (g *guest) says(t *testing.T, m mesh.Message) {
	t.Helper()
	if err := g.Send(g.victim, must(mesh.Encode(m))(t)); err != nil {
		t.Fatal(err)
	}
}

// answer says something again and again, and returns the first answer of a kind that fits; nil after a while.
func answer[M mesh.Message](t *testing.T, g *guest, question mesh.Message, fits func(M) bool) *M {
	t.Helper()
	for end := time.After(4 * quiet); ; {
		g.says(t, question)
		select {
		case m := <-g.heard:
			if m, ok := m.(M); ok && fits(m) {
				return &m
			}
		case <-time.After(100 * time.Millisecond):
		case <-end:
			return nil
		}
	}
}

func processClaims(t *testing.T) string {
	f, n1 := fleetOf(t)
	g := newGuest(t, f, n1, "mallory", "role=web")
	g.says(t, &mesh.RosterTell{Records: []membership.Signed{must(membership.SignGrant(membership.Grant{
		Mesh: g.chain.Mesh(), Node: idOf(g.key), Name: "mallory", Tags: map[string]string{"role": "db"}, Serial: 9,
	}, g.key))(t)}})
	return within(2*quiet, func() string {
		for _, m := range members(t, f, n1) {
			if m.Name == "mallory" && m.Tags["role"] == "db" {
				return "the agent takes mallory for a database"
			}
		}
		return ""
	})
}

func processEvicts(t *testing.T) string {
	f, n1 := fleetOf(t)
	g := newGuest(t, f, n1, "mallory", "role=web")
	g.says(t, &mesh.RosterTell{Records: []membership.Signed{must(membership.SignRevocation(membership.Revocation{Mesh: g.chain.Mesh(), Node: g.victim}, g.key))(t)}})
	return within(2*quiet, func() string {
		if log, _ := os.ReadFile(n1.Log()); strings.Contains(string(log), "evicted") {
			return "the agent takes itself for evicted"
		}
		return ""
	})
}

func processName(t *testing.T) string {
	f, n1 := fleetOf(t)
	thief := f.Add("thief", "role=web")
	thief.Args = []string{"--name", "n1"}
	must(thief.Ticket(t.Context()))(t)
	must(thief.Join(t.Context(), n1))(t)
	return within(4*quiet, func() string {
		if all := members(t, f, n1); len(all) > 1 {
			return fmt.Sprintf("%d members called %s and %s", len(all), all[0].Name, all[1].Name)
		}
		return ""
	})
}

func processComesBack(t *testing.T) string {
	f, n1 := fleetOf(t)
	n2 := f.Add("n2", "role=web")
	join(t, n2, n1)
	if err := fleet.Eventually(t.Context(), patience, func() error { return n1.Sees(t.Context(), 2) }); err != nil {
		t.Fatal(err)
	}
	run(t, f, "evict", "n2", "--node", n1.Socket())
	n2.Kill()
	must(n2.Start())(t)
	<-time.After(quiet) // it has gone, or is there for good
	return within(2*quiet, func() string {
		for _, m := range members(t, f, n1) {
			if m.Name == "n2" {
				return "n2 is a member still"
			}
		}
		return ""
	})
}

func processPage(t *testing.T) string {
	f, n1 := fleetOf(t)
	socket := filepath.Join(f.Dir, n1.Socket())
	status := post(t, socket, "node", "", "/v1/leave", strings.NewReader("{}"))
	if hasEnded(t, n1) {
		return fmt.Sprintf("the agent has left its mesh and ended (status %d)", status)
	}
	return ""
}

func hasEnded(t *testing.T, n *fleet.Node) bool {
	ctx, cancel := context.WithTimeout(t.Context(), 3*quiet)
	defer cancel()
	_, err := n.Ended(ctx)
	return err == nil
}
