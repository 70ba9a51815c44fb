package lab_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"shoal/simulation/lab"
)

// killSeed makes the moments; SHOAL_SEED gives another.
func killSeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("SHOAL_SEED")
	if text == "" {
		return rand.Uint64()
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("SHOAL_SEED: %v", err)
	}
	return seed
}

// killRuns is how many runs are killed: 300 in make lab, and what fits beside all other tests else. SHOAL_KILLS gives another.
func killRuns(t *testing.T) int {
	t.Helper()
	if text := os.Getenv("SHOAL_KILLS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("SHOAL_KILLS: %v", err)
		}
		return n
	}
	if os.Getenv("SHOAL_LAB") == "all" {
		return 300
	}
	return 6
}

// victim is a host whose runs are killed.
type victim struct {
	*lab.Host
	disk   string
	before snapshot
	after  snapshot
	extent extent
	tally
}

// tally is what came of it.
type tally struct {
	rolled, done, twice int
	phases              map[string]int
}

var killOrders = []string{"ansible", "justdoit", "genius"}

// TestKilledAnywhere: a run of real states on a real machine that is killed at a random moment leaves, once shoal is started
// again, exactly the machine before or exactly the one after.
func TestKilledAnywhere(t *testing.T) {
	seed, runs := killSeed(t), killRuns(t)
	t.Logf("seed %d: SHOAL_SEED=%d SHOAL_KILLS=%d repeats it", seed, seed, runs)
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		// A killed process loses nothing that it wrote, synced or not; and each sync of a disk waits for all who use it.
		t.Setenv("TMPDIR", "/dev/shm")
	}
	l, hosts := up(t, "k1", "k2")
	install(t, hosts...)
	all := tally{phases: map[string]int{}}
	var mu sync.Mutex
	t.Run("hosts", func(t *testing.T) {
		for n, h := range hosts {
			t.Run(h.Name, func(t *testing.T) {
				t.Parallel()
				v := newVictim(t, h, filepath.Join(l.Dir(), h.Name, "upper"))
				for i := n; i < runs; i += len(hosts) {
					v.round(t, i, rand.New(rand.NewPCG(seed, uint64(i))))
				}
				mu.Lock()
				defer mu.Unlock()
				all.add(v.tally)
			})
		}
	})
	t.Logf("%d runs: %d rolled back, %d over, of which %d had ended before their moment came; %d recoveries were killed too\n%s",
		all.rolled+all.done, all.rolled, all.done, all.phases["over, not killed"], all.twice, all.histogram())
	if !t.Failed() && runs >= 100 && (all.rolled < runs/4 || all.done == 0 || len(all.phases) < 10) {
		t.Errorf("the moments are not spread: the test does not see what it is for")
	}
}

func (a *tally) add(b tally) {
	a.rolled, a.done, a.twice = a.rolled+b.rolled, a.done+b.done, a.twice+b.twice
	for phase, n := range b.phases {
		a.phases[phase] += n
	}
}

func (a *tally) histogram() string {
	var rows []string
	for phase, n := range a.phases {
		rows = append(rows, fmt.Sprintf("%5d  %s", n, phase))
	}
	slices.Sort(rows)
	slices.Reverse(rows)
	return strings.Join(rows, "\n")
}

// newVictim furnishes a host, and makes one whole run there and back, so that both ends are known.
func newVictim(t *testing.T, h *lab.Host, disk string) *victim {
	t.Helper()
	v := &victim{Host: h, disk: disk, tally: tally{phases: map[string]int{}}}
	repository(t, h)
	must(t, h, machineBefore)
	attribute(t, h.Path("/etc/kt/people"))
	write(t, h, "/root/first", firstTree)
	write(t, h, "/root/second", secondTree)
	write(t, h, "/root/second", map[string]string{"components/kt/files/app.tar": archived(t)})
	must(t, h, "shoal apply /root/first")
	v.before = take(t, h, disk)
	v.extent, _, _ = strike(t, h, moment{}, "apply", "/root/second")
	if out := must(t, h, "shoal apply /root/second"); !strings.Contains(out, "converged") || strings.Contains(out, " changed,") {
		t.Fatalf("the second run changes something:\n%s", out)
	}
	v.after = take(t, h, disk)
	if v.before.differs(v.after, h, false) == "" {
		t.Fatal("the tree changes nothing: the comparison is blind")
	}
	v.back(t, "after the first whole run")
	t.Logf("%s: a whole run takes %s, %d writes, %d of them to its data folder", h.Name, v.extent.took, v.extent.writes, v.extent.data)
	return v
}

// back applies the first tree again, which takes back all that the second had made.
func (v *victim) back(t *testing.T, name string) {
	t.Helper()
	// A state that left the tree leaves what its package was configured with.
	must(t, v.Host, "shoal apply /root/first && dpkg --purge kt-app kt-dep")
	now := take(t, v.Host, v.disk)
	if d := v.before.differs(now, v.Host, false); d != "" {
		t.Fatalf("%s: the first tree again left\n%s", name, d)
	}
	v.before = now
}

// round is one run that is killed.
func (v *victim) round(t *testing.T, i int, r *rand.Rand) {
	t.Helper()
	m, order := v.extent.pick(r), killOrders[r.IntN(len(killOrders))]
	name := fmt.Sprintf("run %d on %s, %s, killed %s", i, v.Name, order, m)
	was := readKept(t, v.Host)
	_, killed, _ := strike(t, v.Host, m, "apply", "/root/second", "--order", order)
	k := readKept(t, v.Host)
	switch {
	case k.phase == "no journal" && k.sequence == was.sequence:
		k.phase = "checking"
	case k.phase == "no journal":
		k.phase = "over"
	}
	if !killed {
		k.phase = "over, not killed"
	}
	v.phases[k.phase]++
	if r.IntN(4) == 0 { // a recovery may die as well
		if _, killed, _ := strike(t, v.Host, moment{after: 1 + v.extent.pick(r).after%v.extent.took}, "recover"); killed {
			v.twice++
		}
	}
	if out := must(t, v.Host, "shoal recover 2>&1"); strings.Contains(out, "left:") {
		t.Fatalf("%s (%s): recovery says\n%s", name, k.phase, out)
	}
	t.Logf("%s: %s", name, k.phase)
	now := take(t, v.Host, v.disk)
	rolled, done := v.before.differs(now, v.Host, true), v.after.differs(now, v.Host, false)
	switch {
	case rolled == "":
		v.rolled++
		if r.IntN(10) == 0 { // and what comes next finds nothing in its way
			must(t, v.Host, "shoal apply /root/second")
			v.back(t, name)
		}
	case done == "":
		v.done++
		v.back(t, name)
	default:
		t.Fatalf("%s (%s): neither as before nor as after\nas before but\n%s\nas after but\n%s", name, k.phase, rolled, done)
	}
}
