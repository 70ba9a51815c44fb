package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// step reads a line of the timeline.
func (p *parser) step(l *line, clock Clock) {
	s := Step{Pos: l.pos(l.words[0].col), Line: strings.TrimSpace(l.text), Clock: clock}
	switch clock {
	case At, After:
		s.When = l.duration(anyLine)
	case "then":
		s.Clock = After
	case Eventually:
		const example = "eventually within 60s all applied v2"
		l.need("within", example)
		s.When = l.duration(example)
	}
	switch {
	case clock == Eventually || clock == Never || l.is("expect"):
		s.Check = p.check(l)
	default:
		s.Action = p.action(l)
	}
	if l.problem != nil {
		return
	}
	if s.Clock == At {
		if s.When < p.lastAt.When {
			l.fail(l.words[1].col, fmt.Sprintf("%s is before the line above it, which is at %s", s.When, p.lastAt.When),
				"lines stand in the order of their times")
			return
		}
		p.lastAt = s
	}
	p.s.Steps = append(p.s.Steps, s)
}

const setExample = "{a, b}"

// nodesOf reads a set: all, a name, or several in braces.
func (p *parser) nodesOf(l *line, example string) []string {
	if l.problem != nil {
		return nil
	}
	if l.is("all") {
		return p.s.Names()
	}
	if !l.is("{") {
		return []string{p.known(l, example)}
	}
	var names []string
	for l.problem == nil {
		names = append(names, p.known(l, example))
		if l.is("}") {
			return names
		}
		if l.problem == nil && !l.is(",") {
			got := l.next(`"}"`, example)
			if l.problem == nil {
				l.wrong(fmt.Sprintf("%q stands where , or } is to be", got), "write a set as "+setExample)
			}
		}
	}
	return nil
}

// known reads the name of a node that was declared above.
func (p *parser) known(l *line, example string) string {
	name := l.next("a node", example)
	if l.problem == nil && !slices.Contains(p.s.Names(), name) {
		names := p.s.Names()
		if len(names) > 12 {
			names = append(slices.Clone(names[:12]), "…")
		}
		l.wrong(fmt.Sprintf("there is no node %q", name), "the nodes are: "+list(names)+"; all stands for each of them")
	}
	return name
}

// verbs are the actions with an example of each.
var verbs = map[Verb]string{
	Start: "at 90s start d via a", Crash: "at 30s crash {b, c} for 20s", Stop: "at 30s stop b for 20s", Leave: "at 30s leave b",
	Pause: "at 30s pause b for 20s", Resume: "at 90s resume b",
	Evict: "at 30s evict b", Wipe: "then wipe b", Save: "at 30s save b", Restore: "then restore b",
	Partition: "at 30s partition {a, b} | {c, d} for 60s", Cut: "at 30s cut a > {b, c} for 60s", Isolate: "at 30s isolate a for 60s",
	Loss: "at 30s loss 25% for 60s", Slow: "at 30s slow b by 1500ms for 60s", Heal: "at 90s heal",
	Fill: "at 30s fill b for 60s", Free: "at 90s free b", Break: "at 30s break b services for 60s", Mend: "at 90s mend b services",
	Push: "at 45s push v2 to d expect staged", Retry: "then retry d expect committed",
	Edit: `at 60s edit b /etc/motd "by hand"`, Delete: "at 60s delete b /etc/motd", Wait: "at 90s wait",
}

func verbNames() string {
	var names []string
	for v := range verbs {
		names = append(names, string(v))
	}
	slices.Sort(names)
	return strings.Join(names, ", ") + " or expect"
}

func (p *parser) action(l *line) *Action {
	verb := Verb(l.next("what happens", anyLine))
	example, ok := verbs[verb]
	if l.problem != nil {
		return nil
	}
	if !ok {
		l.wrong(fmt.Sprintf("nothing is called %q", verb), "what happens is one of "+verbNames()+"; for example: "+anyLine)
		return nil
	}
	a := &Action{Verb: verb}
	switch verb {
	case Heal, Wait:
	case Loss:
		a.Part = p.percent(l, example)
	case Push:
		p.push(l, a, example)
	case Retry:
		a.Sets = [][]string{{p.known(l, example)}}
		a.Expect = p.outcome(l, "committed")
	default:
		a.Sets = [][]string{p.nodesOf(l, example)}
		p.details(l, a, example)
	}
	if l.is("for") {
		if !lasts(verb) {
			l.wrong(fmt.Sprintf("%s has no end of its own", verb), "for example: "+example)
		}
		if a.For = l.duration(example); l.problem == nil && a.For == 0 {
			l.wrong("it is to last for no time at all", "for example: "+example)
		}
	}
	l.end(example)
	return a
}

// lasts tells which actions can end by themselves.
func lasts(v Verb) bool {
	return slices.Contains([]Verb{Crash, Stop, Pause, Partition, Cut, Isolate, Loss, Slow, Fill, Break}, v)
}

func (p *parser) details(l *line, a *Action, example string) {
	switch a.Verb {
	case Start:
		if l.is("via") {
			a.Via = p.known(l, example)
		}
	case Partition:
		for l.is("|") {
			a.Sets = append(a.Sets, p.nodesOf(l, example))
		}
		if l.problem == nil && len(a.Sets) < 2 {
			l.wrong("a partition has two sides or more", "for example: "+example)
		}
		p.apart(l, a, example)
	case Cut:
		l.need(">", example)
		a.Sets = append(a.Sets, p.nodesOf(l, example))
		p.apart(l, a, example)
	case Slow:
		l.need("by", example)
		a.By = l.duration(example)
	case Break, Mend:
		a.What = l.next("what breaks", example)
		if l.problem == nil && !slices.Contains(breakable, a.What) {
			l.wrong(fmt.Sprintf("%q cannot break", a.What), "what breaks is "+strings.Join(breakable, ", "))
		}
	case Edit, Delete:
		a.Path = p.path(l, example)
		if a.Verb == Edit {
			a.Text = l.next("what is to be in the file", example)
		}
	}
}

