package membership

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Errors of a chain that callers branch on.
var (
	ErrForeignMesh  = errors.New("of another mesh")
	ErrFork         = errors.New("the trust chain forks")
	ErrGap          = errors.New("statements are missing")
	ErrUnauthorised = errors.New("not signed by enough operators")
)

// Chain is the trust chain of a mesh, verified: who the operators are and what each publisher may publish.
//
// It keeps every statement that was ever rightly signed, also two that contradict each other, and derives from them the one
// line that holds (fork.go). What is kept only grows, by set union, so nodes that have seen the same statements have the same
// chain, whatever the order.
//
// Reading is safe from many goroutines while nobody appends.
type Chain struct {
	mesh      MeshID
	threshold int
	links     map[[32]byte]*link // all that are kept, by the hash of their body
	line      []*link            // those that hold, the genesis first
	forks     []Fork
	eras      [][]ed25519.PublicKey // every set of operators that any kept statement made
	ever      map[string][]string   // key to the environments that any kept statement gave it
}

// link is a verified statement; never changed once kept.
type link struct {
	hash    [32]byte
	st      Statement
	signed  Signed
	signers []ed25519.PublicKey // of the operators before it, sorted
	after   rights
}

// rights are what holds after a statement.
type rights struct {
	operators  []ed25519.PublicKey
	publishers map[string][]string // key to environments
}

// OpenChain verifies statements from the genesis on.
func OpenChain(statements []Signed) (*Chain, error) {
	if len(statements) == 0 {
		return nil, errors.New("open trust chain: no statements")
	}
	c := &Chain{links: map[[32]byte]*link{}}
	if err := c.begin(statements[0]); err != nil {
		return nil, fmt.Errorf("open trust chain: %w", err)
	}
	for _, s := range statements[1:] {
		if err := c.Append(s); err != nil {
			return nil, fmt.Errorf("open trust chain: %w", err)
		}
	}
	return c, nil
}

func (c *Chain) begin(s Signed) error {
	st, keys, err := openStatement(s)
	if err != nil {
		return err
	}
	if err := st.CheckGenesis(); err != nil {
		return err
	}
	// Each proves that it holds its key: a threshold of keys that nobody has would be a mesh that nobody can change.
	if !enough(st.Operators, keys, len(st.Operators)) {
		return fmt.Errorf("genesis: %w", ErrUnauthorised)
	}
	c.mesh, c.threshold = sha256.Sum256(s.Body), st.Threshold
	after := rights{operators: st.Operators, publishers: map[string][]string{}}
	for _, key := range st.Operators {
		after.publishers[string(key)] = []string{AllEnvs}
	}
	c.links[c.mesh] = newLink(s, st, keys, st.Operators, after)
	c.derive()
	return nil
}

// Append adds the next statement: signed by the threshold of the operators before it, one higher than the last, and
// naming the hash of the last.
func (c *Chain) Append(s Signed) error {
	st, _, err := openStatement(s)
	if err != nil {
		return err
	}
	switch {
	case st.Mesh != c.mesh:
		err = ErrForeignMesh
	case st.Height > c.Height()+1:
		err = ErrGap
	case st.Height <= c.Height() || st.Prev != c.tip().hash:
		err = ErrFork
	default:
		_, err = c.insert(s)
	}
	if err != nil {
		return fmt.Errorf("statement %d: %w", st.Height, err)
	}
	c.derive()
	return nil
}

// insert keeps a statement whose past is kept, wherever it stands; derive then says what holds. changed tells whether it told
// anything new.
func (c *Chain) insert(s Signed) (changed bool, err error) {
	hash := sha256.Sum256(s.Body)
	old := c.links[hash]
	if old != nil && !c.tellsMore(old, s) {
		return false, nil
	}
	st, keys, err := openStatement(s)
	if err != nil {
		return false, err
	}
	before := c.links[st.Prev]
	switch {
	case st.Mesh != c.mesh:
		return false, ErrForeignMesh
	case before == nil || st.Height != before.st.Height+1:
		return false, ErrGap
	case st.Height >= MaxStatements:
		return false, fmt.Errorf("%w: %d statements", ErrLimit, MaxStatements)
	case old == nil && before != c.tip() && len(c.links)-len(c.line) >= MaxForked:
		return false, fmt.Errorf("%w: %d statements beside the chain", ErrLimit, MaxForked)
	case !enough(before.after.operators, keys, c.threshold):
		return false, ErrUnauthorised
	}
	if err := st.checkLink(); err != nil {
		return false, err
	}
	after, err := before.after.with(st, c.threshold)
	if err != nil {
		return false, err
	}
	if old != nil {
		s.Signatures = slices.Concat(old.signed.Signatures, s.Signatures)
		keys = slices.Concat(old.signers, keys)
	}
	c.links[hash] = newLink(s, st, keys, before.after.operators, after)
	return true, nil
}

// tellsMore tells whether s carries a signature of an operator that old lacks.
func (c *Chain) tellsMore(old *link, s Signed) bool {
	before := c.links[old.st.Prev]
	return before != nil && slices.ContainsFunc(s.Signatures, func(sig Signature) bool {
		return containsKey(before.after.operators, sig.Key) && !containsKey(old.signers, sig.Key)
	})
}

