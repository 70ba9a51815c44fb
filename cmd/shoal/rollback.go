package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"shoal/store"
)

func newRollback(t *terminal) *cobra.Command {
	var (
		env string
		to  uint64
	)
	cmd := &cobra.Command{
		Use:   "rollback",
		Short: "Publish a new revision with the content of an older one",
		Long:  `Publish a new revision with the content of an older one: history is never rewritten. It needs the operator's key.`,
		Example: `  shoal rollback             # what was before the head
  shoal rollback --to 41`,
		Args: cobra.NoArgs,
	}
	connect, key := nodeFlag(cmd), keyFlag(cmd)
	cmd.Flags().StringVar(&env, "env", "production", "the environment")
	cmd.Flags().Uint64Var(&to, "to", 0, "the version to go back to (default: the one before the head)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := newPublisher(connect(), key())
		if err != nil {
			return err
		}
		head, err := p.head(cmd.Context(), env)
		if err != nil {
			return err
		}
		if to == 0 && head.Version > 1 {
			to = head.Version - 1
		}
		if to == 0 || to > head.Version {
			return badInput("%s is at version %d: there is no version %d to go back to", env, head.Version, to)
		}
		old, _, err := findRevision(cmd.Context(), p.client, env, strconv.FormatUint(to, 10))
		if err != nil {
			return err
		}
		res, err := p.publish(cmd.Context(), head, old.Manifest, store.KindRollback, fmt.Sprintf("back to version %d", to))
		if err == nil {
			err = t.outcome(res)
		}
		return t.printPush(res, env, err)
	}
	return cmd
}
