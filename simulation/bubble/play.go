package bubble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"shoal/mesh"
	"shoal/simulation/scenario"
	"shoal/store"
)

// How often the player looks, in virtual time.
const (
	lookEvery  = 100 * time.Millisecond
	watchEvery = time.Second // whether a "never" has become true
	pushTime   = 5 * time.Minute
	maxEvents  = 20_000
	// More than a few nodes start one after the other: a storm of joins takes more time to play than an hour of peace.
	fewNodes = 10
	apart    = 250 * time.Millisecond
)

// Event is something that happened, for people.
type Event struct {
	At   time.Duration
	Node string // empty: of the network, or of several
	What string
}

func (e Event) String() string {
	return fmt.Sprintf("%10s  %-8s %s", clock(e.At), e.Node, e.What)
}

// Clock is the time of the event.
func (e Event) Clock() string { return clock(e.At) }

// Result is what came of a scenario.
type Result struct {
	Scenario *scenario.Scenario
	Problem  error // nil: all was as it is to be
	Events   []Event
	Virtual  time.Duration
	Wall     time.Duration
	Pushed   bool // something was committed
	Traffic  map[string]Traffic
	Nodes    []NodeResult
	Trace    uint64              // a hash of all that was sent
	Lanes    map[string][]Sample // by machine
	Bands    []Band
	Messages []Message // the last ones
}

// NodeResult is one machine at the end.
type NodeResult struct {
	Name    string
	Up      bool
	Version uint64
	Result  string
	Error   string
	// Took is from the last push that was committed to the first run that made the machine match it; negative: it does not.
	Took time.Duration
	// Why it took longer than most, or did not happen.
	Why string
}

// ending is a fault that is to end.
type ending struct {
	at   time.Time
	what string
	do   func() error
	net  bool // heal ends it
}

// player goes through a scenario.
type player struct {
	s       *scenario.Scenario
	w       *World
	trees   map[string]fs.FS
	of      map[string]map[string]bool // revisions of each tree, as their hashes are written
	endings []ending
	never   []scenario.Step
	looked  time.Time
	events  []Event
	beat    *atomic.Uint64
	last    pushed
	trouble map[string]trouble // what has befallen each node last
	lanes   map[string][]Sample
	bands   []Band
	lasting map[string]func() // ends of bands that only another line ends, by machine or "network"
}

// pushed is the newest push that was committed.
type pushed struct {
	at       time.Time
	revision store.Hash
	env      string
}

// Options of Play. All may be zero.
type Options struct {
	Dir  string         // for the stores of a scenario that wants them on disk
	Log  *os.File       // gets what the nodes log
	Beat *atomic.Uint64 // grows as time passes
	// Unwatched: nobody looks from outside whether time passes. It would change the order of what runs.
	Unwatched bool
}

// Play runs a scenario. It must be called in a bubble, and leaves nothing running there.
func Play(s *scenario.Scenario, o Options) *Result {
	r := &Result{Scenario: s}
	w, err := NewWorld(s.Seed)
	if err != nil {
		r.Problem = err
		return r
	}
	w.Grace, w.FullCheck = s.Grace, s.Check
	if s.OnDisk {
		w.Dir = o.Dir
	}
	if o.Log != nil {
		w.Log = o.Log
	}
	if o.Beat == nil {
		o.Beat = &atomic.Uint64{}
	}
	p := &player{
		s: s, w: w, trees: map[string]fs.FS{}, of: map[string]map[string]bool{}, beat: o.Beat,
		trouble: map[string]trouble{}, lanes: map[string][]Sample{}, lasting: map[string]func(){},
	}
	r.Problem = p.play()
	p.sample()
	r.Lanes, r.Bands = p.lanes, p.bands
	r.Virtual = w.Since()
	r.Pushed = !p.last.revision.IsZero()
	r.Traffic, r.Trace, r.Messages = w.Fabric.Traffic(), w.Fabric.Trace(), w.Fabric.Messages()
	r.Nodes = p.nodes()
	if err := w.Close(); r.Problem == nil {
		r.Problem = err
	}
	r.Events = p.all()
	return r
}

