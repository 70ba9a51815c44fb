package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"shoal/mesh"
	"shoal/mesh/api"
)

func newStatus(t *terminal) *cobra.Command {
	var env string
	var watch bool
	cmd := &cobra.Command{Use: "status", Short: "What each node has applied, and how it went", Long: `What each node has applied, and how it went.

RESULT is converged, failed, rolled_back (a state failed, and all was put back) or rollback_incomplete. DRIFT counts things
that somebody else changed since the last revision, and that were put back. shoal report NAME has the details.`, Args: cobra.NoArgs}
	connect := nodeFlag(cmd)
	cmd.Flags().StringVar(&env, "env", "", "only this environment")
	cmd.Flags().BoolVar(&watch, "watch", false, "print again whenever something changed, until interrupted")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client := connect()
		status, err := client.Status(cmd.Context())
		if err != nil {
			return err
		}
		if err := t.printStatus(onlyEnv(status, env)); err != nil || !watch {
			return err
		}
		return t.watchStatus(cmd, client, env, status)
	}
	return cmd
}

func (t *terminal) watchStatus(cmd *cobra.Command, client *api.Client, env string, last mesh.StatusInfo) error {
	for {
		select {
		case <-cmd.Context().Done():
			return nil
		case <-time.After(time.Second):
		}
		status, err := client.Status(cmd.Context())
		if err != nil {
			return err
		}
		if !sameStatus(last, status) {
			t.printf("\n")
			if err := t.printStatus(onlyEnv(status, env)); err != nil {
				return err
			}
		}
		last = status
	}
}

func (t *terminal) printStatus(status mesh.StatusInfo) error {
	if t.json {
		return t.printJSON(status)
	}
	for _, env := range slices.Sorted(maps.Keys(status.Envs)) {
		head := status.Envs[env]
		t.printf("%s is at version %s (%s)\n", env, t.paint(bold, fmt.Sprint(head.Version)), head.Revision.Short())
	}
	if len(status.Envs) == 0 {
		t.printf("nothing has been pushed yet\n")
	}
	var rows [][]string
	for _, n := range status.Nodes {
		rows = append(rows, []string{n.Name, n.Env, fmt.Sprint(n.Version), resultText(n.Result), fmt.Sprint(n.Drift), ageText(n.Seen), remarks(n)})
	}
	t.printf("\n")
	t.table([]string{"NODE", "ENV", "VERSION", "RESULT", "DRIFT", "SEEN", ""}, rows)
	for _, o := range status.Overdrawn {
		t.printf("\nthe ticket %s of %d uses was redeemed too often: %s (%s) is no member by it; it made members of %s\n", o.Ticket, o.Uses, o.Out, o.OutID.Short(), strings.Join(o.In, ", "))
		t.printf("    evict who does not belong (shoal evict), and grant %s its own place (shoal trust propose grant)\n", o.Out)
	}
	return nil
}

// remarks stand last in a node's row: what is wrong with the node itself, before its run's error.
func remarks(n mesh.NodeStatus) string {
	var out []string
	if n.Convicted {
		out = append(out, "it has contradicted itself as an acceptor, and has no seat any more (shoal evict "+n.Name+", if its key is in wrong hands)")
	}
	if n.StaleSeconds > 0 {
		out = append(out, fmt.Sprintf("stale: nobody has confirmed for %s that it is up to date; it goes on enforcing what it has",
			time.Duration(n.StaleSeconds)*time.Second))
	}
	if n.Placement != "" {
		out = append(out, "places by "+n.Placement)
	}
	if n.Forked {
		out = append(out, "its log was written twice (shoal report --history)")
	}
	if n.Error != "" {
		out = append(out, n.Error)
	}
	return strings.Join(out, "; ")
}

func onlyEnv(status mesh.StatusInfo, env string) mesh.StatusInfo {
	if env == "" {
		return status
	}
	out := mesh.StatusInfo{Envs: map[string]mesh.EnvHead{}, Nodes: []mesh.NodeStatus{}, Overdrawn: status.Overdrawn}
	if head, ok := status.Envs[env]; ok {
		out.Envs[env] = head
	}
	for _, n := range status.Nodes {
		if n.Env == env {
			out.Nodes = append(out.Nodes, n)
		}
	}
	return out
}

// sameStatus compares what a person would see change; the time since a node was seen always does.
func sameStatus(a, b mesh.StatusInfo) bool {
	sameTicket := func(x, y mesh.OverdrawnTicket) bool { return x.Ticket == y.Ticket && x.OutID == y.OutID }
	return maps.Equal(a.Envs, b.Envs) && slices.EqualFunc(a.Overdrawn, b.Overdrawn, sameTicket) && slices.EqualFunc(a.Nodes, b.Nodes, func(x, y mesh.NodeStatus) bool {
		x.Seen, y.Seen = time.Time{}, time.Time{}
		x.StaleSeconds, y.StaleSeconds = min(x.StaleSeconds, 1), min(y.StaleSeconds, 1)
		return x == y
	})
}

func resultText(result string) string {
	if result == "" {
		return "waiting"
	}
	return result
}

func ageText(seen time.Time) string {
	if seen.IsZero() {
		return "never"
	}
	age := time.Since(seen)
	switch {
	case age < 2*time.Second:
		return "now"
	case age < time.Minute:
		return fmt.Sprintf("%ds ago", int(age.Seconds()))
	case age < time.Hour:
		return fmt.Sprintf("%dm ago", int(age.Minutes()))
	case age < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(age.Hours()))
	}
	return fmt.Sprintf("%dd ago", int(age.Hours()/24))
}
