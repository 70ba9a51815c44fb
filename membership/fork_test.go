package membership

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// on signs a statement that follows the one with index at of statements; nil where the rules do not let it.
func on(t testing.TB, c *Chain, at *link, st Statement, signers ...string) *link {
	t.Helper()
	st.Mesh, st.Height, st.Prev = c.mesh, at.st.Height+1, at.hash
	s := must(Sign(DomainStatement, st, keysOf(signers)...))(t)
	if _, err := c.insert(s); err != nil {
		return nil
	}
	c.derive()
	return c.links[hashOf(s)]
}

func hashOf(s Signed) [32]byte { return sha256.Sum256(s.Body) }

func lineOf(c *Chain) (hashes [][32]byte) {
	for _, l := range c.line {
		hashes = append(hashes, l.hash)
	}
	return hashes
}

// people sign in these tests; the genesis has the first three.
var peopleOfForks = []string{"alice", "bob", "carol", "dave", "erin"}

// grow adds statements at random places, signed by random operators of that place out of those who may sign.
func grow(t *rapid.T, c *Chain, from []*link, n int, may []string) []*link {
	known := slices.Clone(from)
	for i := range n {
		at := known[rapid.IntRange(0, len(known)-1).Draw(t, fmt.Sprint("after ", i))]
		var can []string
		for _, who := range may {
			if containsKey(at.after.operators, public(who)) {
				can = append(can, who)
			}
		}
		if len(can) < c.threshold {
			continue
		}
		signers := rapid.Permutation(can).Draw(t, fmt.Sprint("signers ", i))
		signers = signers[:rapid.IntRange(c.threshold, len(signers)).Draw(t, fmt.Sprint("many ", i))]
		st := Statement{
			Kind: rapid.SampledFrom([]StatementKind{AddOperator, RemoveOperator, GrantPublisher, RevokePublisher}).Draw(t, fmt.Sprint("kind ", i)),
			Key:  public(rapid.SampledFrom(peopleOfForks).Draw(t, fmt.Sprint("key ", i))),
		}
		if st.Kind == GrantPublisher {
			st.Envs = []string{rapid.SampledFrom([]string{"staging", "production"}).Draw(t, fmt.Sprint("env ", i))}
		}
		st.Mesh, st.Height, st.Prev = c.mesh, at.st.Height+1, at.hash
		s, err := Sign(DomainStatement, st, keysOf(signers)...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.insert(s); err == nil {
			c.derive()
			known = append(known, c.links[hashOf(s)])
		}
	}
	return known
}

// Nodes that have seen the same statements have the same chain, in whatever order and portions they came, unless two branches
// have each removed the other's operators.
func TestForksConverge(t *testing.T) {
	forked, open := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		threshold := rapid.IntRange(1, 2).Draw(t, "threshold")
		start := chainOf(threshold, peopleOfForks[:3]...)
		c := start.clone()
		grow(t, c, []*link{c.tip()}, 12, peopleOfForks)
		all := c.All()
		want, err := start.Extended(all)
		if err != nil {
			t.Fatal(err)
		}
		order := rapid.Permutation(all).Draw(t, "order")
		got, highest := start, [][32]byte(nil)
		for len(got.links) < len(want.links) {
			before := len(got.links)
			for rest := order; len(rest) > 0; {
				n := rapid.IntRange(1, len(rest)).Draw(t, "portion")
				got, _ = got.Extended(rest[:n]) // what comes before its past is refused, and comes again
				rest = rest[n:]
				neverBack(t, highest, lineOf(got))
				highest = lineOf(got)
			}
			if len(got.links) == before {
				t.Fatal("statements are lost")
			}
		}
		if len(want.forks) > 0 {
			forked++
		}
		if slices.ContainsFunc(want.forks, func(f Fork) bool { return f.Open }) {
			open++
			return
		}
		if !reflect.DeepEqual(lineOf(got), lineOf(want)) {
			t.Fatalf("another line: height %d and %d", got.Height(), want.Height())
		}
		if NewRoster(got).Digest() != NewRoster(want).Digest() {
			t.Fatal("another digest")
		}
	})
	if forked < 20 || open == forked {
		t.Errorf("of the runs %d forked, and %d could not be decided: the test shows little", forked, open)
	}
}

