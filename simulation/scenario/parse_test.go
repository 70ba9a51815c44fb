package scenario

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what is printed now as what is wanted")

// TestBadScenarios compares what is said of each wrong file with what a person has read.
func TestBadScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.scenario")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".scenario"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(name, text)
			if err == nil {
				t.Fatal("nothing is wrong with it")
			}
			got := err.Error() + "\n"
			golden := strings.TrimSuffix(file, ".scenario") + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

const good = `title all of it   # not this
seed 7
store disk
set grace 2m
set check 1m
node a b zone z1 tag role=web tag env=staging
nodes 3 named n zones 2 later
tree v1 file /etc/motd "one\n"
tree v1 file /etc/issue "#two"
tree v2 from ../trees/web   # a folder
at 0s start {n1, n2} via a
at 10s partition {a} | {b, n1} | n2 for 1m
after 5s cut a > {b, n1}
then isolate b for 7d
at 24h loss 12.5%
then push v1 to a and v2 to b env staging expect one committed
then retry a
then expect a not has /etc/motd "x"
never all rolled back v2
eventually within 90s {a, b} sees n1 failed
then break a services for 5s
then edit a /etc/motd ""
eventually within 5s a staged 2
eventually within 5s a staged nothing
eventually within 5s a has /etc/motd
-- v3/site.yaml --
targets: []
-- v3/components/c/states.yaml --
states: {}
`

func TestParse(t *testing.T) {
	s, err := Parse("x.scenario", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if s.Title != "all of it" || s.Seed != 7 || !s.OnDisk || s.Grace != 2*time.Minute || s.Check != time.Minute {
		t.Errorf("%+v", s)
	}
	if len(s.Nodes) != 5 || s.Nodes[1].Tags["env"] != "staging" || s.Nodes[2].Name != "n1" || s.Nodes[3].Zone != "z2" || !s.Nodes[4].Later {
		t.Errorf("nodes %+v", s.Nodes)
	}
	if len(s.Trees) != 3 || s.Trees[1].From != "../trees/web" || s.Trees[2].Name != "v3" {
		t.Errorf("trees %+v", s.Trees)
	}
	partition, cut, isolate, loss, push := s.Steps[1].Action, s.Steps[2].Action, s.Steps[3].Action, s.Steps[4].Action, s.Steps[5].Action
	if len(partition.Sets) != 3 || partition.For != time.Minute || cut.Sets[1][1] != "n1" || isolate.For != 7*24*time.Hour || loss.Part != 0.125 {
		t.Errorf("%+v %+v %+v %+v", partition, cut, isolate, loss)
	}
	if len(push.Pushes) != 2 || push.Pushes[1] != (PushTo{"v2", "b"}) || push.Env != "staging" || push.Count != 1 || push.Expect != "committed" {
		t.Errorf("%+v", push)
	}
	if check := s.Steps[7].Check; !check.Not || check.Fact != Has || check.Text != "x" {
		t.Errorf("%+v", check)
	}
	if check := s.Steps[8].Check; check.Fact != RolledBack || check.Tree != "v2" || len(check.Nodes) != 5 {
		t.Errorf("%+v", check)
	}
	if s.Steps[9].When != 90*time.Second || s.Steps[9].Check.Status != "failed" {
		t.Errorf("%+v", s.Steps[9])
	}
}

// TestEachVerbHasAnExampleThatParses: the messages show these.
func TestEachVerbHasAnExampleThatParses(t *testing.T) {
	const around = "node a b c d\ntree v1 file /m \"1\"\ntree v2 file /m \"2\"\n"
	var examples []string
	for _, e := range verbs {
		examples = append(examples, e)
	}
	for _, e := range facts {
		examples = append(examples, e)
	}
	for _, e := range examples {
		if _, err := Parse("x", []byte(around+e+"\n")); err != nil {
			t.Errorf("%s\n%v", e, err)
		}
	}
}

// FuzzParse looks for text that breaks the parser: it returns a scenario or problems that say where.
func FuzzParse(f *testing.F) {
	f.Add(good)
	files, _ := filepath.Glob("testdata/bad/*.scenario")
	more, _ := filepath.Glob("../bubble/testdata/*.scenario")
	for _, file := range append(files, more...) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("x", []byte(text))
		if err == nil {
			if len(s.Nodes) == 0 || len(s.Nodes) > maxNodes {
				t.Errorf("%d nodes", len(s.Nodes))
			}
			return
		}
		var problems Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("not problems: %v", err)
		}
		for _, p := range problems {
			if p.Pos.Line < 1 || p.Pos.Col < 1 || p.What == "" || p.Do == "" {
				t.Errorf("%+v", p)
			}
			_ = p.Error()
		}
	})
}