func (p *player) play() error {
	if err := p.open(); err != nil {
		return err
	}
	for _, n := range p.s.Nodes {
		p.w.Add(n.Name, n.Zone, tagsOf(n.Tags))
	}
	if err := p.startAll(); err != nil {
		return err
	}
	for _, step := range p.s.Steps {
		if err := p.step(step); err != nil {
			return err
		}
	}
	return p.finish()
}

// startAll starts the nodes that are not for later.
func (p *player) startAll() error {
	var now []*Machine
	for _, n := range p.s.Nodes {
		if !n.Later {
			now = append(now, p.w.machines[n.Name])
		}
	}
	if p.s.Acquainted {
		return p.w.startAcquainted(now, p.pass)
	}
	for _, m := range now {
		if err := p.start(m.Name, ""); err != nil {
			return fmt.Errorf("start %s: %w", m.Name, err)
		}
		p.beat.Add(1)
		if len(p.s.Nodes) > fewNodes {
			time.Sleep(apart)
		}
	}
	return nil
}

// pass lets time pass before the first step.
func (p *player) pass(d time.Duration) {
	for ; d > 0; d -= watchEvery {
		p.beat.Add(1)
		time.Sleep(min(d, watchEvery))
	}
}

// open reads the trees that are in folders.
func (p *player) open() error {
	for _, t := range p.s.Trees {
		p.of[t.Name] = map[string]bool{}
		if p.trees[t.Name] = t.Files; t.From == "" {
			continue
		}
		dir := t.From
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(filepath.Dir(p.s.File), dir)
		}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return &scenario.Problem{Pos: t.Pos, What: fmt.Sprintf("there is no folder %s", dir), Do: "a folder is named from where the scenario's file is"}
		}
		p.trees[t.Name] = os.DirFS(dir)
	}
	return nil
}

// problem says what is wrong with a step, and what it looks like instead.
func problem(s scenario.Step, what, do string) error {
	return &scenario.Problem{Pos: s.Pos, Line: strings.Repeat(" ", s.Pos.Col-1) + s.Line, What: what, Do: do}
}

func (p *player) step(s scenario.Step) error {
	switch s.Clock {
	case scenario.At:
		if late := p.w.Since() - s.When; late > 0 && s.When > 0 {
			return problem(s, fmt.Sprintf("this is to be at %s, but the lines above took until %s", s.When, clock(p.w.Since())),
				"give it a later time, or write after instead of at")
		}
		if err := p.sleep(s, p.w.began.Add(s.When)); err != nil {
			return err
		}
	case scenario.After:
		if err := p.sleep(s, time.Now().Add(s.When)); err != nil {
			return err
		}
	case scenario.Never:
		p.never = append(p.never, s)
		return p.watch()
	case scenario.Eventually:
		return p.eventually(s)
	}
	if s.Check != nil {
		if wrong := p.check(s.Check); len(wrong) > 0 {
			return problem(s, "this is not so at "+clock(p.w.Since()), strings.Join(wrong, "\n    "))
		}
		return nil
	}
	return p.act(s)
}

func (p *player) eventually(s scenario.Step) error {
	began := time.Now()
	for {
		wrong := p.check(s.Check)
		if len(wrong) == 0 {
			p.tell("", "%s: yes, after %s", s.Line, clock(time.Since(began)))
			return nil
		}
		if time.Since(began) >= s.When {
			return problem(s, fmt.Sprintf("this did not become true by %s", clock(p.w.Since())), strings.Join(wrong, "\n    "))
		}
		if err := p.sleep(s, time.Now().Add(lookEvery)); err != nil {
			return err
		}
	}
}

// sleep lets time pass, ends the faults that end meanwhile, and watches what must never be.
func (p *player) sleep(s scenario.Step, until time.Time) error {
	for {
		p.beat.Add(1)
		if err := p.endFaults(); err != nil {
			return problem(s, err.Error(), "this happened while the line was waited for")
		}
		if time.Since(p.looked) >= watchEvery {
			if err := p.watch(); err != nil {
				return err
			}
		}
		left := time.Until(until)
		if left <= 0 {
			return nil
		}
		next := min(left, watchEvery)
		for _, e := range p.endings {
			next = min(next, max(0, time.Until(e.at)))
		}
		time.Sleep(next)
	}
}

