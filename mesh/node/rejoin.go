package node

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"shoal/membership"
	"shoal/mesh"
)

const (
	rejoinFirst = time.Second
	rejoinMost  = 30 * time.Second
	maxRedial   = 16 // addresses that one attempt tries
	// leftAlone is how long nobody calls one who said goodbye: it is busy with its end, and where all end at once each would wait for
	// the others.
	leftAlone = 5 * time.Second
)

// Redial calls those that are not here, for ever: dead nodes are forgotten by the gossip, and after a partition somebody
// must begin. Nobody has to tell it whom: addresses are remembered.
type Redial struct {
	// First are called until one of them answers, also when others have found us before.
	First []string
	// Absent are the addresses of members that are not here, in any order; alone, that nobody is.
	Absent func() (addrs []string, alone bool)
	// Barred says that nobody is to be called any more.
	Barred func() bool
	// Changed says that Absent may say something else.
	Changed <-chan struct{}
	Join    func(ctx context.Context, addrs []string) (int, error)
	// Tried, unless nil, hears what came of an attempt.
	Tried func(addrs []string, alone bool, joined int, err error)
}

// Run redials until ctx ends.
func (r Redial) Run(ctx context.Context) {
	wait := time.Duration(0)
	begun := len(r.First) == 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		addrs, alone := r.Absent()
		rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
		if alone || !begun {
			addrs = append(slices.Clone(r.First), addrs...)
		}
		if r.Barred() {
			addrs = nil // that is for good: nobody lets us in
		}
		addrs = addrs[:min(len(addrs), maxRedial)]
		if len(addrs) == 0 {
			wait = 0
			select {
			case <-ctx.Done():
				return
			case <-r.Changed:
				wait = rejoinFirst
			case <-time.After(leftAlone): // somebody may be one to call by now
			}
			continue
		}
		joined, err := r.Join(ctx, addrs)
		if r.Tried != nil && ctx.Err() == nil {
			r.Tried(addrs, alone, joined, err)
		}
		begun = begun || joined > 0
		wait = min(max(2*wait, rejoinFirst), rejoinMost)
		wait = wait/2 + rand.N(wait/2+1)
	}
}

func (n *Node) rejoin(ctx context.Context) {
	var trouble string
	left := goodbyes{}
	Redial{
		First: n.cfg.Join, Absent: func() ([]string, bool) { return n.absent(left) }, Changed: n.changed, Join: n.ports.Gossip.Join,
		Barred: func() bool { return n.shown.Load().evicted },
		Tried: func(addrs []string, alone bool, joined int, err error) {
			trouble = n.couldNotJoin(addrs, alone, err, trouble)
			if joined > 0 && !alone {
				n.log.Info("reached members again", "joined", joined)
			}
		},
	}.Run(ctx)
}

// couldNotJoin says what is wrong when that is not what was wrong before: somebody has to hear why a node is refused, but not
// every half minute for a week. A node that is alone warns; that a member is gone is no news of this one.
func (n *Node) couldNotJoin(addrs []string, alone bool, err error, before string) (now string) {
	if err == nil {
		return ""
	}
	// One line for each address, and these are called in any order.
	lines := strings.Split(strings.TrimPrefix(err.Error(), "join: "), "\n")
	slices.Sort(lines)
	now = strings.Join(slices.Compact(lines), "; ")
	level, what := slog.LevelWarn, "could not join"
	if !alone {
		level, what = slog.LevelInfo, "could not reach members"
	}
	if now == before {
		level = slog.LevelDebug
	}
	n.log.Log(context.Background(), level, what, "addresses", addrs, "error", now)
	return now
}

// goodbyes are when those who left were first seen to have.
type goodbyes map[membership.NodeID]time.Time

// lately tells whether a member has said goodbye a moment ago.
func (g goodbyes) lately(m mesh.MemberInfo) bool {
	if m.Status != membership.Left {
		delete(g, m.ID)
		return false
	}
	if _, known := g[m.ID]; !known {
		g[m.ID] = time.Now()
	}
	return time.Since(g[m.ID]) < leftAlone
}

// absent are the addresses of members that are not alive; alone, that nobody is. Those who said goodbye are among them: one that comes
// back with a damaged disk may not know any more whom to call.
func (n *Node) absent(left goodbyes) (addrs []string, alone bool) {
	alone = true
	for _, m := range n.shown.Load().members {
		lately := left.lately(m)
		switch {
		case m.ID == n.self:
		case m.Status == membership.Alive || m.Status == membership.Suspect:
			alone = false
		case m.Addr != "" && !lately:
			addrs = append(addrs, m.Addr)
		}
	}
	if alone {
		addrs = append(addrs, n.shown.Load().former...)
	}
	return addrs, alone
}
