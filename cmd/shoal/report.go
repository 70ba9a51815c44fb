package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"shoal/executor"
	"shoal/mesh"
)

func newReport(t *terminal) *cobra.Command {
	var all, owned, history bool
	var entry uint64
	var root, data string
	cmd := &cobra.Command{
		Use:   "report [NAME]",
		Short: "A node's last run (default: the node that answers), or what shoal owns on this machine",
		Long: `A node's last run (default: the node that answers).

With --history, the newest 128 entries of its log, also when the node itself is gone: its runs, its starts, and what else
befell it; --entry N with it shows those up to N. With --entry N alone, the run that entry N is about.

With --owned, what this machine's ledger holds, with no agent asked: every thing that a state made or changed, which state
has it now, and what becomes of it when that state leaves the tree.`,
		Args: cobra.MaximumNArgs(1),
	}
	connect := nodeFlag(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "also list what did not change")
	cmd.Flags().BoolVar(&history, "history", false, "list what the node's log has")
	cmd.Flags().Uint64Var(&entry, "entry", 0, "the number of an entry of the node's log")
	cmd.Flags().BoolVar(&owned, "owned", false, "list what shoal owns on this machine")
	cmd.Flags().StringVar(&root, "root", "", "with --owned: the folder that stands for the machine")
	cmd.Flags().StringVar(&data, "data-dir", "", "with --owned: where the ledger is (default: ROOT"+defaultDataDir+")")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := ""
		if len(args) == 1 {
			name = args[0]
		}
		if owned {
			if name != "" {
				return badInput("--owned reads the ledger of this machine: name no other")
			}
			return t.owned(root, dataDir(data, root))
		}
		if history {
			log, err := connect().History(cmd.Context(), name, entry)
			if err != nil || t.json {
				return orJSON(t, log, err)
			}
			t.printHistory(log)
			return nil
		}
		report, err := connect().EarlierReport(cmd.Context(), name, entry)
		if err != nil || t.json {
			return orJSON(t, report, err)
		}
		t.printReport(report, all)
		return nil
	}
	return cmd
}

// owned prints the ledger of a machine.
func (t *terminal) owned(root, dir string) error {
	m, err := openMachine(root, dir)
	if err != nil {
		return err
	}
	all, err := m.engine.Owned()
	if err := errors.Join(err, m.close()); err != nil {
		return err
	}
	if t.json {
		return t.printJSON(all)
	}
	if len(all) == 0 {
		t.note("nothing on this machine is shoal's")
		return nil
	}
	for _, o := range all {
		thing := o.Function
		if o.Kind != "" {
			thing = o.Kind + " " + o.Name
		}
		t.printf("%s  %s (%s)", t.paint(bold, thing), o.State, o.Function)
		switch {
		case o.OnRemove == "keep":
			t.printf("  kept when the state leaves the tree")
		case o.Undo != "its own":
			t.printf("  undo: %s", o.Undo)
		}
		t.printf("\n")
	}
	return nil
}

// printHistory prints a node's log.
func (t *terminal) printHistory(log mesh.HistoryInfo) {
	if log.Fork > 0 {
		t.printf("%s: %s has written entry %d twice: its disk went back in time, or two machines have its key\n\n",
			t.tint(red, "forked"), log.Node, log.Fork)
	}
	if len(log.Entries) == 0 {
		t.note("nobody who can be reached has a log of %s", log.Node)
		return
	}
	var rows [][]string
	for _, e := range log.Entries {
		what, version := e.Result, fmt.Sprintf("%s %d", e.Env, e.Version)
		if e.Kind != "report" {
			what, version = cmp.Or(e.What, e.Kind), ""
		}
		rows = append(rows, []string{
			fmt.Sprint(e.Seq), e.Time.Local().Format(time.DateTime), version, what, fmt.Sprint(e.Changed), firstLine(e.Error),
		})
	}
	t.table([]string{"ENTRY", "TIME", "VERSION", "WHAT", "CHANGED", ""}, rows)
}

// marks stand before a state in a report.
var marks = map[executor.Result]struct{ sign, color string }{
	executor.Unchanged:   {"=", dim},
	executor.Changed:     {"~", green},
	executor.WouldChange: {"~", yellow},
	executor.Unknown:     {"?", yellow},
	executor.Skipped:     {"-", dim},
	executor.Failed:      {"✗", red},
	executor.RolledBack:  {"↶", yellow},
}