// newLink keeps of the signatures those of the operators, one each: of others a peer could add without end.
func newLink(s Signed, st Statement, keys, operators []ed25519.PublicKey, after rights) *link {
	l := &link{hash: sha256.Sum256(s.Body), st: st, signed: s, after: after}
	l.signed.Signatures = nil
	for _, sig := range s.Signatures {
		if containsKey(operators, sig.Key) && containsKey(keys, sig.Key) && !containsKey(l.signers, sig.Key) {
			l.signers, l.signed.Signatures = append(l.signers, sig.Key), append(l.signed.Signatures, sig)
		}
	}
	slices.SortFunc(l.signers, func(a, b ed25519.PublicKey) int { return bytes.Compare(a, b) })
	slices.SortFunc(l.signed.Signatures, func(a, b Signature) int { return bytes.Compare(a.Key, b.Key) })
	return l
}

// with is what holds after one statement more.
func (r rights) with(st Statement, threshold int) (rights, error) {
	next := rights{operators: r.operators, publishers: maps.Clone(r.publishers)}
	switch st.Kind {
	case AddOperator:
		if containsKey(r.operators, st.Key) || len(r.operators) >= MaxOperators {
			return r, fmt.Errorf("%w: the operator is there already, or there are too many", ErrLimit)
		}
		next.operators = append(slices.Clone(r.operators), st.Key)
	case RemoveOperator:
		if !containsKey(r.operators, st.Key) || len(r.operators) <= threshold {
			return r, fmt.Errorf("%w: no such operator, or too few would be left", ErrLimit)
		}
		next.operators = without(r.operators, st.Key)
		delete(next.publishers, string(st.Key))
	case GrantPublisher:
		next.publishers[string(st.Key)] = slices.Clone(st.Envs)
	case RevokePublisher:
		delete(next.publishers, string(st.Key))
	default:
		return r, fmt.Errorf("%w: kind %q", ErrLimit, st.Kind)
	}
	return next, nil
}

// derive finds out what holds, after something was kept. The line that held before is what it follows where no rule decides.
func (c *Chain) derive() {
	held := map[[32]byte]bool{}
	for _, l := range c.line {
		held[l.hash] = true
	}
	t := c.tree(held)
	c.line, c.forks = t.follow(c.links[c.mesh]), t.forks
	slices.SortFunc(c.forks, func(a, b Fork) int { return cmp.Compare(a.Height, b.Height) })
	c.eras, c.ever = nil, map[string][]string{}
	for _, l := range c.links {
		switch l.st.Kind {
		case Genesis:
			c.eras = append(c.eras, l.st.Operators)
			for _, key := range l.st.Operators {
				c.ever[string(key)] = append(c.ever[string(key)], AllEnvs)
			}
		case AddOperator, RemoveOperator:
			c.eras = append(c.eras, l.after.operators)
		case GrantPublisher:
			c.ever[string(l.st.Key)] = append(c.ever[string(l.st.Key)], l.st.Envs...)
		}
	}
}

func (c *Chain) tip() *link { return c.line[len(c.line)-1] }

// Propose fills in what ties st to the end of this chain, ready to be signed with DomainStatement.
func (c *Chain) Propose(st Statement) Statement {
	st.Mesh, st.Height, st.Prev = c.mesh, c.Height()+1, c.tip().hash
	return st
}

// Fits tells whether st could be the next statement, were it signed: ErrFork, when the chain has gone on without it; ErrGap, when
// this chain is the older one.
func (c *Chain) Fits(st Statement) error {
	err := st.checkLink()
	switch {
	case st.Mesh != c.mesh:
		err = ErrForeignMesh
	case err != nil:
	case st.Height > c.Height()+1:
		err = ErrGap
	case st.Height <= c.Height() || st.Prev != c.tip().hash:
		err = ErrFork
	default:
		_, err = c.tip().after.with(st, c.threshold)
	}
	return err
}

// RestoreChain opens what All returned.
func RestoreChain(all []Signed) (*Chain, error) {
	c, err := OpenChain(all[:min(1, len(all))])
	if err != nil {
		return nil, err
	}
	for _, s := range all[1:] { // one by one: those that hold are first, and go on holding
		if c, err = c.Extended([]Signed{s}); err != nil {
			return nil, fmt.Errorf("open trust chain: %w", err)
		}
	}
	return c, nil
}

// Mesh is the id of the mesh.
func (c *Chain) Mesh() MeshID { return c.mesh }

// Height is that of the last statement; the genesis has 0.
func (c *Chain) Height() uint64 { return uint64(len(c.line) - 1) }

// Tip is the hash of the last statement.
func (c *Chain) Tip() [32]byte { return c.tip().hash }

// Threshold is how many operators must sign a statement, a grant, a ticket or a revocation.
func (c *Chain) Threshold() int { return c.threshold }

// Operators are those of now.
func (c *Chain) Operators() []ed25519.PublicKey { return slices.Clone(c.operators()) }

