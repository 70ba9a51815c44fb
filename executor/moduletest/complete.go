package moduletest

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"shoal/executor"
)

// seen is which functions this process has tried.
var seen = struct {
	mu     sync.Mutex
	cases  map[string]int
	faults map[string]tally
}{cases: map[string]int{}, faults: map[string]tally{}}

// tried notes a case, or the faults of one.
func tried(function string, count tally) {
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if count == nil {
		seen.cases[function]++
		return
	}
	if seen.faults[function] == nil {
		seen.faults[function] = tally{}
	}
	for name, n := range count {
		seen.faults[function][name] += n
	}
}

// Main is a package's TestMain: its tests fail when one of its functions has no suite, or one that injects no faults. always
// are those that cannot be undone, and that no fault can be undone of. Where tests are picked by -run, only they count.
func Main(m *testing.M, modules []executor.Module, always ...string) {
	status := m.Run()
	all := true // no test was picked
	for _, arg := range os.Args[1:] {
		all = all && !picks(arg)
	}
	if status == 0 && all {
		for _, gap := range gaps(modules, always) {
			fmt.Println("FAIL: " + gap)
			status = 1
		}
		fmt.Println(injectedInAll())
	}
	os.Exit(status)
}

func gaps(modules []executor.Module, always []string) (all []string) {
	seen.mu.Lock()
	defer seen.mu.Unlock()
	for _, m := range modules {
		f := m.Function()
		name := f.FullName()
		switch {
		case seen.cases[name] == 0:
			all = append(all, name+" has no conformance suite")
		case seen.faults[name].sum() == 0 && !f.Irreversible && !slices.Contains(always, name):
			all = append(all, name+" has a conformance suite that injects no faults")
		}
	}
	return all
}

func injectedInAll() tally {
	seen.mu.Lock()
	defer seen.mu.Unlock()
	sum := tally{}
	for _, counts := range seen.faults {
		for name, n := range counts {
			sum[name] += n
		}
	}
	return sum
}

// picks: an argument that leaves tests out.
func picks(arg string) bool {
	for _, flag := range []string{"-test.run=", "-test.skip=", "-test.list=", "-test.short=true", "-test.fuzz=", "-test.bench="} {
		if len(arg) > len(flag) && arg[:len(flag)] == flag || arg == "-test.short" {
			return true
		}
	}
	return false
}
