package bubble

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"shoal/executor"
	"shoal/membership"
	"shoal/simulation/scenario"
)

// maxShown bounds how much of what is wrong is told.
const maxShown = 20

// act does what a line says.
func (p *player) act(s scenario.Step) error {
	a := s.Action
	switch a.Verb {
	case scenario.Push:
		return p.push(s)
	case scenario.Retry:
		return p.retry(s)
	case scenario.Wait:
		return nil
	}
	p.tell("", "%s", s.Line)
	var undo func() error
	var err error
	switch a.Verb {
	case scenario.Partition, scenario.Cut, scenario.Isolate, scenario.Loss, scenario.Slow, scenario.Heal:
		undo = p.network(a)
	default:
		undo, err = p.machines(a)
	}
	if err != nil {
		return problem(s, err.Error(), "look at the lines above: each is done in its turn")
	}
	end := p.show(s)
	if a.For > 0 && undo != nil {
		p.endings = append(p.endings, ending{
			at: time.Now().Add(a.For), what: "the end of: " + s.Line, net: isNetwork(a.Verb), do: func() error {
				p.recovered(slices.Concat(a.Sets...))
				end()
				return undo()
			},
		})
	}
	return nil
}

// show begins the band of a fault, or ends those that the line ends.
func (p *player) show(s scenario.Step) (end func()) {
	a := s.Action
	switch a.Verb {
	case scenario.Heal:
		for what, over := range p.lasting {
			if what == "network" {
				over()
				delete(p.lasting, what)
			}
		}
		return func() {}
	case scenario.Start, scenario.Free, scenario.Mend, scenario.Resume:
		for _, name := range a.Sets[0] {
			if over := p.lasting[name]; over != nil {
				over()
				delete(p.lasting, name)
			}
		}
		return func() {}
	case scenario.Edit, scenario.Delete, scenario.Save, scenario.Wipe, scenario.Restore, scenario.Crash, scenario.Stop, scenario.Leave, scenario.Evict:
		return func() {} // the lane shows what comes of it
	}
	var nodes []string
	if len(a.Sets) > 0 {
		nodes = slices.Concat(a.Sets...)
	}
	var ends []func()
	if isNetwork(a.Verb) {
		over := p.band(s.Line, nodes)
		before := p.lasting["network"]
		p.lasting["network"] = func() {
			if over(); before != nil {
				before()
			}
		}
		return over
	}
	for _, name := range nodes {
		over := p.band(s.Line, []string{name})
		p.lasting[name] = over
		ends = append(ends, over)
	}
	return func() {
		for _, end := range ends {
			end()
		}
	}
}

func isNetwork(v scenario.Verb) bool {
	return slices.Contains([]scenario.Verb{scenario.Partition, scenario.Cut, scenario.Isolate, scenario.Loss, scenario.Slow}, v)
}

// network does a fault of the network and says how it ends.
func (p *player) network(a *scenario.Action) (undo func() error) {
	f := p.w.Fabric
	var cuts []int
	switch a.Verb {
	case scenario.Partition:
		for i, one := range a.Sets {
			for _, other := range a.Sets[i+1:] {
				cuts = append(cuts, f.Cut(one, other, true))
			}
		}
		p.befell("it was cut off", smaller(a.Sets))
	case scenario.Cut:
		cuts = append(cuts, f.Cut(a.Sets[0], a.Sets[1], false))
		p.befell("its network passed in one direction alone", slices.Concat(a.Sets...))
	case scenario.Isolate:
		var rest []string
		for _, name := range p.s.Names() {
			if !slices.Contains(a.Sets[0], name) {
				rest = append(rest, name)
			}
		}
		cuts = append(cuts, f.Cut(a.Sets[0], rest, true))
		p.befell("it was cut off", a.Sets[0])
	case scenario.Loss:
		f.Lose(a.Part)
		return func() error { f.Lose(0); return nil }
	case scenario.Slow:
		for _, name := range a.Sets[0] {
			f.Slow(name, a.By)
		}
		p.befell("its network was slow", a.Sets[0])
		return func() error {
			for _, name := range a.Sets[0] {
				f.Slow(name, 0)
			}
			return nil
		}
	case scenario.Heal:
		p.heal()
		return nil
	}
	return func() error {
		for _, c := range cuts {
			f.Heal(c)
		}
		return nil
	}
}

