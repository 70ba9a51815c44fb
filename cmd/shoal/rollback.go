package main

import (
	"context"
	"fmt"
	"reflect"
	"strconv"

	"github.com/spf13/cobra"

	"shoal/secrets"
	"shoal/store"
)

func newRollback(t *terminal) *cobra.Command {
	var (
		env        string
		to         uint64
		secretsToo bool
	)
	cmd := &cobra.Command{
		Use:   "rollback",
		Short: "Publish a new revision with the content of an older one",
		Long: `Publish a new revision with the content of an older one: history is never rewritten. It needs the operator's key.

Secrets stay as they are now; with --secrets they too become those of the older revision, of which some may have been changed since
because they were exposed.`,
		Example: `  shoal rollback             # what was before the head
  shoal rollback --to 41`,
		Args: cobra.NoArgs,
	}
	connect, key := nodeFlag(cmd), keyFlag(cmd)
	cmd.Flags().StringVar(&env, "env", "production", "the environment")
	cmd.Flags().Uint64Var(&to, "to", 0, "the version to go back to (default: the one before the head)")
	cmd.Flags().BoolVar(&secretsToo, "secrets", false, "the secrets of the older version too")
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
		return t.rollback(cmd.Context(), p, head, to, secretsToo)
	}
	return cmd
}

// rollback publishes the tree of an older version. Its secrets are those of today, unless they are wanted too: one that was changed
// since somebody was evicted must not come back by itself.
func (t *terminal) rollback(ctx context.Context, p publisher, head store.Head, to uint64, secretsToo bool) error {
	old, manifest, err := findRevision(ctx, p.client, head.Env, strconv.FormatUint(to, 10))
	if err != nil {
		return err
	}
	at, err := p.sealed(ctx, head)
	if err != nil {
		return err
	}
	message := fmt.Sprintf("back to version %d", to)
	if secretsToo {
		res, err := p.publish(ctx, head, old.Manifest, store.KindRollback, message+", with its secrets")
		if err == nil {
			err = t.outcome(res)
		}
		return t.printPush(res, head.Env, err)
	}
	m := secrets.Carry(at.manifest, manifest)
	if reflect.DeepEqual(m, at.manifest) && to < head.Version {
		return badInput("the tree of version %d is that of version %d: only secrets were changed since; --secrets brings the old ones back too", to, head.Version)
	}
	at.files = store.OpenTree(ctx, m, p.client.Get)
	if err := p.stillCompiles(ctx, at, at.all); err != nil {
		return err
	}
	return p.amended(ctx, t, at, m, nil, store.KindRollback, message)
}
