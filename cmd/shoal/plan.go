package main

import (
	"context"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"shoal/executor"
	"shoal/executor/local"
	"shoal/executor/remote"
	"shoal/mesh"
	"shoal/mesh/api"
	"shoal/states"
	"shoal/states/disk"
	"shoal/store"
)

// planOptions are the flags of plan.
type planOptions struct {
	env, forName, on, name, zone string
	tags                         []string
	root, dataDir, order         string
	exitCode                     bool
	inventory                    string
	graph                        string             // text or dot
	draw                         func(*states.Plan) // gets each plan, and then no machine is looked at; nil: a plan is checked
}

func newPlan(t *terminal) *cobra.Command {
	var o planOptions
	var elsewhere sshOptions
	cmd := &cobra.Command{
		Use:   "plan [TREE]",
		Short: "What would change, with diffs; touches nothing",
		Long: `What would change, with diffs; touches nothing.

With --tag, or where no agent runs, the plan is for this machine (or the folder of --root) with these tags. With a
running agent it is for that agent's machine. --for NAME and --on SELECTOR compile the plans of other nodes, of the mesh or of an
inventory, from their tags; what their machines look like is unknown here. Without TREE it is the head of the environment
that is planned.

With --ssh other machines are looked at, many at a time; see shoal help apply.

--graph shows in which order the states would run, and why, for people; --graph=dot for Graphviz, --graph --json as data.
No machine is looked at then.`,
		Example: `  shoal plan mytree --tag role=web --root /tmp/box
  shoal plan mytree --tag role=web --exit-code > /dev/null   # 10: something would change
  shoal plan mytree --tag role=web --graph=dot | dot -Tsvg > run.svg`,
		Args: cobra.MaximumNArgs(1),
	}
	connect := nodeFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&o.env, "env", "production", "the environment")
	f.StringVar(&o.forName, "for", "", "the node of the mesh or the inventory to plan for")
	f.StringVar(&o.on, "on", "", "plan for every node of the mesh or the inventory that this selects, such as role=web")
	inventoryFlag(cmd, &o.inventory)
	f.BoolVar(&o.exitCode, "exit-code", false, "exit with 10 when there are changes")
	f.StringVar(&o.graph, "graph", "", "show the order of the run and the reason of each edge, as text or dot")
	f.Lookup("graph").NoOptDefVal = "text"
	hereFlags(cmd, &o.name, &o.zone, &o.tags, &o.root, &o.dataDir, &o.order)
	sshFlags(cmd, &elsewhere)
	cmd.MarkFlagsMutuallyExclusive("for", "on", "tag")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOrder(o.order); err != nil {
			return err
		}
		if elsewhere.wanted() {
			if len(args) == 0 || o.graph != "" || o.forName != "" || o.on != "" {
				return badInput("with --ssh, name the tree; --graph, --for and --on are for machines that are not looked at")
			}
			elsewhere.kind, elsewhere.name, elsewhere.zone, elsewhere.tags = remote.Check, o.name, o.zone, o.tags
			elsewhere.root, elsewhere.data, elsewhere.order, elsewhere.inventory = o.root, o.dataDir, o.order, o.inventory
			elsewhere.env, elsewhere.exitCode = o.env, o.exitCode
			return t.overSSH(cmd.Context(), args[0], elsewhere)
		}
		if o.graph != "" {
			return t.printGraphs(cmd, o, connect(), args)
		}
		reports, err := o.plan(cmd.Context(), connect(), cmd.Flags().Changed("node"), args)
		if err != nil {
			return err
		}
		return t.printPlans(reports, o)
	}
	return cmd
}

// hereFlags are the flags that say what this machine is, for plan and apply.
func hereFlags(cmd *cobra.Command, name, zone *string, tags *[]string, root, dataDir, order *string) {
	f := cmd.Flags()
	f.StringVar(name, "name", "", "the machine's name (default: its host name)")
	f.StringVar(zone, "zone", "", "the machine's zone")
	f.StringArrayVar(tags, "tag", nil, "a tag of this machine, `K=V` (repeatable)")
	f.StringVar(root, "root", "", "a folder, `DIR`, that stands for the machine")
	f.StringVar(dataDir, "data-dir", "", "journal and ledger (default: ROOT"+defaultDataDir+")")
	f.StringVar(order, "order", "", "justdoit, ansible or genius (default: the site's policy)")
}