// Statements are those that hold, the genesis first.
func (c *Chain) Statements() []Signed {
	statements := make([]Signed, len(c.line))
	for i, l := range c.line {
		statements[i] = l.signed
	}
	return statements
}

// All are the statements that hold, and then those that lost against them: what two nodes must both know to agree.
func (c *Chain) All() []Signed {
	all := c.Statements()
	for _, l := range c.sorted() {
		if !c.holds(l) {
			all = append(all, l.signed)
		}
	}
	return all
}

func (c *Chain) holds(l *link) bool {
	return l.st.Height < uint64(len(c.line)) && c.line[l.st.Height].hash == l.hash
}

// sorted are all links, by height and then by hash.
func (c *Chain) sorted() []*link {
	return slices.SortedFunc(maps.Values(c.links), func(a, b *link) int {
		return cmp.Or(cmp.Compare(a.st.Height, b.st.Height), bytes.Compare(a.hash[:], b.hash[:]))
	})
}

// Publishers are those of now, by key, and the environments of each.
func (c *Chain) Publishers() map[string][]string { return maps.Clone(c.tip().after.publishers) }

// Publishes tells whether key may sign revisions of env. A nil chain lets nobody.
func (c *Chain) Publishes(key ed25519.PublicKey, env string) bool {
	if c == nil {
		return false
	}
	envs := c.tip().after.publishers[string(key)]
	return slices.Contains(envs, AllEnvs) || slices.Contains(envs, env)
}

// EverPublished tells whether key could sign revisions of env at some time.
func (c *Chain) EverPublished(key ed25519.PublicKey, env string) bool {
	if c == nil {
		return false
	}
	envs := c.ever[string(key)]
	return slices.Contains(envs, AllEnvs) || slices.Contains(envs, env)
}

// Extended returns this chain with what statements tell it, in any order; itself unchanged. Err joins what was wrong with some
// of them: the others are in.
func (c *Chain) Extended(statements []Signed) (*Chain, error) {
	type numbered struct {
		height uint64
		signed Signed
	}
	var fresh []numbered
	var errs []error
	for _, s := range statements {
		if old := c.links[sha256.Sum256(s.Body)]; old != nil && !c.tellsMore(old, s) {
			continue
		}
		st, _, err := openStatement(s)
		if err == nil && st.Height == 0 {
			err = ErrForeignMesh
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fresh = append(fresh, numbered{st.Height, s})
	}
	if len(fresh) == 0 {
		return c, errors.Join(errs...)
	}
	slices.SortStableFunc(fresh, func(a, b numbered) int { return cmp.Compare(a.height, b.height) })
	longer, added := c.clone(), false
	for _, f := range fresh {
		changed, err := longer.insert(f.signed)
		if err != nil {
			errs = append(errs, fmt.Errorf("statement %d: %w", f.height, err))
		}
		added = added || changed
	}
	if !added {
		return c, errors.Join(errs...)
	}
	longer.derive()
	return longer, errors.Join(errs...)
}

// told counts what is kept: statements and their signatures.
func (c *Chain) told() int {
	n := len(c.links)
	for _, l := range c.links {
		n += len(l.signers)
	}
	return n
}

func (c *Chain) operators() []ed25519.PublicKey { return c.tip().after.operators }

// Authorises tells whether keys are enough operators of now. A nil chain has none.
func (c *Chain) Authorises(keys []ed25519.PublicKey) bool { return c != nil && c.authorises(keys) }

// EverAuthorised tells whether keys were enough operators at some time.
func (c *Chain) EverAuthorised(keys []ed25519.PublicKey) bool {
	return c != nil && c.everAuthorised(keys)
}

// authorises tells whether signers are enough operators of now.
func (c *Chain) authorises(signers []ed25519.PublicKey) bool {
	return enough(c.operators(), signers, c.threshold)
}

// everAuthorised tells whether signers were enough operators at some time, be it on a branch that lost. It never turns false as
// more is kept,
// which is what makes the roster a set union; what a record is worth today is judged when the roster is read.
func (c *Chain) everAuthorised(signers []ed25519.PublicKey) bool {
	return slices.ContainsFunc(c.eras, func(era []ed25519.PublicKey) bool { return enough(era, signers, c.threshold) })
}

func (c *Chain) everOperator(key ed25519.PublicKey) bool {
	return slices.ContainsFunc(c.eras, func(era []ed25519.PublicKey) bool { return containsKey(era, key) })
}

func (c *Chain) clone() *Chain {
	d := *c
	d.links, d.line = maps.Clone(c.links), slices.Clone(c.line)
	return &d
}

func openStatement(s Signed) (Statement, []ed25519.PublicKey, error) {
	var st Statement
	if len(s.Body) > MaxRecord {
		return st, nil, fmt.Errorf("statement: %w: %d bytes", ErrLimit, len(s.Body))
	}
	keys, err := s.Open(DomainStatement, &st)
	if err != nil {
		return st, nil, fmt.Errorf("statement: %w", err)
	}
	return st, keys, nil
}