// smaller are those who are not on the largest side, the first of several.
func smaller(sides [][]string) (names []string) {
	largest := 0
	for i, side := range sides {
		if len(side) > len(sides[largest]) {
			largest = i
		}
	}
	return slices.Concat(slices.Delete(slices.Clone(sides), largest, largest+1)...)
}

// heal ends all faults of the network.
func (p *player) heal() {
	p.w.Fabric.HealAll()
	for _, m := range p.w.order {
		if m.Up() {
			p.recovered([]string{m.Name})
		}
	}
	p.endings = slices.DeleteFunc(p.endings, func(e ending) bool { return e.net })
}

// befell notes for people what may make nodes late.
func (p *player) befell(what string, names []string) {
	for _, name := range names {
		p.trouble[name] = trouble{what: what, from: p.w.Since()}
	}
}

// recovered notes that it is over.
func (p *player) recovered(names []string) {
	for _, name := range names {
		if t, ok := p.trouble[name]; ok && t.until.IsZero() {
			t.until = time.Now()
			t.over = p.w.Since()
			p.trouble[name] = t
		}
	}
}

// trouble is what befell a node.
type trouble struct {
	what       string
	from, over time.Duration
	until      time.Time // zero: it is not over
}

func (t trouble) String() string {
	if t.what == "" {
		return ""
	}
	if t.until.IsZero() {
		return fmt.Sprintf("%s from %s on", t.what, clock(t.from))
	}
	return fmt.Sprintf("%s from %s to %s", t.what, clock(t.from), clock(t.over))
}

// machines does something with each node of a set and says how it ends.
func (p *player) machines(a *scenario.Action) (undo func() error, err error) {
	var undos []func() error
	for _, name := range a.Sets[0] {
		end, err := p.machine(a, p.w.machines[name])
		if err != nil {
			return nil, err
		}
		undos = append(undos, end)
	}
	return func() error {
		var errs []error
		for _, end := range undos {
			if end != nil {
				errs = append(errs, end())
			}
		}
		return errors.Join(errs...)
	}, nil
}

func (p *player) machine(a *scenario.Action, m *Machine) (undo func() error, err error) {
	again := func() error { return p.start(m.Name, "") }
	switch a.Verb {
	case scenario.Start:
		p.recovered([]string{m.Name})
		return nil, p.start(m.Name, a.Via)
	case scenario.Crash:
		p.befell("it was down", []string{m.Name})
		return again, m.Crash()
	case scenario.Stop:
		p.befell("it was down", []string{m.Name})
		return again, m.Stop()
	case scenario.Pause:
		p.befell("it was paused", []string{m.Name})
		return func() error { return p.resume(m) }, m.Pause()
	case scenario.Resume:
		p.recovered([]string{m.Name})
		return nil, m.Resume()
	case scenario.Leave:
		p.befell("it has left", []string{m.Name})
		return nil, m.Leave()
	case scenario.Evict:
		p.befell("it was evicted", []string{m.Name})
		return nil, p.evict(m)
	case scenario.Wipe:
		return nil, m.Wipe()
	case scenario.Save:
		return nil, m.Save()
	case scenario.Restore:
		return nil, m.Restore()
	case scenario.Fill:
		m.full.Store(true)
		p.befell("its disk was full", []string{m.Name})
		return func() error { m.full.Store(false); return nil }, nil
	case scenario.Free:
		p.recovered([]string{m.Name})
		m.full.Store(false)
	case scenario.Break:
		if a.What == scenario.Syncs {
			return p.hang(m)
		}
		m.breakOf(a.What).Store(true)
		p.befell("its "+a.What+" were broken", []string{m.Name})
		return func() error { m.breakOf(a.What).Store(false); return nil }, nil
	case scenario.Mend:
		p.recovered([]string{m.Name})
		if a.What == scenario.Syncs {
			m.platter.mend()
		} else {
			m.breakOf(a.What).Store(false)
		}
	case scenario.Edit:
		return nil, m.Edit(a.Path, a.Text)
	case scenario.Delete:
		return nil, m.Delete(a.Path)
	}
	return nil, nil
}