func checkOrder(order string) error {
	if order == "" {
		return nil
	}
	return oneOf("--order", order, string(states.JustDoIt), string(states.Ansible), string(states.Genius))
}

func (t *terminal) printPlans(reports []executor.Report, o planOptions) error {
	changes, failed := false, false
	for _, r := range reports {
		changes = changes || wouldChange(r)
		failed = failed || r.Result == executor.RunFailed
	}
	switch {
	case t.json && o.on == "":
		if err := t.printJSON(reports[0]); err != nil {
			return err
		}
	case t.json:
		if err := t.printJSON(reports); err != nil {
			return err
		}
	default:
		for _, r := range reports {
			t.printReport(r, false)
		}
		t.note("a plan: nothing was touched")
	}
	if failed {
		return &exitError{status: exitFailed}
	}
	if changes && o.exitCode {
		return &exitError{status: exitChanges}
	}
	return nil
}

func wouldChange(r executor.Report) bool {
	for _, s := range r.States {
		if s.Result == executor.WouldChange || s.Result == executor.Unknown {
			return true
		}
	}
	return false
}

// plan computes a report for each machine that is asked about.
func (o planOptions) plan(ctx context.Context, client *api.Client, asked bool, args []string) ([]executor.Report, error) {
	others := o.forName != "" || o.on != ""
	alone := o.inventory != "" || !asked && len(args) > 0 && !agentAnswers(ctx, client)
	if (alone || len(o.tags) > 0) && len(args) == 0 {
		return nil, badInput("which tree? name its folder: shoal plan TREE")
	}
	switch {
	case others && alone:
		return o.planListed(args[0])
	case alone:
		return o.planHere(ctx, args[0], nil)
	case len(o.tags) > 0:
		members, _ := client.Members(ctx) // nobody answers: then the tree's inventory says who there is
		return o.planHere(ctx, args[0], members)
	}
	self, err := client.Self(ctx)
	if err != nil {
		return nil, err
	}
	tree, meta, err := o.wanted(ctx, client, args)
	if err != nil {
		return nil, err
	}
	members, err := client.Members(ctx)
	if err != nil {
		return nil, err
	}
	fleet := fleetOf(members)
	if !others || o.forName == self.Name {
		node := states.Node{Name: self.Name, Zone: self.Zone, Tags: self.Tags}
		given, err := ownSecrets(ctx, client, self)
		if err != nil {
			return nil, err
		}
		return o.check(ctx, states.Input{Node: node, Fleet: fleet, Secrets: given}, tree, meta, self.Root, self.DataDir)
	}
	at, err := sealedNow(ctx, client, o.env)
	if err != nil {
		return nil, err
	}
	return o.planOthers(fleet, self.Tags, tree, meta, standIns(at.all))
}

func agentAnswers(ctx context.Context, client *api.Client) bool {
	_, err := client.Self(ctx)
	return err == nil
}

// planHere plans for this machine, with no agent. Members, where there are any, are those of the mesh that answered.
func (o planOptions) planHere(ctx context.Context, dir string, members []mesh.MemberInfo) ([]executor.Report, error) {
	tree, err := disk.Open(dir)
	if err != nil {
		return nil, badInput("%v", err)
	}
	node, fleet, err := hereNode(o.name, o.zone, o.tags, o.root, o.inventory, tree)
	if err != nil {
		return nil, err
	}
	if fleet == nil && members != nil {
		fleet = fleetOf(members)
	}
	return o.check(ctx, states.Input{Node: node, Fleet: fleet}, tree, executor.RunMeta{Env: o.env}, o.root, dataDir(o.dataDir, o.root))
}