// neverBack: what a node believes never becomes the beginning of what it believed.
func neverBack(t *rapid.T, before, after [][32]byte) {
	if len(after) < len(before) && reflect.DeepEqual(before[:len(after)], after) {
		t.Fatalf("from height %d back to %d", len(before)-1, len(after)-1)
	}
}

func chainOf(threshold int, operators ...string) *Chain {
	genesis, err := NewGenesis(make([]byte, 32), threshold, keysOf(operators)...)
	if err != nil {
		panic(err)
	}
	c, err := OpenChain([]Signed{genesis})
	if err != nil {
		panic(err)
	}
	return c
}

// Whoever was removed, and whomever they make up, change nothing on a node that knows of the removal: wherever they fork the chain,
// however long their branch is, also when it removes those who removed them, also where the others forked it in good faith.
func TestRemovedOperatorsWinNoFork(t *testing.T) {
	forged := 0
	rapid.Check(t, func(t *rapid.T) {
		thieves := []string{"bob", "carol"}
		threshold := rapid.IntRange(1, 2).Draw(t, "threshold")
		c := chainOf(threshold, "alice", "bob", "carol", "dave")
		for i := range rapid.IntRange(0, 4).Draw(t, "height") { // the thieves take part while they may
			signers := rapid.Permutation([]string{"alice", "bob", "carol", "dave"}).Draw(t, fmt.Sprint("signers ", i))[:threshold]
			link := grantOn(t, c, c.tip(), fmt.Sprint("line", i), signers...)
			for j := range rapid.IntRange(0, 2).Draw(t, fmt.Sprint("beside ", i)) {
				link = grantOn(t, c, link, fmt.Sprint("beside", i, j), "alice", "dave")
			}
		}
		for _, who := range thieves {
			removeOn(t, c, c.tip(), who, []string{"alice", "dave"}[:threshold]...)
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "forks") { // of good faith
			at := c.line[rapid.IntRange(0, int(c.Height())).Draw(t, fmt.Sprint("fork at ", i))]
			grantOn(t, c, at, fmt.Sprint("fork", i), "alice", "dave")
		}
		if containsKey(c.operators(), public("bob")) || containsKey(c.operators(), public("carol")) {
			return // a fork of good faith has won below the removals: they must be signed anew
		}
		before, known := lineOf(c), len(c.links)
		growForged(t, c, c.sorted(), 14, append(thieves, "mallory"))
		forged += len(c.links) - known
		if !reflect.DeepEqual(lineOf(c), before) {
			t.Fatalf("they have changed the chain from height %d to %d", len(before)-1, c.Height())
		}
	})
	if forged < 50 {
		t.Errorf("%d statements were forged: the test shows little", forged)
	}
}

func grantOn(t *rapid.T, c *Chain, at *link, env string, signers ...string) *link {
	return insertOn(t, c, at, Statement{Kind: GrantPublisher, Key: public("ci"), Envs: []string{env}}, signers...)
}

func removeOn(t *rapid.T, c *Chain, at *link, who string, signers ...string) *link {
	return insertOn(t, c, at, Statement{Kind: RemoveOperator, Key: public(who)}, signers...)
}

