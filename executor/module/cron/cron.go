// Package cron is the module cron: jobs in files of their own in /etc/cron.d.
package cron

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"shoal/executor"
	"shoal/internal/hostfile"
	"shoal/states"
)

// folder is where cron reads jobs of the system, each line with the user that it runs as.
const folder = "/etc/cron.d/"

// Modules are the functions of this package.
func Modules() []executor.Module { return []executor.Module{job{present: true}, job{}} }

// job is cron.present and cron.absent.
type job struct{ present bool }

var nameParam = states.Param{Name: "name", Type: states.String, Required: true, Provides: states.ResourcePath, Within: folder + "*",
	Doc: "name of the file in /etc/cron.d: letters, digits, - and _, since cron passes over others"}

func (j job) Function() states.Function {
	f := states.Function{
		Module: "cron", Name: "absent",
		Doc: `No such job in /etc/cron.d.

Example:
  no-sync:
    cron.absent: {name: sync}`,
		Params: []states.Param{nameParam},
		Outputs: []states.Output{
			{Name: "path", Type: states.Path, Doc: "the file of the job"},
			{Name: "changed", Type: states.Bool, Doc: "whether this run changed it"},
		},
		CheckDoc: "The file is compared.",
		UndoDoc:  "The file is restored as it was; one that was made is removed.",
		Validate: validate, Isolated: true,
	}
	if !j.present {
		return f
	}
	f.Name = "present"
	f.Outputs = append(f.Outputs, states.Output{Name: "sha256", Type: states.String, Doc: "of the file of the job"})
	f.Doc = `A job in a file of its own in /etc/cron.d. cron sees it by itself within a minute. In a command % stands for a newline, as cron has it; write \% for a percent sign.

Example:
  backup:
    cron.present:
      name: backup
      user: backup
      schedule: "30 3 * * 1-5"
      command: /usr/local/bin/backup --all
      env: {MAILTO: ops@example.org}`
	f.Params = []states.Param{nameParam,
		{Name: "command", Type: states.String, Required: true, Doc: "what runs, by a shell"},
		{Name: "user", Type: states.String, Default: "root", Needs: states.ResourceUser, Doc: "the user it runs as"},
		{Name: "schedule", Type: states.String, Doc: "minute, hour, day of month, month, day of week; or @reboot, @hourly, @daily, @weekly, @monthly, @yearly"},
		{Name: "minute", Type: states.String, Doc: "in place of schedule; * when not given"},
		{Name: "hour", Type: states.String, Doc: "in place of schedule; * when not given"},
		{Name: "day", Type: states.String, Doc: "in place of schedule: day of the month; * when not given"},
		{Name: "month", Type: states.String, Doc: "in place of schedule; * when not given"},
		{Name: "weekday", Type: states.String, Doc: "in place of schedule: 0 to 7 or a name; * when not given"},
		{Name: "env", Type: states.Map, Doc: "variables for the job, such as PATH and MAILTO"},
		{Name: "comment", Type: states.String, Doc: "a line above the job"},
	}
	return f
}

var fileName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// variable is what cron takes for the name of one.
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func validate(params map[string]any) error {
	p := executor.Params(params)
	if name := p.String("name"); !fileName.MatchString(name) {
		return fmt.Errorf("name: cron passes over a file called %q", name)
	}
	if _, present := p["command"]; !present {
		return nil
	}
	_, err := text(p)
	return err
}

// text is the file of a job.
func text(p executor.Params) (string, error) {
	schedule, err := scheduleOf(p)
	if err != nil {
		return "", err
	}
	env, _ := p["env"].(map[string]any)
	var b strings.Builder
	b.WriteString("# kept by shoal\n")
	if comment := p.String("comment"); comment != "" {
		b.WriteString("# " + comment + "\n")
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if !variable.MatchString(name) {
			return "", fmt.Errorf("env: %q is no name of a variable", name)
		}
		fmt.Fprintf(&b, "%s=%s\n", name, quote(fmt.Sprint(env[name])))
	}
	user, command := p.String("user"), strings.TrimSpace(p.String("command"))
	if user == "" || strings.ContainsAny(user, " \t") {
		return "", fmt.Errorf("user: %q is no user", user)
	}
	if command == "" {
		return "", errors.New("command: is empty")
	}
	fmt.Fprintf(&b, "%s %s %s\n", schedule, user, command)
	lines := 2 + len(env)
	if p.String("comment") != "" {
		lines++
	}
	if out := b.String(); strings.Count(out, "\n") == lines && !strings.ContainsAny(out, "\r\x00") {
		return out, nil
	}
	return "", errors.New("command, user, env and comment are of one line each")
}

// quote keeps the spaces around a value; cron takes off one pair of quotes.
func quote(value string) string {
	if value == strings.TrimSpace(value) && value != "" && !strings.ContainsAny(value, `"'`) {
		return value
	}
	if strings.Contains(value, `"`) {
		return "'" + value + "'"
	}
	return `"` + value + `"`
}

// target is the file; nil Load: it is to be gone.
func target(h executor.Host, p executor.Params) (*hostfile.Target, error) {
	data, err := text(p)
	if err != nil {
		return nil, err
	}
	// cron refuses a file that others may write or that is not root's.
	mode, me := fs.FileMode(0o644), hostfile.Self(h)
	t := &hostfile.Target{Path: nameParam.Resource(p.String("name"))}
	t.Mode, t.UID, t.GID, t.Owner, t.Group = &mode, &me.UID, &me.GID, fmt.Sprint(me.UID), fmt.Sprint(me.GID)
	t.Holding([]byte(data))
	if _, ok, err := h.LookupUser(p.String("user")); err != nil {
		return nil, err
	} else if !ok {
		t.Missing = &executor.Missing{Kind: states.ResourceUser, Name: p.String("user")}
	}
	return t, nil
}

func (j job) Check(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	if j.present {
		t, err := target(h, p)
		if err != nil {
			return executor.Change{}, err
		}
		return t.Check(ctx, h)
	}
	name := nameParam.Resource(p.String("name"))
	st, err := hostfile.Look(h, name)
	if err != nil {
		return executor.Change{}, err
	}
	change := executor.Change{Needed: st != nil, Outputs: map[string]any{"path": name, "changed": st != nil}}
	if st != nil {
		change.Diff = fmt.Sprintf("remove %s %s\n", hostfile.KindName(st.Mode), name)
	}
	return change, nil
}

func (job) Capture(_ context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	return hostfile.Capture(h, nameParam.Resource(p.String("name")), false, false)
}

func (j job) Apply(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	if j.present {
		t, err := target(h, p)
		if err != nil {
			return nil, err
		}
		return t.Apply(ctx, h)
	}
	name := nameParam.Resource(p.String("name"))
	out := map[string]any{"path": name, "changed": true}
	if err := h.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return out, nil
}

func (job) Revert(_ context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	return hostfile.Revert(h, nameParam.Resource(p.String("name")), u)
}

func (job) RevertDiff(_ context.Context, h executor.Host, p executor.Params, u executor.Undo) string {
	return hostfile.RevertDiff(h, nameParam.Resource(p.String("name")), u)
}