// hang has no sync of a machine end.
func (p *player) hang(m *Machine) (undo func() error, err error) {
	if p.w.Dir != "" {
		return nil, errors.New("syncs break where the store is in memory")
	}
	p.befell("its disk synced nothing", []string{m.Name})
	m.platter.hang()
	return func() error { m.platter.mend(); return nil }, nil
}

// resume ends a pause, unless the power went meanwhile.
func (p *player) resume(m *Machine) error {
	if r := m.run.Load(); r == nil || !r.brake.stopped() {
		return nil
	}
	return m.Resume()
}

// evict has the operator revoke a node's grant, at the first node that is up.
func (p *player) evict(m *Machine) error {
	signed, err := membership.SignRevocation(membership.Revocation{Mesh: p.w.chain.Mesh(), Node: m.id}, p.w.operator)
	if err != nil {
		return err
	}
	for _, other := range p.w.order {
		if other != m && other.Up() {
			return other.Node().Submit(context.Background(), []membership.Signed{signed})
		}
	}
	return errors.New("no other node is up")
}

// Edit has somebody write a file by hand.
func (m *Machine) Edit(name, text string) error {
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		if _, err := m.host.Lstat(dir); err == nil {
			break
		}
		if err := m.mkdirAll(dir); err != nil {
			return err
		}
	}
	staged, err := m.host.Stage(name, []byte(text), executor.Meta{Mode: 0o644})
	if err == nil {
		err = m.host.Rename(staged, name)
	}
	m.platter.synced(m.host.Files)
	m.Touched(name)
	return err
}

func (m *Machine) mkdirAll(dir string) error {
	if _, err := m.host.Lstat(dir); err == nil || dir == "/" {
		return nil
	}
	if err := m.mkdirAll(path.Dir(dir)); err != nil {
		return err
	}
	return m.host.Mkdir(dir, executor.Meta{Mode: 0o755})
}

// Delete has somebody remove a file by hand.
func (m *Machine) Delete(name string) error {
	err := m.host.Remove(name)
	m.platter.synced(m.host.Files)
	m.Touched(name)
	return err
}

// check says what is not so, a line for each node that it is not true of; nothing when all of it is.
func (p *player) check(c *scenario.Check) (wrong []string) {
	if c.Fact == scenario.Agree {
		return p.agree(c)
	}
	for _, name := range c.Nodes {
		ok, why := p.fact(c, p.w.machines[name])
		if ok == c.Not {
			wrong = append(wrong, name+": "+why)
		}
	}
	return wrong
}

// fact tells whether something is true of one node, and what is.
func (p *player) fact(c *scenario.Check, m *Machine) (ok bool, why string) {
	switch c.Fact {
	case scenario.Applied, scenario.Failed, scenario.RolledBack:
		return p.ran(c, m)
	case scenario.Has, scenario.Lacks:
		data, err := m.host.ReadFile(c.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return c.Fact == scenario.Lacks, "there is no " + c.Path
		case err != nil:
			return false, err.Error()
		}
		said := fmt.Sprintf("%s holds %.60q", c.Path, data)
		return c.Fact == scenario.Has && (c.Any || strings.TrimRight(string(data), "\n") == strings.TrimRight(c.Text, "\n")), said
	case scenario.Installed:
		found, err := m.host.Installed(context.Background(), []string{c.Name})
		return err == nil && len(found) > 0, c.Name + map[bool]string{true: " is installed", false: " is not installed"}[len(found) > 0]
	case scenario.Runs:
		u, err := m.host.Unit(context.Background(), c.Name)
		return err == nil && u.Active, fmt.Sprintf("%s: active %v", c.Name, u.Active)
	case scenario.IsUp, scenario.IsDown:
		return m.Up() == (c.Fact == scenario.IsUp), map[bool]string{true: "it is up", false: "it is down"}[m.Up()]
	}
	if !m.Up() {
		return false, "it is down"
	}
	return p.knows(c, m)
}