// Syncs is what breaks when the disk takes what is written, and no sync of it ends.
const Syncs = "syncs"

var breakable = []string{"packages", "services", "commands", "files", Syncs}

func (p *parser) path(l *line, example string) string {
	name := l.next("a path", example)
	if l.problem == nil && !strings.HasPrefix(name, "/") {
		l.wrong(fmt.Sprintf("the path %q is not absolute", name), "for example: "+example)
	}
	return name
}

// apart complains about a node that is on two sides.
func (p *parser) apart(l *line, a *Action, example string) {
	seen := map[string]bool{}
	for _, set := range a.Sets {
		for _, name := range set {
			if l.problem == nil && seen[name] {
				l.wrong(fmt.Sprintf("%s is on two sides", name), "for example: "+example)
			}
			seen[name] = true
		}
	}
}

func (p *parser) percent(l *line, example string) float64 {
	text := l.next("a part", example)
	if l.problem != nil {
		return 0
	}
	number, ok := strings.CutSuffix(text, "%")
	part, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(part >= 0 && part <= 100) {
		l.wrong(fmt.Sprintf("%q is no part", text), "write it from 0% to 100%, as in: "+example)
		return 0
	}
	return part / 100
}

// outcomes are what a push may come to; any of them is what nobody wants to say.
var outcomes = []string{"committed", "staged", "diverged", "refused", "unavailable", Any}

func (p *parser) push(l *line, a *Action, example string) {
	for {
		tree := l.next("a tree", example)
		l.need("to", example)
		a.Pushes = append(a.Pushes, PushTo{tree, p.known(l, example)})
		if !l.is("and") {
			break
		}
	}
	if l.is("env") {
		a.Env = l.next("an environment", "at 45s push v2 to d env staging")
	}
	a.Expect = "committed"
	if !l.is("expect") {
		return
	}
	if l.is("one") {
		a.Count = 1
		if len(a.Pushes) < 2 {
			l.wrong("there is one push alone", "for example: "+example)
		}
	}
	a.Expect = p.oneOf(l, outcomes)
}

func (p *parser) outcome(l *line, otherwise string) string {
	if !l.is("expect") {
		return otherwise
	}
	return p.oneOf(l, outcomes)
}

func (p *parser) oneOf(l *line, words []string) string {
	got := l.next("what is expected", verbs[Push])
	if l.problem == nil && !slices.Contains(words, got) {
		l.wrong(fmt.Sprintf("%q is not what can be expected", got), "it is "+strings.Join(words, ", ")+", or one of these of several pushes: expect one committed")
	}
	return got
}

// facts are the checks with an example of each.
var facts = map[string]string{
	"applied": "eventually within 60s all applied v2", "failed": "eventually within 60s b failed v2",
	"rolled": "eventually within 60s b rolled back v2", "has": `then expect b has /etc/motd "hello"`, "lacks": "then expect b lacks /etc/motd",
	"sees": "eventually within 30s all sees d failed", "staged": "then expect d staged 1", "head": "eventually within 60s all head v2",
	"agree": "eventually within 60s all agree", "runs": "then expect b runs nginx", "installed": "then expect b installed nginx",
	"up": "then expect b up", "down": "then expect b down",
}

func (p *parser) check(l *line) *Check {
	const example = "eventually within 60s all applied v2"
	c := &Check{Nodes: p.nodesOf(l, example)}
	c.Not = l.is("not")
	fact := l.next("what is true of them", example)
	if l.problem != nil {
		return nil
	}
	c.Fact = Fact(fact)
	example2, ok := facts[fact]
	if !ok {
		var names []string
		for name := range facts {
			names = append(names, name)
		}
		slices.Sort(names)
		l.wrong(fmt.Sprintf("nodes cannot be %q", fact), "what can be true of nodes is: "+strings.Join(names, ", ")+"; for example: "+example)
		return nil
	}
	p.object(l, c, example2)
	l.end(example2)
	return c
}

// object reads what a fact is about.
func (p *parser) object(l *line, c *Check, example string) {
	switch c.Fact {
	case "rolled":
		l.need("back", example)
		c.Fact, c.Tree = RolledBack, l.next("a tree", example)
	case Applied, Head:
		if c.None = l.is("nothing"); !c.None {
			c.Tree = l.next("a tree", example)
		}
	case Failed:
		c.Tree = l.next("a tree", example)
	case Has:
		c.Path = p.path(l, example)
		if c.Any = !l.more(); !c.Any {
			c.Text = l.next("what is in it", example)
		}
	case Lacks:
		c.Path = p.path(l, example)
	case Sees:
		c.Others = p.nodesOf(l, example)
		c.Status = l.next("how they are seen", example)
		if l.problem == nil && !slices.Contains([]string{"alive", "failed", "left", "nothing"}, c.Status) {
			l.wrong(fmt.Sprintf("nobody is seen %q", c.Status), "it is alive, failed, left or nothing")
		}
	case Staged:
		if c.None = l.is("nothing"); !c.None {
			c.Count = l.integer("a number", example, 1, 1000)
		}
	case Runs, Installed:
		c.Name = l.next("a name", example)
	}
}

// Length is how long the timeline is at least.
func (s *Scenario) Length() (total time.Duration) {
	for _, step := range s.Steps {
		switch step.Clock {
		case At:
			total = max(total, step.When)
		case After:
			total += step.When
		}
	}
	return total
}