func insertOn(t *rapid.T, c *Chain, at *link, st Statement, signers ...string) *link {
	st.Mesh, st.Height, st.Prev = c.mesh, at.st.Height+1, at.hash
	s, err := Sign(DomainStatement, st, keysOf(signers)...)
	if err == nil {
		_, err = c.insert(s)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.derive()
	return c.links[hashOf(s)]
}

// growForged is grow by thieves, who aim at those who removed them, and at heirs of their own.
func growForged(t *rapid.T, c *Chain, from []*link, n int, thieves []string) int {
	known := slices.Clone(from)
	for i := range n {
		at := known[rapid.IntRange(0, len(known)-1).Draw(t, fmt.Sprint("forged after ", i))]
		var can []ed25519.PrivateKey
		for _, who := range thieves {
			if containsKey(at.after.operators, public(who)) {
				can = append(can, keyOf(who))
			}
		}
		if len(can) < c.threshold {
			continue
		}
		st := Statement{Kind: RemoveOperator, Key: public(rapid.SampledFrom(peopleOfForks).Draw(t, fmt.Sprint("victim ", i)))}
		if rapid.Bool().Draw(t, fmt.Sprint("heir ", i)) {
			st = Statement{Kind: AddOperator, Key: public("mallory")}
		}
		st.Mesh, st.Height, st.Prev = c.mesh, at.st.Height+1, at.hash
		s, err := Sign(DomainStatement, st, can...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.insert(s); err == nil {
			c.derive()
			known = append(known, c.links[hashOf(s)])
		}
	}
	return len(c.links)
}

// The cases that the rule was made for, one by one.
func TestForkRule(t *testing.T) {
	grant := func(env string) Statement {
		return Statement{Kind: GrantPublisher, Key: public("ci"), Envs: []string{env}}
	}
	remove := func(who string) Statement { return Statement{Kind: RemoveOperator, Key: public(who)} }
	add := func(who string) Statement { return Statement{Kind: AddOperator, Key: public(who)} }
	abc := []string{"alice", "bob", "carol"}

	t.Run("two at once: one rule", func(t *testing.T) {
		c := chainOf(1, abc...)
		root := c.tip()
		a, b := on(t, c, root, grant("a"), "alice"), on(t, c, root, grant("b"), "bob")
		want := a
		if string(b.hash[:]) < string(a.hash[:]) {
			want = b
		}
		if c.tip() != want || len(c.Forks()) != 1 || c.Forks()[0].Open || len(c.Forks()[0].Both) != 0 {
			t.Errorf("tip %x, forks %+v", c.Tip(), c.Forks())
		}
	})
	t.Run("an old copy does not undo what came since", func(t *testing.T) {
		c := chainOf(1, abc...)
		root := c.tip()
		tip := on(t, c, on(t, c, root, grant("a"), "alice"), grant("b"), "bob")
		for i := range 8 { // one of them has a lower hash
			on(t, c, root, grant(fmt.Sprint("old", i)), "carol")
		}
		if c.tip() != tip {
			t.Error("it did")
		}
	})
	t.Run("a removal wins over what the removed one does", func(t *testing.T) {
		c := chainOf(1, abc...)
		root := c.tip()
		l := on(t, c, root, grant("a"), "alice")
		for i := range 5 {
			l = on(t, c, l, grant(fmt.Sprint("more", i)), "alice")
		}
		removal := on(t, c, root, remove("alice"), "bob")
		if c.tip() != removal {
			t.Error("alice goes on")
		}
	})
	t.Run("both removed: as it was", func(t *testing.T) {
		c := chainOf(1, abc...)
		root := c.tip()
		removal := on(t, c, root, remove("alice"), "bob")
		l := on(t, c, root, remove("bob"), "alice")
		for i := range 5 {
			l = on(t, c, l, grant(fmt.Sprint("more", i)), "alice")
		}
		if c.tip() != removal || !c.Forks()[0].Open {
			t.Errorf("alice won, or it is not told: %+v", c.Forks())
		}
	})
	t.Run("she forks below, makes an heir and leaves", func(t *testing.T) {
		c := chainOf(1, "alice")
		root := c.tip()
		honest := on(t, c, on(t, c, root, add("bob"), "alice"), remove("alice"), "bob")
		l := on(t, c, on(t, c, root, add("mallory"), "alice"), remove("alice"), "mallory")
		for i := range 5 {
			l = on(t, c, l, grant(fmt.Sprint("more", i)), "mallory")
		}
		if c.tip() != honest || len(c.Forks()) != 1 || len(c.Forks()[0].Both) != 1 || !c.Forks()[0].Both[0].Equal(public("alice")) {
			t.Errorf("mallory won, or alice is not named: %+v", c.Forks())
		}
	})
	t.Run("she makes an old fork of good faith longer", func(t *testing.T) {
		c := chainOf(1, abc...)
		root := c.tip()
		old := on(t, c, root, grant("b"), "carol")
		honest := on(t, c, on(t, c, root, grant("a"), "bob"), remove("alice"), "bob")
		for i := range 5 {
			old = on(t, c, old, grant(fmt.Sprint("more", i)), "alice")
		}
		if c.tip() != honest {
			t.Error("alice won")
		}
	})
	t.Run("a fork of good faith is not helped by one of bad faith", func(t *testing.T) {
		c := chainOf(1, "alice", "bob", "carol", "dave")
		root := c.tip()
		honest := on(t, c, on(t, c, root, grant("a"), "bob"), remove("alice"), "bob")
		on(t, c, root, grant("b"), "carol")
		on(t, c, root, remove("bob"), "alice") // each of the two removes the other's
		if c.tip() != honest {
			t.Error("carol's fork, in which alice rules still, holds")
		}
	})
	t.Run("what rests on a removed operator's signature falls", func(t *testing.T) {
		c := chainOf(2, abc...)
		root := c.tip()
		l := on(t, c, root, grant("a"), "alice", "bob")
		on(t, c, l, grant("b"), "alice", "carol")
		if removal := on(t, c, root, remove("alice"), "bob", "carol"); c.tip() != removal {
			t.Error("it stands")
		}
	})
	t.Run("what enough others signed too stands", func(t *testing.T) {
		c := chainOf(2, abc...)
		root := c.tip()
		tip := on(t, c, on(t, c, root, grant("a"), abc...), grant("b"), "bob", "carol")
		if on(t, c, root, remove("alice"), "bob", "carol"); c.tip() != tip {
			t.Error("it falls")
		}
	})
}

// Signatures of one statement come together, wherever they came from.
func TestSignaturesOfAStatementJoin(t *testing.T) {
	start := chainOf(2, "alice", "bob", "carol")
	st := start.Propose(Statement{Kind: GrantPublisher, Key: public("ci"), Envs: []string{"staging"}})
	ab := must(Sign(DomainStatement, st, keysOf([]string{"alice", "bob", "mallory"})...))(t)
	bc := must(Sign(DomainStatement, st, keysOf([]string{"carol", "bob"})...))(t)
	x := must(must(start.Extended([]Signed{ab}))(t).Extended([]Signed{bc}))(t)
	y := must(start.Extended([]Signed{bc, ab}))(t)
	if NewRoster(x).Digest() != NewRoster(y).Digest() || len(x.tip().signers) != 3 || len(x.Statements()[1].Signatures) != 3 {
		t.Errorf("%d and %d signers", len(x.tip().signers), len(y.tip().signers))
	}
	if again := must(x.Extended([]Signed{ab, bc}))(t); again != x {
		t.Error("what is known changes the chain")
	}
}

func TestForksAreBounded(t *testing.T) {
	c := chainOf(1, "alice", "bob")
	root := c.tip()
	on(t, c, root, Statement{Kind: RemoveOperator, Key: public("alice")}, "bob")
	for i := range 2 * MaxForked {
		on(t, c, root, Statement{Kind: GrantPublisher, Key: public("ci"), Envs: []string{fmt.Sprint("e", i)}}, "alice")
	}
	if len(c.links) != 2+MaxForked {
		t.Fatalf("%d statements are kept", len(c.links))
	}
	if on(t, c, c.tip(), Statement{Kind: AddOperator, Key: public("carol")}, "bob") == nil || len(c.operators()) != 2 {
		t.Error("a thief's forks keep the chain from growing")
	}
}