func (p *player) endFaults() error {
	for {
		due := -1
		for i, e := range p.endings {
			if !e.at.After(time.Now()) && (due < 0 || e.at.Before(p.endings[due].at)) {
				due = i
			}
		}
		if due < 0 {
			return nil
		}
		e := p.endings[due]
		p.endings = slices.Delete(p.endings, due, due+1)
		p.tell("", "%s", e.what)
		if err := e.do(); err != nil {
			return fmt.Errorf("%s: %w", e.what, err)
		}
	}
}

// watch looks at what must never be, and at the invariants.
func (p *player) watch() error {
	p.looked = time.Now()
	p.sample()
	for _, s := range p.never {
		if node, so := p.anyOf(*s.Check); so {
			return problem(s, "this is so at "+clock(p.w.Since())+node, "it was never to be")
		}
	}
	if broken := p.w.Broken(); len(broken) > 0 {
		return fmt.Errorf("%s: an invariant was broken:\n    %s", p.s.File, strings.Join(broken, "\n    "))
	}
	return nil
}

// anyOf tells whether a check is true of one of its nodes, or, where it is about what they see, of one whom one of them sees: what is
// never to be is to be so of none.
func (p *player) anyOf(c scenario.Check) (which string, so bool) {
	if c.Fact == scenario.Agree {
		return "", len(p.check(&c)) == 0
	}
	nodes, others := c.Nodes, c.Others
	if len(others) == 0 {
		others = []string{""}
	}
	for _, node := range nodes {
		for _, other := range others {
			c.Nodes, c.Others = []string{node}, []string{other}
			if other == node {
				continue
			}
			if len(p.check(&c)) == 0 {
				return ", of " + strings.TrimSpace(node+" "+other), true
			}
		}
	}
	return "", false
}

// finish looks at the invariants once more, with the history of a node that is up and not behind.
func (p *player) finish() error {
	if err := p.watch(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var unsure error
	down := false
	for _, m := range p.w.order {
		if !m.Up() {
			down = true
			continue
		}
		err := p.w.CheckAcknowledged(ctx, m)
		if !errors.Is(err, errUnsure) {
			return err
		}
		unsure = err
	}
	if down {
		return nil // those who know may be the ones that are not here
	}
	return unsure
}

func (p *player) tell(node, format string, args ...any) {
	if len(p.events) < maxEvents {
		p.events = append(p.events, Event{p.w.Since(), node, fmt.Sprintf(format, args...)})
	}
}

// all are the events and the runs, in order.
func (p *player) all() []Event {
	events := slices.Clone(p.events)
	for _, m := range p.w.order {
		shown := ""
		for _, run := range m.Runs() {
			r := run.Report
			text := fmt.Sprintf("%s version %d: %s", r.Env, r.Version, r.Result)
			if r.Changed > 0 {
				text += fmt.Sprintf(", %d changed", r.Changed)
			}
			if r.Error != "" {
				text += ": " + firstLine(r.Error)
			}
			if text == shown {
				continue
			}
			shown = text
			events = append(events, Event{run.At.Sub(p.w.began), m.Name, text})
		}
	}
	slices.SortStableFunc(events, func(a, b Event) int { return int(a.At - b.At) })
	return events[:min(len(events), maxEvents)]
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// start starts a node; a new one joins through via, or through the first that is up.
func (p *player) start(name, via string) error {
	m := p.w.machines[name]
	var join []string
	for _, other := range p.w.order {
		if other != m && (other.Up() && via == "" || other.Name == via) {
			join = []string{other.addr}
			break
		}
	}
	return m.Start(join)
}

// push publishes trees, all at once, while time goes on.
func (p *player) push(s scenario.Step) error {
	a := s.Action
	env := a.Env
	if env == "" {
		env = "production"
	}
	results := make([]mesh.PushResult, len(a.Pushes))
	errs := make([]error, len(a.Pushes))
	done := make(chan struct{}, len(a.Pushes))
	began := time.Now()
	all := make(chan struct{}) // closed when each operator has looked: those who push at once push on one parent
	var looking atomic.Int32
	looking.Store(int32(len(a.Pushes)))
	wait := func() {
		if looking.Add(-1) == 0 {
			close(all)
		}
		<-all
	}
	for i, push := range a.Pushes {
		p.tell(push.Node, "the operator pushes %s here", push.Tree)
		at, tree := p.w.machines[push.Node], p.trees[push.Tree]
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), pushTime)
			defer cancel()
			results[i], errs[i] = p.w.Push(ctx, at, env, tree, wait)
			done <- struct{}{}
		}()
	}
	if err := p.await(s, done, len(a.Pushes)); err != nil {
		return err
	}
	said := map[string]int{}
	for i, push := range a.Pushes {
		if errs[i] != nil {
			return problem(s, fmt.Sprintf("the push of %s failed", push.Tree), errs[i].Error())
		}
		r := results[i]
		said[string(r.Status)]++
		if !r.Revision.IsZero() {
			p.of[push.Tree][r.Revision.String()] = true
		}
		text := fmt.Sprintf("%s %s version %d after %s", r.Status, r.Env, r.Version, clock(time.Since(began)))
		if r.Why != "" {
			text += ": " + firstLine(r.Why)
		}
		p.tell(push.Node, "%s", text)
		if r.Status == store.Committed {
			p.newest(r)
		}
	}
	return p.judge(s, said, results)
}

