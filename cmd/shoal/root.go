package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"shoal/mesh/api"
)

// newRoot lists every command; there is no other registration.
func newRoot(t *terminal) *cobra.Command {
	root := &cobra.Command{
		Use:   "shoal",
		Short: "Configuration management with no master",
		Long: `shoal keeps machines in the state that their operators wrote down, with no master.
Every machine runs this binary; join through any other, push to any.

A first mesh:
  shoal init                                     # your key, on your machine
  shoal ticket --tag role=web > ticket           # what a machine needs to join
  shoal agent --ticket @ticket                   # the first machine
  shoal agent --ticket @ticket2 --join ADDR      # every other, through any
  shoal push TREE --wait

Without a mesh:
  shoal plan TREE && shoal apply TREE

Write a tree:
  shoal docs                                     # what states can say
  shoal validate TREE && shoal fmt TREE

Exit status: 0 done; 1 a state failed, and all was put back; 2 the input is wrong, nothing was touched; 3 the mesh could not
do it now; 4 a rollback was incomplete; 5 refused by the rules of trust; 10 there are changes (plan --exit-code, fmt --check).`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          inputArgs(cobra.NoArgs),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().BoolVar(&t.json, "json", false, "print data as JSON")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return badInput("%v\n    see: %s --help", err, cmd.CommandPath())
	})
	root.AddGroup(
		&cobra.Group{ID: "mesh", Title: "A mesh:"},
		&cobra.Group{ID: "publish", Title: "Publish and look:"},
		&cobra.Group{ID: "machine", Title: "One machine:"},
		&cobra.Group{ID: "write", Title: "Write a tree:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			c.Args = inputArgs(c.Args)
			root.AddCommand(c)
		}
	}
	add("mesh", newInit(t), newTicket(t), newAgent(t), newMeshSide(t), newToken(t), newMembers(t), newRing(t), newLeave(t), newEvict(t), newTrust(t))
	add("publish", newPush(t), newStatus(t), newReport(t), newLog(t), newShow(t), newDiff(t), newRollback(t), newSecret(t))
	add("machine", newValidate(t), newPlan(t), newApply(t), newRecover(t), newStore(t))
	add("write", newFmt(t), newSchema(t), newDocs(t))
	root.AddCommand(newVersion(t), newMan(t), newRemote(), newFetchSide())
	return root
}

// inputArgs makes wrong arguments an error of input, with exit status 2.
func inputArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		if err := check(cmd, args); err != nil {
			return badInput("%v\n    usage: %s", err, cmd.UseLine())
		}
		return nil
	}
}

// nodeFlag adds --node, and returns a function that connects to what it names.
func nodeFlag(cmd *cobra.Command) func() *api.Client {
	addr := cmd.Flags().String("node", "", "the node to ask, `ADDR`: unix:PATH, a path, or HOST:PORT (default: SHOAL_NODE, then the local agent)")
	return func() *api.Client { return newClient(nodeAddr(*addr)) }
}

func nodeAddr(flag string) string {
	switch env := os.Getenv("SHOAL_NODE"); {
	case flag != "":
		return flag
	case env != "":
		return env
	}
	return defaultDataDir + "/api.sock"
}

// parseTags reads repeated k=v flags.
func parseTags(pairs []string) (map[string]string, error) {
	tags := map[string]string{}
	for _, p := range pairs {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			return nil, badInput("--tag %q: write it as key=value", p)
		}
		if old, twice := tags[k]; twice && old != v {
			return nil, badInput("--tag %s is given twice, as %q and %q", k, old, v)
		}
		tags[k] = v
	}
	return tags, nil
}