func (o planOptions) check(ctx context.Context, in states.Input, tree fs.FS, meta executor.RunMeta, root, dataDir string) ([]executor.Report, error) {
	in.Order = states.Order(o.order)
	plan, err := states.Compile(tree, in, functions())
	if err != nil {
		return nil, err
	}
	if o.draw != nil {
		o.draw(plan)
		return nil, nil
	}
	m, done, err := checkMachine(root, dataDir)
	if err != nil {
		return nil, err
	}
	meta.Resolver = states.NewLate(tree, plan).With(in.Secrets)
	report := m.engine.Check(ctx, plan, executor.TreeContents(tree), meta)
	return []executor.Report{report}, done()
}

// wanted is the tree that is planned: the one named, or the head of the environment.
func (o planOptions) wanted(ctx context.Context, client *api.Client, args []string) (fs.FS, executor.RunMeta, error) {
	meta := executor.RunMeta{Env: o.env}
	if len(args) == 1 {
		tree, err := disk.Open(args[0])
		if err != nil {
			return nil, meta, badInput("%v", err)
		}
		return tree, meta, nil
	}
	head, err := client.Head(ctx, o.env)
	if err != nil {
		return nil, meta, err
	}
	meta.Version, meta.Revision = head.Version, head.Revision.String()
	_, manifest, err := findRevision(ctx, client, o.env, head.Revision.String())
	if err != nil {
		return nil, meta, err
	}
	return store.OpenTree(ctx, manifest, client.Get), meta, nil
}

// planListed plans for nodes of an inventory, where no agent answers.
func (o planOptions) planListed(dir string) ([]executor.Report, error) {
	tree, err := disk.Open(dir)
	if err != nil {
		return nil, badInput("%v", err)
	}
	nodes, err := inventoryOf(o.inventory, tree)
	if err != nil {
		return nil, err
	}
	if nodes == nil {
		return nil, badInput("no agent answers, and there is no inventory: name one with --inventory FILE")
	}
	assumed := func(states.Node) *states.Secrets { return &states.Secrets{Assumed: true} }
	return o.planOthers(nodes, local.Facts("/"), tree, executor.RunMeta{Env: o.env}, assumed)
}

// planOthers compiles for other nodes. Their machines are not here to be looked at, so that what would change is unknown, and
// the facts of a machine that is here stand in for theirs, as do other values for their secrets.
func (o planOptions) planOthers(fleet []states.Node, here map[string]string, tree fs.FS, meta executor.RunMeta,
	sealed func(states.Node) *states.Secrets) ([]executor.Report, error) {
	nodes, err := selectedOf(withFactsOf(fleet, here), o.forName, o.on, tree)
	if err != nil {
		return nil, err
	}
	if len(nodes) == 0 {
		return nil, badInput("no node of the mesh or the inventory is meant by %q; shoal members lists those of the mesh", o.forName+o.on)
	}
	l, err := states.Open(tree, functions())
	if err != nil {
		return nil, err
	}
	reports := make([]executor.Report, len(nodes))
	for i, n := range nodes {
		plan, err := l.Compile(states.Input{Node: n, Fleet: fleet, Secrets: sealed(n), Order: states.Order(o.order)})
		if err != nil {
			return nil, err
		}
		if o.draw != nil {
			o.draw(plan)
		}
		reports[i] = executor.Unseen(plan, meta)
	}
	return reports, nil
}

// hereNode is this machine as the language knows it: the tags given, what the inventory says of it, and its facts; and the
// nodes of the inventory, nil where there is none.
func hereNode(name, zone string, pairs []string, root, inventory string, tree fs.FS) (states.Node, []states.Node, error) {
	tags, err := parseTags(pairs)
	if err != nil {
		return states.Node{}, nil, err
	}
	if name == "" {
		if name, err = os.Hostname(); err != nil {
			return states.Node{}, nil, badInput("--name is needed: %v", err)
		}
	}
	fleet, err := inventoryOf(inventory, tree)
	if err != nil {
		return states.Node{}, nil, err
	}
	node := listed(states.Node{Name: name, Zone: zone, Tags: tags}, fleet)
	node.Tags = withFacts(node.Tags, local.Facts(root))
	return node, fleet, nil
}