// newest notes a committed push: from now on nodes are late. One that has changed nothing makes nobody late.
func (p *player) newest(r mesh.PushResult) {
	if p.last.env == r.Env && p.last.revision == r.Revision {
		return
	}
	p.last = pushed{time.Now(), r.Revision, r.Env}
	for name, t := range p.trouble {
		if !t.until.IsZero() {
			delete(p.trouble, name)
		}
	}
}

func (p *player) judge(s scenario.Step, said map[string]int, results []mesh.PushResult) error {
	want := s.Action.Count
	if want == 0 {
		want = len(results)
	}
	if said[s.Action.Expect] == want || s.Action.Expect == scenario.Any {
		return nil
	}
	var lines []string
	for i, r := range results {
		line := fmt.Sprintf("it was %s", r.Status)
		if len(s.Action.Pushes) > 0 {
			line = fmt.Sprintf("%s at %s was %s", s.Action.Pushes[i].Tree, s.Action.Pushes[i].Node, r.Status)
		}
		if r.Why != "" {
			line += ": " + r.Why
		}
		lines = append(lines, line)
	}
	return problem(s, fmt.Sprintf("%s is expected, of %d", s.Action.Expect, want), strings.Join(lines, "\n    "))
}

// await lets time go on until so many are done.
func (p *player) await(s scenario.Step, done chan struct{}, count int) error {
	for count > 0 {
		select {
		case <-done:
			count--
			continue
		default:
		}
		if err := p.sleep(s, time.Now().Add(10*time.Millisecond)); err != nil {
			for ; count > 0; count-- {
				<-done
			}
			return err
		}
	}
	return nil
}

// retry has a node try again what is staged there.
func (p *player) retry(s scenario.Step) error {
	m := p.w.machines[s.Action.Sets[0][0]]
	if !m.Up() {
		return problem(s, m.Name+" is down", "start it first")
	}
	n := m.Node()
	var results []mesh.PushResult
	var failed error
	done := make(chan struct{}, 1)
	go func() {
		defer func() { done <- struct{}{} }()
		ctx, cancel := context.WithTimeout(context.Background(), pushTime)
		defer cancel()
		for _, staged := range n.Staged() {
			r, err := n.Push(ctx, staged.Revision, nil)
			if failed = err; err != nil {
				return
			}
			if results = append(results, r); r.Status == store.Committed {
				p.w.acknowledged(r)
			}
		}
	}()
	if err := p.await(s, done, 1); err != nil {
		return err
	}
	if failed != nil {
		return problem(s, "the push failed", failed.Error())
	}
	said := map[string]int{}
	for _, r := range results {
		said[string(r.Status)]++
		p.tell(m.Name, "tried again: %s %s version %d", r.Status, r.Env, r.Version)
	}
	if len(results) == 0 {
		return problem(s, "nothing is staged at "+m.Name, "it may be committed already: mesh tries by itself too")
	}
	return p.judge(s, said, results)
}
