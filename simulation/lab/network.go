package lab

import (
	"fmt"
	"strings"
)

// Link says what the bridge does to packets between hosts. The zero Link lets all through.
type Link struct {
	// Parts are groups of hosts that hear one another and nobody else; a host in none of them hears nobody. Empty: all hear all.
	Parts [][]*Host
	// Deaf are pairs in one direction: what the first sends does not reach the second.
	Deaf [][2]*Host
	// Loss is how many of a hundred packets are dropped, at random.
	Loss int
}

// Set makes the bridge behave as l says, from now on and for all hosts.
func (l *Lab) Set(link Link) error {
	if link.Loss < 0 || link.Loss > 100 {
		return fmt.Errorf("lab: a loss of %d %%", link.Loss)
	}
	return l.inNetwork("nft -f - <<'RULES'\n" + link.rules() + "RULES\n")
}

// rules replaces the table as a whole, so that what was set before is gone.
func (k Link) rules() string {
	var b strings.Builder
	b.WriteString("table bridge lab\ndelete table bridge lab\ntable bridge lab {\n  chain forward {\n    type filter hook forward priority 0; policy accept;\n")
	for _, pair := range k.Deaf {
		fmt.Fprintf(&b, "    ip saddr %s ip daddr %s drop\n", pair[0].Addr, pair[1].Addr)
	}
	for _, part := range k.Parts {
		var addrs []string
		for _, h := range part {
			addrs = append(addrs, h.Addr)
		}
		set := "{ " + strings.Join(addrs, ", ") + " }"
		fmt.Fprintf(&b, "    ip saddr %s ip daddr %s goto lossy\n", set, set)
	}
	if len(k.Parts) > 0 {
		b.WriteString("    ip saddr 10.77.0.0/24 ip daddr 10.77.0.0/24 drop\n")
	}
	b.WriteString("    goto lossy\n  }\n  chain lossy {\n")
	switch {
	case k.Loss == 100:
		b.WriteString("    meta protocol ip drop\n")
	case k.Loss > 0:
		fmt.Fprintf(&b, "    meta protocol ip numgen random mod 100 < %d drop\n", k.Loss)
	}
	b.WriteString("    accept\n  }\n}\n")
	return b.String()
}

// Slow limits what the host sends and receives to a rate in tc's words, such as "1mbit"; an empty one lifts the limit.
func (h *Host) Slow(rate string) error {
	change := "del dev %s root 2>/dev/null || true"
	if rate != "" {
		change = "replace dev %s root tbf rate " + rate + " burst 32kb latency 200ms"
	}
	if err := h.lab.inNetwork("tc qdisc " + fmt.Sprintf(change, fmt.Sprintf("veth%d", h.number))); err != nil {
		return err
	}
	return h.inNetwork("tc qdisc " + fmt.Sprintf(change, "eth0"))
}