// doing are the results of a part that acts or would.
var doing = []executor.Result{executor.Changed, executor.WouldChange, executor.Unknown}

// maxDiffs is how many diffs a person may want to read at once.
const maxDiffs = 100

// printReport prints what a run did, or would do: what matters in full, the rest as a count.
func (t *terminal) printReport(r executor.Report, all bool) {
	counts := map[executor.Result]int{}
	many := 0
	for _, s := range r.States {
		if s.Diff != "" {
			many++
		}
	}
	for _, s := range r.States {
		counts[s.Result]++
		if many > maxDiffs {
			s.Diff = ""
		}
		quiet := s.Result == executor.Unchanged || s.Result == executor.Skipped
		if quiet && !all {
			continue
		}
		t.printState(s)
	}
	if many > maxDiffs {
		t.printf("\n%d diffs are left out here; --json has them\n", many)
	}
	if r.NotLookedAt > 0 {
		t.printf("\n%d states that nobody touched were not looked at\n", r.NotLookedAt)
	}
	if r.Error != "" {
		t.printf("\n%s %s\n", t.paint(red, "✗"), r.Error)
	}
	for _, left := range r.Left {
		t.printf("  %s %s\n", t.paint(red, "left:"), left)
	}
	t.printf("\n%s\n", t.summary(r, counts))
}

func (t *terminal) printState(s executor.StateReport) {
	mark := marks[s.Result]
	id := s.ID
	if s.Invocation > 1 {
		id = fmt.Sprintf("%s (run %d)", id, s.Invocation)
	}
	t.printf("%s %s  %s", t.paint(mark.color, mark.sign), t.paint(bold, id), s.Part)
	t.printf("  %s", t.paint(mark.color, strings.ReplaceAll(string(s.Result), "_", " ")))
	if final := !s.Reversible && slices.Contains(doing, s.Result); final {
		t.printf("  %s", t.paint(red, "cannot be undone"))
	} else if s.Note != "" && s.Reversible {
		t.printf("  (%s)", s.Note)
	}
	t.printf("\n")
	if s.Error != "" {
		t.printf("%s\n", indent(t.paint(red, s.Error), "    "))
	}
	if s.Diff != "" {
		t.printf("%s", t.paintDiff(s.Diff))
	}
}

// summary is the one line that people read.
func (t *terminal) summary(r executor.Report, counts map[executor.Result]int) string {
	var parts []string
	for _, c := range []struct {
		result executor.Result
		words  string
	}{
		{executor.WouldChange, "to change"}, {executor.Unknown, "unknown"}, {executor.Changed, "changed"},
		{executor.Failed, "failed"}, {executor.RolledBack, "rolled back"}, {executor.Skipped, "skipped"}, {executor.Unchanged, "unchanged"},
	} {
		if n := counts[c.result]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, c.words))
		}
	}
	if len(parts) == 0 {
		parts = []string{"no states"}
	}
	line := strings.Join(parts, ", ")
	head := r.Node
	if r.Version > 0 {
		head = fmt.Sprintf("%s, %s version %d", r.Node, r.Env, r.Version)
	}
	result := string(r.Result)
	if counts[executor.WouldChange]+counts[executor.Unknown] > 0 {
		result = "plan"
	}
	return fmt.Sprintf("%s: %s (%s, %.1f ms)", head, t.paint(wordColors[result], strings.ReplaceAll(result, "_", " ")), line, r.TookMS)
}

// paintDiff indents a diff and colours its lines.
func (t *terminal) paintDiff(diff string) string {
	var b strings.Builder
	for line := range strings.Lines(diff) {
		line = strings.TrimSuffix(line, "\n")
		color := ""
		switch {
		case strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"):
			color = dim
		case strings.HasPrefix(line, "+"):
			color = green
		case strings.HasPrefix(line, "-"):
			color = red
		case strings.HasPrefix(line, "@@"):
			color = cyan
		}
		if color != "" {
			line = t.paint(color, line)
		}
		b.WriteString("    " + line + "\n")
	}
	return b.String()
}

func indent(s, by string) string { return by + strings.ReplaceAll(s, "\n", "\n"+by) }
