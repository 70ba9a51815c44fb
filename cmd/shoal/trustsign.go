package main

import (
	"crypto"
	"errors"

	"github.com/spf13/cobra"

	"shoal/internal/signkey"
	"shoal/membership"
)

func newTrustSign(t *terminal) *cobra.Command {
	var yes, again bool
	cmd := &cobra.Command{
		Use:   "sign FILE",
		Short: "Read a proposal, and sign it; offline",
		Long: `Read a proposal, and sign it; offline. What is signed is shown in words first. A proposal that does not fit the trust chain as your
SHOAL_HOME knows it is refused (exit status 5), and so is a second statement for a height for which you have signed one.`,
		Args: cobra.ExactArgs(1),
	}
	key := keyFlag(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&again, "again", false, "also when you have signed another statement for the same height")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		records, err := readProposals(args[0])
		if err != nil {
			return err
		}
		if err := t.describe(records); err != nil {
			return err
		}
		h, err := openHome("")
		if err != nil {
			return err
		}
		sign, err := signingOf(h, records, again)
		if err != nil {
			return err
		}
		if !yes {
			if ok, err := confirmed("Sign this?"); err != nil || !ok {
				return errors.Join(err, badInput("nothing was signed"))
			}
		}
		signer, err := h.operatorKey(key())
		if err != nil {
			return err
		}
		for i := range records {
			if records[i], err = sign(records[i], signer); err != nil {
				return err
			}
		}
		if err := writeProposals(args[0], records); err != nil {
			return err
		}
		t.note("signed by %s", signkey.Fingerprint(signkey.Public(signer)))
		return nil
	}
	return cmd
}

// signingOf is how records are signed: a genesis without a chain, all else by it. What does not fit is refused before anybody is asked.
func signingOf(h home, records []membership.Signed, again bool) (func(membership.Signed, crypto.Signer) (membership.Signed, error), error) {
	if len(records) == 1 {
		if st, err := statementOf(records[0]); err == nil && records[0].Domain == membership.DomainStatement && st.Kind == membership.Genesis {
			return signGenesis, nil
		}
	}
	chain, err := h.chain()
	if err != nil {
		return nil, err
	}
	a := authority{h, chain}
	for _, s := range records {
		if err := a.fits(s); err != nil {
			return nil, err
		}
	}
	return func(s membership.Signed, key crypto.Signer) (membership.Signed, error) { return a.sign(s, key, again) }, nil
}

func newTrustPublish(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "publish FILE...",
		Short: "Give a proposal that enough operators have signed to the mesh, through any node",
		Long: `Give a proposal that enough operators have signed to the mesh, through any node. Of several files the signatures are put
together. The beginning of a cluster (shoal init --operators) and a ticket need no node: the one makes the trust chain in your SHOAL_HOME,
the other is printed.`,
		Args: cobra.MinimumNArgs(1),
	}
	connect := nodeFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		records, err := readProposals(args...)
		if err != nil {
			return err
		}
		for _, s := range records {
			if st, err := statementOf(s); s.Domain == membership.DomainStatement && err == nil && st.Kind == membership.Genesis {
				return t.begin(s, st)
			}
		}
		a, err := openAuthority()
		if err != nil {
			return err
		}
		return t.publishRecords(cmd.Context(), connect(), a, records)
	}
	return cmd
}
