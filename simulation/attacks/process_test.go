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
	"shoal/mesh/api"
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
	wasBuilt.Store(true)
	binary := must(shoal())(t)
	f := must(fleet.NewAt(int(200+nets.Add(1)), binary, t.TempDir()))(t)
	t.Cleanup(func() { _ = f.Close() })
	run(t, f, "init")
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
	object, objects := meshtest.SignRevision(meshtest.Key("stranger"), store.Revision{Env: production, Version: 1, Kind: store.KindPush}, map[string]string{
		"site.yaml":                   "targets:\n  - on: \"*\"\n    components: [motd]\n",
		"components/motd/states.yaml": "states:\n  motd:\n    file.managed: {path: /etc/motd, content: theirs}\n",
	})
	client := api.NewClient(filepath.Join(f.Dir, n1.Socket()))
	defer client.Close()
	if err := client.Put(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
	_, err := client.Push(t.Context(), api.PushRequest{Revision: store.HashOf(object), Object: object})
	t.Logf("push: %v", err)
	return within(2*quiet, func() string {
		if data, err := os.ReadFile(n1.Path("etc/motd")); err == nil {
			return fmt.Sprintf("the agent writes %q", data)
		}
		return ""
	})
}

// guest is a member in this process: the agent's mesh has granted it, and it says what it likes.
func guest(t *testing.T, f *fleet.Fleet, n1 *fleet.Node) (p *p2p.Transport, key ed25519.PrivateKey, chain *membership.Chain, victim membership.NodeID) {
	t.Helper()
	ticket := must(membership.ParseTicket(strings.TrimSpace(run(t, f, "ticket", "--ttl", "10m", "--tag", "role=web").Stdout)))(t)
	_, key, _ = ed25519.GenerateKey(rand.Reader)
	chain = must(ticket.Chain())(t)
	roster := membership.NewRoster(chain)
	must(roster.Add(time.Now(), must(ticket.Redeem(key, "mallory"))(t)))(t)
	open := func(context.Context, membership.NodeID, []membership.Signed) error { return nil }
	p = must(p2p.New(p2p.Options{
		Key: key, Bind: "127.0.0.1:0", Known: func(membership.NodeID) bool { return false }, Admit: open, Vouch: open,
		Credential: func() []membership.Signed { return roster.Credential(idOf(key)) },
	}))(t)
	t.Cleanup(func() { p.Close() })
	victim = must(p.Whoami(t.Context(), n1.Addr))(t)
	p.Learn(victim, n1.Addr)
	go func() {
		for range p.Frames() { //nolint:revive // nobody listens
		}
	}()
	if got := within(patience, func() string {
		for _, m := range members(t, f, n1) {
			if m.Name == "mallory" {
				return m.Name
			}
		}
		return ""
	}); got == "" {
		t.Fatal("the guest is no member, so the attack shows nothing")
	}
	return p, key, chain, victim
}

func tells(t *testing.T, p *p2p.Transport, to membership.NodeID, records ...membership.Signed) {
	t.Helper()
	frame := must(mesh.Encode(&mesh.RosterTell{Records: records}))(t)
	if err := p.Send(to, frame); err != nil {
		t.Fatal(err)
	}
}

func processClaims(t *testing.T) string {
	f, n1 := fleetOf(t)
	p, key, chain, victim := guest(t, f, n1)
	tells(t, p, victim, must(membership.SignGrant(membership.Grant{
		Mesh: chain.Mesh(), Node: idOf(key), Name: "mallory", Tags: map[string]string{"role": "db"}, Serial: 9,
	}, key))(t))
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
	p, key, chain, victim := guest(t, f, n1)
	tells(t, p, victim, must(membership.SignRevocation(membership.Revocation{Mesh: chain.Mesh(), Node: victim}, key))(t))
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
	ctx, cancel := context.WithTimeout(t.Context(), 3*quiet)
	defer cancel()
	if _, err := n1.Ended(ctx); err == nil {
		return fmt.Sprintf("the agent has left its mesh and ended (status %d)", status)
	}
	return ""
}
