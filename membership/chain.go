package membership

import (
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

// Chain is the trust chain of a mesh, verified: who the operators are and what each publisher may publish. It only
// grows. A second statement at a height that has one is refused, for good: with "the longest wins" an operator who was
// removed could write history anew.
//
// Reading is safe from many goroutines while nobody appends.
type Chain struct {
	statements []Signed
	hashes     [][32]byte
	mesh       MeshID
	threshold  int
	eras       [][]ed25519.PublicKey // every set of operators there was; the last one rules
	publishers map[string][]string   // key to environments
	ever       map[string][]string   // the same, of all times
}

// OpenChain verifies statements from the genesis on.
func OpenChain(statements []Signed) (*Chain, error) {
	if len(statements) == 0 {
		return nil, errors.New("open trust chain: no statements")
	}
	c := &Chain{publishers: map[string][]string{}, ever: map[string][]string{}}
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
	if err := st.checkGenesis(); err != nil {
		return err
	}
	// Each proves that it holds its key: a threshold of keys that nobody has would be a mesh that nobody can change.
	if !enough(st.Operators, keys, len(st.Operators)) {
		return fmt.Errorf("genesis: %w", ErrUnauthorised)
	}
	c.mesh, c.threshold = sha256.Sum256(s.Body), st.Threshold
	c.eras = [][]ed25519.PublicKey{st.Operators}
	for _, key := range st.Operators {
		c.grantPublisher(key, []string{AllEnvs})
	}
	c.keep(s)
	return nil
}

// Append adds the next statement: signed by the threshold of the operators before it, one higher than the last, and
// naming the hash of the last.
func (c *Chain) Append(s Signed) error {
	st, keys, err := openStatement(s)
	if err != nil {
		return err
	}
	if err := c.admissible(st, keys); err != nil {
		return fmt.Errorf("statement %d: %w", st.Height, err)
	}
	if err := c.apply(st); err != nil {
		return fmt.Errorf("statement %d: %w", st.Height, err)
	}
	c.keep(s)
	return nil
}

func (c *Chain) admissible(st Statement, keys []ed25519.PublicKey) error {
	switch {
	case st.Mesh != c.mesh:
		return ErrForeignMesh
	case st.Height > c.Height()+1:
		return ErrGap
	case st.Height <= c.Height() || st.Prev != c.hashes[len(c.hashes)-1]:
		return ErrFork
	case len(c.statements) >= MaxStatements:
		return fmt.Errorf("%w: %d statements", ErrLimit, MaxStatements)
	case !c.authorises(keys):
		return ErrUnauthorised
	}
	return st.checkLink()
}

func (c *Chain) apply(st Statement) error {
	operators := c.operators()
	switch st.Kind {
	case AddOperator:
		if containsKey(operators, st.Key) || len(operators) >= MaxOperators {
			return fmt.Errorf("%w: the operator is there already, or there are too many", ErrLimit)
		}
		c.eras = append(c.eras, append(slices.Clone(operators), st.Key))
	case RemoveOperator:
		if !containsKey(operators, st.Key) || len(operators) <= c.threshold {
			return fmt.Errorf("%w: no such operator, or too few would be left", ErrLimit)
		}
		c.eras = append(c.eras, without(operators, st.Key))
		delete(c.publishers, string(st.Key))
	case GrantPublisher:
		c.grantPublisher(st.Key, st.Envs)
	case RevokePublisher:
		delete(c.publishers, string(st.Key))
	default:
		return fmt.Errorf("%w: kind %q", ErrLimit, st.Kind)
	}
	return nil
}

func (c *Chain) grantPublisher(key ed25519.PublicKey, envs []string) {
	c.publishers[string(key)] = slices.Clone(envs)
	c.ever[string(key)] = slices.Concat(c.ever[string(key)], envs)
}

func (c *Chain) keep(s Signed) {
	c.statements = append(c.statements, s)
	c.hashes = append(c.hashes, sha256.Sum256(s.Body))
}

// Propose fills in what ties st to the end of this chain, ready to be signed with DomainStatement.
func (c *Chain) Propose(st Statement) Statement {
	st.Mesh, st.Height, st.Prev = c.mesh, c.Height()+1, c.hashes[len(c.hashes)-1]
	return st
}

// Mesh is the id of the mesh.
func (c *Chain) Mesh() MeshID { return c.mesh }

// Height is that of the last statement; the genesis has 0.
func (c *Chain) Height() uint64 { return uint64(len(c.statements) - 1) }

// Threshold is how many operators must sign a statement, a grant, a ticket or a revocation.
func (c *Chain) Threshold() int { return c.threshold }

// Operators are those of now.
func (c *Chain) Operators() []ed25519.PublicKey { return slices.Clone(c.operators()) }

// Statements are all of the chain, the genesis first.
func (c *Chain) Statements() []Signed { return slices.Clone(c.statements) }

// Publishes tells whether key may sign revisions of env. A nil chain lets nobody.
func (c *Chain) Publishes(key ed25519.PublicKey, env string) bool {
	if c == nil {
		return false
	}
	envs := c.publishers[string(key)]
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

// Extended returns this chain with what statements add to it, itself unchanged. Statements it has already are passed
// over, in any order; one that contradicts it is ErrFork, and from another genesis ErrForeignMesh. With an error comes
// the chain with the good ones before it.
func (c *Chain) Extended(statements []Signed) (*Chain, error) {
	type link struct {
		height uint64
		signed Signed
	}
	var links []link
	for _, s := range statements {
		if i := slices.Index(c.hashes, sha256.Sum256(s.Body)); i >= 0 {
			continue
		}
		st, _, err := openStatement(s)
		if err != nil {
			return c, err
		}
		if st.Height == 0 {
			return c, ErrForeignMesh
		}
		links = append(links, link{st.Height, s})
	}
	if len(links) == 0 {
		return c, nil
	}
	slices.SortStableFunc(links, func(a, b link) int { return cmp.Compare(a.height, b.height) })
	longer := c.clone()
	for _, l := range links {
		if slices.Contains(longer.hashes, sha256.Sum256(l.signed.Body)) {
			continue
		}
		if err := longer.Append(l.signed); err != nil {
			return longer, err
		}
	}
	return longer, nil
}

func (c *Chain) operators() []ed25519.PublicKey { return c.eras[len(c.eras)-1] }

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

// everAuthorised tells whether signers were enough operators at some time. It never turns false as the chain grows,
// which is what makes the roster a set union; what a record is worth today is judged when the roster is read.
func (c *Chain) everAuthorised(signers []ed25519.PublicKey) bool {
	return slices.ContainsFunc(c.eras, func(era []ed25519.PublicKey) bool { return enough(era, signers, c.threshold) })
}

func (c *Chain) everOperator(key ed25519.PublicKey) bool {
	return slices.ContainsFunc(c.eras, func(era []ed25519.PublicKey) bool { return containsKey(era, key) })
}

func (c *Chain) clone() *Chain {
	d := *c
	d.statements, d.hashes, d.eras = slices.Clone(c.statements), slices.Clone(c.hashes), slices.Clone(c.eras)
	d.publishers, d.ever = maps.Clone(c.publishers), maps.Clone(c.ever)
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
