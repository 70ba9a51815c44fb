package bubble

import (
	"flag"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"shoal/simulation"
)

var planted = flag.String("planted", "", "plant these bugs of the list, by name, or all, and see them found")

// bug is one in what tier A does not run: the node around the core, the gossip, the executor. The scenarios are those that are
// expected to find it.
type bug struct {
	simulation.Mutant
	scenarios string
}

func bugs() []bug {
	of := func(name, what, scenarios string, file, old, replacement string) bug {
		return bug{simulation.Mutant{Name: name, What: what, Edits: []simulation.Edit{{File: file, Old: old, New: replacement}}}, scenarios}
	}
	return []bug{
		of("no-goodbye", "a node that is stopped tells nobody", "stop-says|leave", "membership/gossip/gossip.go",
			"left <- g.serf.Leave()", "left <- nil"),
		of("call-nobody", "a node that is alone calls nobody", "restart-of|lost-disk|rejoin", "mesh/node/rejoin.go",
			"case m.Addr != \"\" && !lately:", "case m.Addr != \"\" && m.Status == membership.Suspect:"),
		of("no-hint", "a new head is not hinted at", "news", "mesh/heads.go",
			"c.emit(Hint{Data: data})", "_ = data"),
		of("deaf-to-drift", "what somebody changes by hand is found by the next full check alone", "drift|full-disk", "mesh/node/enforce.go",
			"e.notice(names)\n", "_ = names\n\t\t\tcontinue\n"),
		of("old-fleet", "a tree that lists the mesh is not looked at again when somebody joins", "who-is", "mesh/node/enforce.go",
			"if (!ok || !reader.ReadsFleet()) && !e.granted() {", "if (!ok || reader != nil) && !e.granted() {"),
		of("never-again", "a run that failed is not tried again", "full-file|locked|lost-handler", "mesh/node/enforce.go",
			"case <-full.C:\n\t\t\tfull.Reset(e.fullCheck())\n", "case <-full.C:\n\t\t\tif e.failed > 0 {\n\t\t\t\tcontinue\n\t\t\t}\n\t\t\tfull.Reset(e.fullCheck())\n"),
		of("full-is-broken", "a full disk ends the node, as a failed sync does", "full-disk", "mesh/node/turns.go",
			"return errors.Is(err, store.ErrReserve) && !errors.Is(err, store.ErrBroken)", "return errors.Is(err, store.ErrReserve) && errors.Is(err, store.ErrBroken)"),
		of("orphans-stay", "what a revision does not name any more is forgotten, and stays", "orphans", "executor/removal.go",
			"\t\tdefault:\n\t\t\to.add(*en)\n", "\t\tdefault:\n\t\t\to.forgets[en.Key] = true\n"),
		of("no-rollback", "a run that failed leaves what it did by then", "lost-handler|locked|full-file", "executor/rollback.go",
			"func (r *run) rollback(ctx context.Context) {\n", "func (r *run) rollback(ctx context.Context) {\n\tif ctx != nil {\n\t\tr.report.Result = RolledBackRun\n\t\treturn\n\t}\n"),
		of("small-majority", "two of five are a majority", "minority|two-halves|three-of", "store/ballot.go",
			"return n/2 + 1", "return max(1, (n+1)/2-(n+1)%2-n/5)"),
		of("say-before-sync", "what is to be kept is said before it is on the disk", "lost-syncs", "mesh/node/turns.go",
			"n.work.Go(func() { written <- mesh.Persist(context.Background(), n.ports.KV, changes) })",
			"n.work.Go(func() { _ = mesh.Persist(context.Background(), n.ports.KV, changes) })\n\twritten <- nil"),
		{simulation.Mutant{Name: "commit-before-sync", What: "a run is reported as done before its files are on the disk", Edits: []simulation.Edit{
			{File: "executor/commit.go", Old: "confirm(ctx context.Context) error {\n\tif err := r.e.Host.SyncFiles(); err", New: "confirm(ctx context.Context) error {\n\tif err := error(nil); err"},
			{File: "executor/commit.go", Old: "if err := r.e.Host.SyncFiles(); err != nil {\n\t\treturn fmt.Errorf(\"sync: %w\", err)\n\t}\n\tr.owned", New: "if err := error(nil); err != nil {\n\t\treturn fmt.Errorf(\"sync: %w\", err)\n\t}\n\tr.owned"},
		}}, "lost-syncs"},
		of("late-is-never", "a timer that is late by a second is forgotten", "suspended", "mesh/timers.go",
			"\trun := first.run\n", "\trun := first.run\n\tif now.Sub(first.at) > time.Second {\n\t\trun = func() {}\n\t}\n"),
		{simulation.Mutant{Name: "lane-waits", What: "a lane to a peer that could not dial waits for an hour, and nothing ends that", Edits: []simulation.Edit{
			{File: "mesh/p2p/lane.go", Old: "time.NewTimer(backoff/2 + rand.N(backoff/2))", New: "time.NewTimer(time.Hour + rand.N(backoff/2))"},
			{File: "mesh/p2p/lane.go", Old: "func (l *Lane) Retry() { nudge(l.again) }", New: "func (l *Lane) Retry() {}"},
		}}, "nobody-was-dead|offline-during"},
		of("evicted-served", "a node whose grant was revoked is still known", "evict", "mesh/node/snapshot.go",
			"_, ok := n.shown.Load().roster.Lookup(id, time.Now())\n\treturn ok", "_, ok := n.shown.Load().roster.Lookup(id, time.Now())\n\treturn ok || true"),
	}
}

// TestBugsFit: what each planted bug replaces is still there.
func TestBugsFit(t *testing.T) {
	for _, b := range bugs() {
		if _, err := b.Overlay("../..", t.TempDir()); err != nil {
			t.Error(err)
		}
	}
}

// TestPlantedBugs builds this test anew with one bug in it, which the scenarios must find.
func TestPlantedBugs(t *testing.T) {
	if *planted == "" {
		t.Skip("name bugs with -planted, or all")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	failed := regexp.MustCompile(`--- FAIL: TestScenarios/(\S+)`)
	for _, b := range bugs() {
		if *planted != "all" && !slices.Contains(strings.Split(*planted, ","), b.Name) {
			continue
		}
		t.Run(b.Name, func(t *testing.T) {
			overlay, err := b.Overlay(root, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("go", "test", "-tags", "fastverify", "-overlay", overlay, "-count=1", "-run", "TestScenarios/("+b.scenarios+")", ".")
			out, err := cmd.CombinedOutput()
			if found := failed.FindSubmatch(out); found != nil {
				t.Logf("%s: found by %s", b.What, found[1])
				return
			}
			t.Errorf("%s: not found: %v\n%.2000s", b.What, err, out)
		})
	}
}
