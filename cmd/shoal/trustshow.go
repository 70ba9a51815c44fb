package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"shoal/internal/signkey"
	"shoal/membership"
	"shoal/mesh/api"
)

type shownKey struct {
	Key          string   `json:"key"`
	Fingerprint  string   `json:"fingerprint"`
	Environments []string `json:"environments,omitempty"`
}

type shownFork struct {
	Height uint64   `json:"height"`
	Holds  string   `json:"holds"`
	Lost   string   `json:"lost"`
	Both   []string `json:"signed_both"`
	Open   bool     `json:"undecided"`
}

type shownChain struct {
	Mesh       string      `json:"mesh"`
	Height     uint64      `json:"height"`
	Tip        string      `json:"tip"`
	Threshold  int         `json:"threshold"`
	Operators  []shownKey  `json:"operators"`
	Publishers []shownKey  `json:"publishers"`
	Forks      []shownFork `json:"forks,omitempty"`
}

func shownOf(chain *membership.Chain) (shownChain, error) {
	tip := chain.Tip()
	c := shownChain{Mesh: chain.Mesh().String(), Height: chain.Height(), Tip: hex.EncodeToString(tip[:]), Threshold: chain.Threshold()}
	for _, key := range chain.Operators() {
		c.Operators = append(c.Operators, shownKey{Key: hex.EncodeToString(key), Fingerprint: signkey.Fingerprint(key)})
	}
	slices.SortFunc(c.Operators, byKey)
	for key, envs := range chain.Publishers() {
		k := ed25519.PublicKey(key)
		c.Publishers = append(c.Publishers, shownKey{hex.EncodeToString(k), signkey.Fingerprint(k), envs})
	}
	slices.SortFunc(c.Publishers, byKey)
	for _, f := range chain.Forks() {
		holds, _, err := words(f.Holds)
		if err != nil {
			return c, err
		}
		lost, _, err := words(f.Lost)
		if err != nil {
			return c, err
		}
		shown := shownFork{Height: f.Height, Holds: printable(holds), Lost: printable(lost), Open: f.Open, Both: []string{}}
		for _, key := range f.Both {
			shown.Both = append(shown.Both, signkey.Fingerprint(key))
		}
		c.Forks = append(c.Forks, shown)
	}
	return c, nil
}

func byKey(a, b shownKey) int { return strings.Compare(a.Key, b.Key) }

func newTrustShow(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Who the operators and publishers are, and how high the trust chain is; or what a proposal says",
		Long: `Who the operators and publishers are, and how high the trust chain is, as your SHOAL_HOME knows it; with --node as that node knows it;
with FILE what a proposal says. Where operators have signed two statements of one height, that is shown, with the keys that signed both.`,
		Args: cobra.MaximumNArgs(1),
	}
	connect := nodeFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			records, err := readProposals(args[0])
			if err != nil {
				return err
			}
			return t.describe(records)
		}
		chain, err := chainToShow(cmd.Context(), connect, cmd.Flags().Changed("node"))
		if err != nil {
			return err
		}
		shown, err := shownOf(chain)
		if err != nil {
			return err
		}
		if t.json {
			return t.printJSON(shown)
		}
		t.printChain(shown)
		return nil
	}
	return cmd
}

func chainToShow(ctx context.Context, connect func() *api.Client, ofNode bool) (*membership.Chain, error) {
	if !ofNode {
		a, err := openAuthority()
		return a.chain, err
	}
	records, err := connect().Roster(ctx)
	if err != nil {
		return nil, err
	}
	statements := slices.DeleteFunc(records, func(s membership.Signed) bool { return s.Domain != membership.DomainStatement })
	if len(statements) == 0 {
		return nil, badInput("the node has no mesh")
	}
	return membership.RestoreChain(statements)
}

func (t *terminal) printChain(c shownChain) {
	t.printf("mesh %s, height %d; %d of %d operators must sign\n\n", c.Mesh[:12], c.Height, c.Threshold, len(c.Operators))
	var rows [][]string
	for _, k := range c.Operators {
		rows = append(rows, []string{"operator", k.Fingerprint, ""})
	}
	for _, k := range c.Publishers {
		rows = append(rows, []string{"publisher", k.Fingerprint, strings.Join(k.Environments, " ")})
	}
	t.table([]string{"MAY", "KEY", "ENVIRONMENTS"}, rows)
	for _, f := range c.Forks {
		t.printf("\n%s at height %d\n  holds:  %s\n  lost:   %s\n", t.paint(yellow, "FORK"), f.Height, f.Holds, f.Lost)
		for _, key := range f.Both {
			t.printf("  signed both: %s\n", key)
		}
		if f.Open {
			t.printf("  %s each side has removed operators of the other: nodes stay with what they saw first\n", t.paint(red, "undecided:"))
		}
	}
}
