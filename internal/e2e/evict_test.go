package e2e

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shoal/internal/fleet"
)

// evictTime is what an eviction may take to be everywhere, on a busy machine: "seconds".
const evictTime = 15 * time.Second

// A node that is evicted is gone everywhere at once, its connections end, and the key of the gossip that it has is worth nothing soon
// after. Who was off meanwhile comes back, and an old ticket is still good.
func TestEviction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mesh(5)
	n1, n2, n3, n5 := w.Nodes[0], w.Nodes[1], w.Nodes[2], w.Nodes[4]
	w.ok("push", w.motd("first", "first\n"), "--wait", "--node", n2.Socket())
	oldTicket := w.ticket(t, "--tag", "role=web", "--ttl", "1h")
	old, err := os.ReadFile(filepath.Join(w.Home, "gossip.key"))
	if err != nil {
		t.Fatal(err)
	}
	others := []*fleet.Node{n1, n2, w.Nodes[3]}
	for _, n := range others {
		if err := w.probe(n, old); err != nil {
			t.Fatalf("%s does not answer a packet with the key of its gossip, so the test shows nothing: %v", n.Name, err)
		}
	}
	id3 := ""
	var members []member
	if err := w.JSON(w.ctx, &members, "members", "--node", n1.Socket()); err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if m.Name == "n3" {
			id3 = m.ID
		}
	}
	n5.Kill()
	w.ok("evict", "n3", "--node", n1.Socket())
	began := time.Now()
	for _, n := range others {
		w.within(evictTime, n.Name+" knows n3 no more", func() error { return w.seesNow(n, "n3", "") })
	}
	w.says(n3, "level=WARN", "evicted")
	t.Logf("gone everywhere after %v", time.Since(began))
	for _, n := range others {
		w.within(evictTime, "no connection between n3 and "+n.Name, func() error { return connected(n3.Addr, n.Addr) })
	}
	for _, n := range others {
		w.deaf(n, old)
	}
	t.Logf("the old key is worth nothing after %v", time.Since(began))

	w.eventually("n3 owns nothing and has no seat", func() error {
		var ring struct{ Nodes []struct{ Name string } }
		if err := w.JSON(w.ctx, &ring, "ring", "--node", n1.Socket()); err != nil {
			return err
		}
		for _, n := range ring.Nodes {
			if n.Name == "n3" {
				return errors.New("it owns partitions")
			}
		}
		res, err := w.Shoal(w.ctx, "trust", "recover-head", "production", "--json", "--node", n1.Socket()) // which shows the seats first
		if err != nil {
			return err
		}
		var standing struct{ Acceptors []struct{ ID string } }
		if err := json.NewDecoder(strings.NewReader(res.Stdout)).Decode(&standing); err != nil {
			return err
		}
		for _, a := range standing.Acceptors {
			if a.ID == id3 {
				return errors.New("it has a seat")
			}
		}
		return nil
	})
	if info, err := os.Stat(n1.Path("var/lib/shoal/store")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the keys of the gossip are in a folder of mode %v, %v", info.Mode(), err)
	}

	w.part(t, "the others gossip on", func(w *world) {
		w.together(others...)
		w.ok("push", w.motd("second", "second\n"), "--wait", "--node", n2.Socket())
		w.holds("etc/motd", "second\n", others...)
	})
	w.part(t, "who was off is back", func(w *world) {
		w.start(n5)
		w.together(append(others, n5)...)
		w.holds("etc/motd", "second\n", n5)
		w.deaf(n5, old)
	})
	w.part(t, "an old ticket is good", func(w *world) {
		n6 := w.Add("n6", "role=web")
		w.start(n6, "--ticket", oldTicket, "--join", n2.Addr)
		w.together(append(others, n5, n6)...)
		w.holds("etc/motd", "second\n", n6)
		w.deaf(n6, old)
	})
	w.part(t, "after a restart too", func(w *world) {
		n1.Kill()
		w.start(n1)
		w.together(append(others, n5)...)
		w.deaf(n1, old)
	})
	w.part(t, "the evicted one stays out", func(w *world) {
		if err := n3.Stop(); err != nil {
			w.t.Error(err)
		}
		w.start(n3)
		w.answers(n3)
		w.putsBack(n3, "first\n")
		for _, n := range others {
			if err := w.seesNow(n, "n3", ""); err != nil {
				w.t.Error(n.Name, err)
			}
		}
	})
}

// deaf waits until a node hears nothing any more that is sealed with a key.
func (w *world) deaf(n *fleet.Node, key []byte) {
	w.t.Helper()
	w.within(evictTime, n.Name+" hears nothing with the old key", func() error {
		if w.probe(n, key) == nil {
			return errors.New("it answers")
		}
		return nil
	})
}

