package attacks

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update-page", false, "write the table of docs/attacks.md anew")

var planted = flag.String("planted", "", "build a binary with all bugs planted, and see that each of these attacks succeeds: names, or all")

// attack is one script.
type attack struct {
	name  string
	kind  string
	by    Who
	tries string
	bug   string // the check that stops it; without it the attack succeeds
	// run returns in what it succeeded; empty: in nothing.
	run func(t *testing.T) string
}

// all are the attacks, in the order of the table.
func all() []attack {
	return slices.Concat(pushAttacks(), headAttacks(), ballotAttacks(), acceptorAttacks(), freezeAttacks(), rosterAttacks(), rumourAttacks(), ticketAttacks(),
		logAttacks(), floodAttacks(), wireAttacks(), apiAttacks(), tokenAttacks(), treeAttacks(), hostAttacks(), secretAttacks(), dividedAttacks(), processAttacks(), processMemberAttacks(), processTokenAttacks())
}

// succeeded marks the line that says so.
const succeeded = "ATTACK SUCCEEDED: "

// TestAttacks: none succeeds. In a binary with a planted bug (planted.go) the one that is run must.
func TestAttacks(t *testing.T) {
	for _, a := range all() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			if what := a.run(t); what != "" {
				t.Error(succeeded + what)
			}
		})
	}
}

// TestTheListIsWhole: names are told apart, every attack is stopped by a check that can be taken out, and every bug has an attack.
func TestTheListIsWhole(t *testing.T) {
	names, used := map[string]bool{}, map[string]bool{}
	for _, a := range all() {
		if names[a.name] || a.name == "" || a.kind == "" || a.tries == "" || (a.by != Member && a.by != Stranger) {
			t.Errorf("attack %q is there twice, or says too little", a.name)
		}
		names[a.name], used[a.bug] = true, true
		if !slices.ContainsFunc(bugs(), func(b Bug) bool { return b.Name == a.bug }) {
			t.Errorf("attack %s: there is no bug %q", a.name, a.bug)
		}
	}
	known := map[string]bool{}
	for _, b := range bugs() {
		if known[b.Name] || !used[b.Name] {
			t.Errorf("bug %s is there twice, or no attack needs it", b.Name)
		}
		known[b.Name] = true
	}
	if len(names) < 60 {
		t.Errorf("%d attacks", len(names))
	}
}

// TestBugsFit: each check is where the bug that takes it out says it is.
func TestBugsFit(t *testing.T) {
	if _, err := Overlay(moduleRoot(t), t.TempDir(), bugs()); err != nil {
		t.Fatal(err)
	}
	for _, b := range bugs() {
		if len(b.Edits) == 0 || b.Check == "" {
			t.Errorf("bug %s changes nothing, or does not say what", b.Name)
		}
	}
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestPlanted builds this test with all bugs in it, of which the environment of each run turns one on, and sees that every attack
// succeeds then; and none where no bug is turned on.
func TestPlanted(t *testing.T) {
	if *planted == "" {
		t.Skip("name attacks with -planted, or all")
	}
	dir := t.TempDir()
	overlay, err := Overlay(moduleRoot(t), dir, bugs())
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "attacks.test")
	if out, err := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("the planted bugs do not build: %v\n%s", err, out)
	}
	agent := filepath.Join(dir, "shoal")
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", agent, "shoal/cmd/shoal").CombinedOutput(); err != nil {
		t.Fatalf("the planted bugs do not build: %v\n%s", err, out)
	}
	t.Setenv(BinaryEnv, agent)
	for _, a := range all() {
		if *planted != "all" && !slices.Contains(strings.Split(*planted, ","), a.name) {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			if out := plantedRun(binary, "", a.name); bytes.Contains(out, []byte(succeeded)) || !bytes.Contains(out, []byte("--- PASS: TestAttacks/"+a.name)) {
				t.Fatalf("without a bug: %s", out)
			}
			out := plantedRun(binary, a.bug, a.name)
			_, what, ok := strings.Cut(string(out), succeeded)
			if !ok {
				t.Fatalf("does not succeed although %s is planted:\n%s", a.bug, out)
			}
			what, _, _ = strings.Cut(what, "\n")
			t.Logf("%s: %s", a.bug, what)
		})
	}
}

func plantedRun(binary, bug, name string) []byte {
	cmd := exec.Command(binary, "-test.v", "-test.timeout=120s", "-test.run", "^TestAttacks$/^"+name+"$")
	cmd.Env = append(os.Environ(), PlantedEnv+"="+bug)
	out, _ := cmd.CombinedOutput() // a run that succeeds in its attack fails as a test
	return out
}

const page = "../../docs/attacks.md"

// TestThePage: docs/attacks.md is what the list says.
func TestThePage(t *testing.T) {
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(data), "\n| attack |")
	whole := before + "\n" + table()
	if *update {
		if err := os.WriteFile(page, []byte(whole), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(data) != whole {
		t.Error("docs/attacks.md is not what the list says; go test ./simulation/attacks -run TestThePage -update-page writes it")
	}
}

// table lists the attacks, the members' first.
func table() string {
	var b strings.Builder
	checks := map[string]string{}
	for _, bug := range bugs() {
		checks[bug.Name] = bug.Check
	}
	b.WriteString("| attack | kind | who | tries | stopped by | planted bug |\n|---|---|---|---|---|---|\n")
	for _, who := range []Who{Member, Stranger} {
		for _, a := range all() {
			if a.by == who {
				fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | `%s` |\n", a.name, a.kind, a.by, a.tries, checks[a.bug], a.bug)
			}
		}
	}
	return b.String()
}
