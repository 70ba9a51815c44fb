package bubble

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shoal/simulation/scenario"
)

// TestScenarios plays all of testdata/*.scenario.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.scenario")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".scenario")
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each has a bubble of its own
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := scenario.Parse(file, text)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			r := Run(t, s, Options{Dir: t.TempDir()})
			if r.Problem != nil {
				t.Errorf("%v\n%s\nagain: go test ./simulation/bubble -run 'TestScenarios/%s$'%s", r.Problem, r.Timeline(), name, pageOf(r, name))
			}
			t.Logf("%s of %d nodes in %s", clock(r.Virtual), len(r.Nodes), time.Since(began).Round(time.Millisecond))
		})
	}
}

// pageOf writes what happened where a person can look at it.
func pageOf(r *Result, name string) string {
	f, err := os.Create(filepath.Join(os.TempDir(), "shoal-"+name+".html"))
	if err != nil {
		return ""
	}
	defer f.Close()
	if r.Page(f) != nil {
		return ""
	}
	return "\nlook at: " + f.Name()
}