// probe sends a packet of the gossip as a node would that has a key: a ping. No error: it is answered.
func (w *world) probe(n *fleet.Node, key []byte) error {
	at := netip.MustParseAddrPort(n.Addr)
	host := at.Addr().As4()
	host[3] = 200
	conn, err := net.DialUDP("udp", &net.UDPAddr{IP: host[:]}, net.UDPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	defer conn.Close()
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	out := make([]byte, 13)
	out[0] = 1
	if _, err := rand.Read(out[1:]); err != nil {
		return err
	}
	ping := append([]byte{0, 0x81, 0xa5}, "SeqNo\x07"...) // memberlist's ping 7, to whoever is there
	for range 3 {
		if _, err := conn.Write(aead.Seal(out[:13:13], out[1:13], ping, nil)); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			return err
		}
		answer := make([]byte, 1500)
		if _, err = conn.Read(answer); err == nil {
			return nil
		}
	}
	return err
}

// connected is an error while there is a TCP connection between two loopback addresses.
func connected(a, b string) error {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return err
	}
	ha, hb := hexHost(a), hexHost(b)
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 4 || f[3] != "01" { // established
			continue
		}
		from, _, _ := strings.Cut(f[1], ":")
		to, _, _ := strings.Cut(f[2], ":")
		if (from == ha && to == hb) || (from == hb && to == ha) {
			return fmt.Errorf("%s is connected with %s", f[1], f[2])
		}
	}
	return nil
}

func hexHost(addr string) string {
	ip := netip.MustParseAddrPort(addr).Addr().As4()
	return fmt.Sprintf("%02X%02X%02X%02X", ip[3], ip[2], ip[1], ip[0])
}

// A grant that ends is renewed before it does, and who was off meanwhile comes back after its end.
func TestRenewal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mesh(4)
	n1, n2, n4 := w.Nodes[0], w.Nodes[1], w.Nodes[3]
	w.ok("push", w.motd("first", "first\n"), "--wait", "--node", n2.Socket())
	w.holds("etc/motd", "first\n", w.Nodes...)

	// All grants end soon, and n4 is off while they are renewed: when it is back, it knows of no grant that holds, its own or another's.
	const soon = 20 * time.Second
	w.ok("trust", "propose", "grants", "--ttl", soon.String(), "--node", n1.Socket())
	ended := time.Now().Add(soon)
	w.eventually("n4 knows its end", func() error {
		var members []struct{ Name, Expires string }
		if err := w.JSON(w.ctx, &members, "members", "--node", n4.Socket()); err != nil {
			return err
		}
		for _, m := range members {
			if m.Expires == "" {
				return errors.New(m.Name + " does not end")
			}
		}
		return nil
	})
	n4.Kill()
	w.ok("trust", "propose", "grants", "--within", "1h", "--ttl", "2h", "--node", n2.Socket())
	w.eventually("the grants of the first kind are over", func() error {
		if left := time.Until(ended); left > -2*time.Second {
			return fmt.Errorf("%v are left", left)
		}
		return nil
	})
	w.together(w.Nodes[:3]...)
	w.start(n4)
	w.together(w.Nodes...)
	w.ok("push", w.motd("second", "second\n"), "--wait", "--node", n4.Socket())
	w.holds("etc/motd", "second\n", w.Nodes...)

	w.part(t, "a newcomer meets one whose certificate shows a grant that has ended", func(w *world) {
		n5 := w.Add("n5", "role=web")
		w.start(n5, "--ticket", w.ticket(t, "--tag", "role=web"), "--join", n1.Addr)
		w.together(w.Nodes...)
	})
	w.part(t, "a known key without a ticket", func(w *world) {
		n6 := w.Add("n6", "role=web")
		dir := filepath.Join(n6.Name, "var/lib/shoal")
		id := strings.TrimSpace(w.ok("agent", "--print-id", "--data-dir", dir).Stdout)
		line := strings.TrimSpace(w.ok("trust", "propose", "grant", id, "--name", "n6", "--tag", "role=web", "--ttl", "1h", "--node", n2.Socket()).Stdout)
		if i := strings.LastIndex(line, "\n"); i >= 0 {
			line = line[i+1:]
		}
		if again := strings.TrimSpace(w.ok("trust", "admission", "n6", "--node", n2.Socket()).Stdout); again != line {
			w.t.Errorf("trust admission prints %.40q, propose %.40q", again, line)
		}
		other := w.Add("n7", "role=web")
		w.start(other, "--ticket", line, "--join", n2.Addr)
		if status, err := other.Ended(w.ctx); err != nil || status != 5 {
			w.t.Errorf("with the line of another machine: exit status %d, %v", status, err)
		}
		w.start(n6, "--ticket", line, "--join", n2.Addr)
		w.together(n1, n2, n6)
		w.holds("etc/motd", "second\n", n6)
		w.ok("push", w.motd("third", "third\n"), "--wait", "--node", n6.Socket())
		w.holds("etc/motd", "third\n", n1, n6)
	})
}