// ran is about the last run of a machine.
func (p *player) ran(c *scenario.Check, m *Machine) (ok bool, why string) {
	last, any := m.Last()
	if !any || last.Report.Version == 0 {
		return c.None, "it has applied nothing"
	}
	r := last.Report
	why = fmt.Sprintf("%s version %d (%s): %s since %s", r.Env, r.Version, p.treeOf(r.Revision), r.Result, clock(last.At.Sub(p.w.began)))
	if r.Error != "" {
		why += ": " + r.Error
	}
	if t := p.trouble[m.Name].String(); t != "" {
		why += "; " + t
	}
	if !m.Up() {
		why += "; it is down"
	}
	if c.None {
		return false, why
	}
	want := map[scenario.Fact]executor.Result{
		scenario.Applied: executor.Converged, scenario.Failed: executor.RunFailed, scenario.RolledBack: executor.RolledBackRun,
	}[c.Fact]
	return r.Result == want && p.of[c.Tree][r.Revision], why
}

func (p *player) treeOf(revision string) string {
	for _, t := range p.s.Trees {
		if p.of[t.Name][revision] {
			return t.Name
		}
	}
	return "of no tree that was pushed here"
}

// knows is about what a node that is up says.
func (p *player) knows(c *scenario.Check, m *Machine) (ok bool, why string) {
	n := m.Node()
	switch c.Fact {
	case scenario.Sees:
		return sees(c, m)
	case scenario.Staged:
		count := len(n.Staged())
		return count == c.Count && !c.None || count == 0 && c.None, fmt.Sprintf("%d staged", count)
	case scenario.Head:
		_, env := n.Self()
		head, known := n.Heads()[env]
		if !known {
			return c.None, "it knows no head of " + env
		}
		return !c.None && p.of[c.Tree][head.Revision.String()],
			fmt.Sprintf("its head of %s is version %d (%s)", env, head.Version, p.treeOf(head.Revision.String()))
	}
	return false, "nobody knows"
}

// sees is about the status of others, themselves not counted.
func sees(c *scenario.Check, m *Machine) (ok bool, why string) {
	statuses := map[string]string{}
	for _, member := range m.Node().Members() {
		statuses[member.Name] = string(member.Status)
	}
	var seen []string
	ok = true
	for _, other := range c.Others {
		status := cmp.Or(statuses[other], "nothing")
		if status == string(membership.Suspect) {
			status = string(membership.Alive)
		}
		if other == m.Name {
			continue
		}
		if (status == c.Status) == c.Not && len(seen) < maxShown {
			seen = append(seen, other+" "+status)
		}
		ok = ok && status == c.Status
	}
	return ok, "it sees " + strings.Join(seen, ", ")
}

// agree tells who does not see what the first sees: members and who of them is up, and heads.
func (p *player) agree(c *scenario.Check) (wrong []string) {
	var first *Machine
	var want string
	for _, name := range c.Nodes {
		m := p.w.machines[name]
		if !m.Up() {
			wrong = append(wrong, name+": it is down")
			continue
		}
		if view := p.view(m); first == nil {
			first, want = m, view
		} else if view != want {
			wrong = append(wrong, fmt.Sprintf("%s sees %s, and %s %s", name, view, first.Name, want))
		}
	}
	if c.Not {
		if len(wrong) > 0 {
			return nil
		}
		return []string{"they agree"}
	}
	return wrong
}

func (p *player) view(m *Machine) string {
	var b strings.Builder
	for _, member := range m.Node().Members() {
		fmt.Fprintf(&b, "%s %s, ", member.Name, member.Status)
	}
	heads := m.Node().Heads()
	var envs []string
	for env, h := range heads {
		envs = append(envs, fmt.Sprintf("%s %d %s", env, h.Version, h.Revision.Short()))
	}
	slices.Sort(envs)
	return b.String() + strings.Join(envs, ", ")
}
