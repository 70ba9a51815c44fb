package wasm_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/local"
	"shoal/executor/module/file"
	"shoal/executor/moduletest"
	"shoal/executor/wasm"
	"shoal/states"
)

// trial is one run of a tree in which the module misbehaves does something.
type trial struct {
	in, how string
	allow   string // more of its allow:
	limits  string
}

const misbehavesManifest = `abi: 1
functions:
  does:
    doc: A line in a file, and then what a module must not do.
    parameters:
      path: {type: path, default: /srv/bad/file}
      in: {type: string, default: never}
      how: {type: string, default: nothing}
    outputs:
      path: {type: path}
      seen: {type: string}
`

func (c trial) tree(t *testing.T) fstest.MapFS {
	t.Helper()
	binary := goModule(t, "testdata/misbehaves")
	site := fmt.Sprintf(`targets:
  - on: "*"
    components: [app]
modules:
  bad:
    source: modules/bad.wasm
    sha256: %q
    allow: {write: [/srv/bad]%s}
    limits: {memory_mb: 32, output_mb: 2%s}
`, hashOf(binary), c.allow, c.limits)
	app := fmt.Sprintf(`states:
  first:
    file.managed: {path: /etc/first, content: "one\n"}
  second:
    bad.does: {in: %q, how: %q}
    require: [first]
`, c.in, c.how)
	return fstest.MapFS{
		"site.yaml": {Data: []byte(site)}, "components/app/states.yaml": {Data: []byte(app)},
		"modules/bad.wasm": {Data: binary}, "modules/bad.yaml": {Data: []byte(misbehavesManifest)},
	}
}

// shared compiles the module once for all trials.
func sharedLoader(t *testing.T) *wasm.Loader {
	l := &wasm.Loader{}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func engine(t *testing.T, l executor.Loader, h executor.Host, data *local.Data) *executor.Engine {
	return &executor.Engine{
		Host: h, Modules: executor.Catalogue(file.Modules()...), Loader: l,
		Journal: data, Ledger: data, Vault: data, Lock: data, Clock: local.Clock{},
	}
}

func openData(t *testing.T) *local.Data {
	data := local.OpenData(t.TempDir())
	t.Cleanup(func() {
		if err := data.Close(); err != nil {
			t.Error(err)
		}
	})
	return data
}

func builtIn() (all []states.Function) {
	for _, m := range file.Modules() {
		all = append(all, m.Function())
	}
	return all
}

func (c trial) plan(t *testing.T) (*states.Plan, executor.Contents) {
	t.Helper()
	tree := c.tree(t)
	plan, err := states.Compile(tree, states.Input{Node: node}, builtIn())
	if err != nil {
		t.Fatal(err)
	}
	return plan, executor.TreeContents(tree)
}

func badMachine(t *testing.T) *fake.Host {
	h := fake.New()
	moduletest.Put(t, h, "/etc/secret", "hidden\n")
	moduletest.Put(t, h, "/etc/passwd", "root\n")
	moduletest.Put(t, h, "/srv/bad/other", "left alone\n")
	h.Commands.Exec = acme(new([]string))
	return h
}

// acme is a command that notes what it was asked.
func acme(did *[]string) func(executor.Command) (executor.Exit, error) {
	return func(cmd executor.Command) (executor.Exit, error) {
		*did = append(*did, strings.Join(cmd.Argv, " "))
		if cmd.Argv[1] == "show" {
			return executor.Exit{Stdout: []byte("shown\n")}, nil
		}
		return executor.Exit{}, nil
	}
}

// What a module must not do fails the run with a sentence that says what it was, and the machine is as before.
func TestMisbehaviourIsRolledBack(t *testing.T) {
	l := sharedLoader(t)
	commands := ", commands: [/bin/acme do], queries: [/bin/acme show]"
	for _, c := range []struct {
		trial
		want string
	}{
		{trial{in: "apply", how: "loop", limits: ", time: 3s"}, "apply of extension module bad: it took longer than 3s (limits.time)"},
		{trial{in: "check", how: "loop", limits: ", time: 3s"}, "check of extension module bad: it took longer than 3s (limits.time)"},
		{trial{in: "apply", how: "allocate"}, "of 32 MiB of memory (limits.memory_mb)"},
		{trial{in: "apply", how: "trap"}, "wasm error: unreachable"},
		{trial{in: "apply", how: "panic"}, "panic: on purpose"},
		{trial{in: "apply", how: "exit"}, "it ended with status 7"},
		{trial{in: "apply", how: "garbage"}, "it replies what cannot be understood"},
		{trial{in: "check", how: "garbage"}, "it replies what cannot be understood"},
		{trial{in: "capture", how: "garbage"}, "it replies what cannot be understood"},
		{trial{in: "apply", how: "pointer"}, "which are outside of its memory"},
		{trial{in: "apply", how: "long"}, "more than its limit of 2 MiB (limits.output_mb)"},
		{trial{in: "apply", how: "operations"}, "it asks for more than 10000 operations"},
		{trial{in: "apply", how: "read outside"}, "extension module bad may not look at /etc/secret: it is not in read of its allow: in site.yaml"},
		{trial{in: "check", how: "read outside"}, "extension module bad may not look at /etc/secret: it is not in read of its allow: in site.yaml"},
		{trial{in: "check", how: "read dots"}, "not an absolute path without .. and //"},
		{trial{in: "apply", how: "write outside"}, "extension module bad may not look at /etc/passwd"},
		{trial{in: "apply", how: "write outside", allow: ", read: /etc"}, "extension module bad may not write /etc/passwd: it is not in write of its allow: in site.yaml"},
		{trial{in: "apply", how: "write uncaptured"}, "may not write /srv/bad/other: its capture did not name it, so that it could not be undone"},
		{trial{in: "check", how: "write"}, "may not write /srv/bad/file: a check and a capture change nothing"},
		{trial{in: "capture", how: "write"}, "may not write /srv/bad/file: a check and a capture change nothing"},
		{trial{in: "capture", how: "captures outside"}, "may not change /etc/passwd: it is not in write of its allow: in site.yaml"},
		{trial{in: "apply", how: "symlink"}, "it passes through the symlink /srv/bad/file"},
		{trial{in: "apply", how: "setuid"}, "setuid and setgid are not for extension modules"},
		{trial{in: "apply", how: "command", allow: commands}, "may not run /bin/sh -c true: it is not in commands of its allow: in site.yaml"},
		{trial{in: "check", how: "command in check", allow: commands}, "may not run /bin/acme do: a check and a capture run what is in queries: alone"},
		{trial{in: "apply", how: "command in check", allow: commands}, "its capture gave no data to undo it by"},
		{trial{in: "apply", how: "fetch"}, "may not fetch http://elsewhere.example/x: it is not in hosts of its allow: in site.yaml"},
		{trial{in: "apply", how: "content"}, "none of its parameters names the contents"},
		{trial{in: "apply", how: "unknown operation"}, `there is no "reboot"`},
		{trial{in: "apply", how: "undeclared output"}, `it gives an output "other", which its manifest does not declare`},
		{trial{in: "apply", how: "wrong output"}, `it gives the output "path" as "not/absolute", which is no path`},
		{trial{in: "check", how: "no diff"}, "it wants a change, and shows no diff"},
		{trial{in: "check", how: "never done"}, "it does not hold after it was applied"},
		{trial{in: "apply", how: "missing"}, "no user nobody-here"},
		{trial{in: "capture", how: "irreversible"}, "it cannot be undone, and does not say why"},
	} {
		t.Run(c.how+" in "+c.in, func(t *testing.T) {
			plan, contents := c.plan(t)
			h := badMachine(t)
			before := moduletest.Files(t, h)
			report := engine(t, l, h, openData(t)).Apply(t.Context(), plan, contents, executor.RunMeta{})
			if report.Result != executor.RolledBackRun || !strings.Contains(report.Error, c.want) {
				t.Errorf("%s: %s\nwant %s", report.Result, report.Error, c.want)
			}
			if after := moduletest.Files(t, h); !reflect.DeepEqual(before, after) {
				t.Errorf("the machine is not as before:\n%v\n%v", before, after)
			}
			t.Log(report.Error)
		})
	}
}

// A module that behaves sees the same clock, dice and environment in every call, unless the site grants others.
func TestModulesSeeNoWorld(t *testing.T) {
	l := sharedLoader(t)
	seen := func(allow string) string {
		plan, contents := trial{allow: allow}.plan(t)
		report := engine(t, l, badMachine(t), openData(t)).Apply(t.Context(), plan, contents, executor.RunMeta{})
		if report.Result != executor.Converged || report.Changed != 2 {
			t.Fatalf("%+v", report)
		}
		for _, s := range report.States {
			if s.Part == "bad.does" {
				return s.Outputs["seen"].(string)
			}
		}
		t.Fatal("no outputs")
		return ""
	}
	first := seen("")
	if again := seen(""); again != first {
		t.Errorf("it saw %s, and then %s", first, again)
	}
	if !strings.HasSuffix(first, "[] []") {
		t.Errorf("it sees an environment: %s", first)
	}
	if env := seen(", env: {COLOUR: blue}"); !strings.HasSuffix(env, `["COLOUR=blue"] []`) {
		t.Errorf("env: %s", env)
	}
	field := func(s string, n int) string { return strings.Fields(s)[n] }
	if clock := seen(", clock: true"); field(clock, 0) == field(first, 0) || field(clock, 1) != field(first, 1) {
		t.Errorf("clock: %s, without it %s", clock, first)
	}
	if dice := seen(", random: true"); field(dice, 1) == field(first, 1) || field(dice, 0) != field(first, 0) {
		t.Errorf("random: %s, without it %s", dice, first)
	}
}

// Commands run where they are granted and can be taken back; a query runs in a check.
func TestModulesRunCommands(t *testing.T) {
	l := sharedLoader(t)
	h := badMachine(t)
	var did []string
	h.Commands.Exec = acme(&did)
	run := func(c trial) executor.Report {
		c.allow = ", commands: [/bin/acme do, /bin/acme undo], queries: [/bin/acme show]"
		plan, contents := c.plan(t)
		return engine(t, l, h, openData(t)).Apply(t.Context(), plan, contents, executor.RunMeta{Contact: func(context.Context) func(context.Context) error {
			return func(context.Context) error {
				if c.in == "check" {
					return nil
				}
				return errors.New("no")
			}
		}})
	}
	before := moduletest.Files(t, h)
	if report := run(trial{how: "commands"}); report.Result != executor.RolledBackRun {
		t.Fatalf("%+v", report)
	}
	if got := strings.Join(did, ", "); got != "/bin/acme do, /bin/acme undo" {
		t.Errorf("it ran %s", got)
	}
	if after := moduletest.Files(t, h); !reflect.DeepEqual(before, after) {
		t.Errorf("the machine is not as before: %v", after)
	}
	if report := run(trial{in: "check", how: "query"}); report.Result != executor.Converged {
		t.Fatalf("%+v", report)
	}
}

// dying is a host on which nothing works any more after some operations, as for a process that was killed there.
type dying struct {
	executor.Host
	left int
}

var errDead = errors.New("dead")

func (d *dying) Rename(staged, name string) error {
	if d.left--; d.left < 0 {
		return errDead
	}
	return d.Host.Rename(staged, name)
}

func (d *dying) Remove(name string) error {
	if d.left < 0 {
		return errDead
	}
	return d.Host.Remove(name)
}

func (d *dying) SyncFiles() error {
	if d.left < 0 {
		return errDead
	}
	return d.Host.SyncFiles()
}

func (d *dying) Unstage(paths []string) error {
	if d.left < 0 {
		return errDead
	}
	return d.Host.Unstage(paths)
}

// A run that died with an extension module's change made is taken back at the next start, by that module, though no tree is
// there to take it from; and what it did is taken back when its state, and the module, have left the tree.
func TestExtensionsAreUndoneWithoutTheirTree(t *testing.T) {
	l := sharedLoader(t)
	plan, contents := trial{}.plan(t)
	h, data := badMachine(t), openData(t)
	before := moduletest.Files(t, h)
	for left := range 3 { // before the first rename, between the two, and after both
		d := &dying{h, left}
		confirm := func(context.Context) error { d.left = -1; return errDead }
		report := engine(t, l, d, data).Apply(t.Context(), plan, contents, executor.RunMeta{
			Contact: func(context.Context) func(context.Context) error { return confirm },
		})
		if report.Result == executor.Converged {
			t.Fatalf("%+v", report)
		}
		recovered, found, err := engine(t, l, h, data).Recover(t.Context())
		if err != nil || !found || recovered.Result != executor.RolledBackRun {
			t.Fatalf("after %d renames: %+v, %v, %v", left, recovered, found, err)
		}
		if after := moduletest.Files(t, h); !reflect.DeepEqual(before, after) {
			t.Fatalf("after %d renames: the machine is not as before: %v", left, after)
		}
	}
	if report := engine(t, l, h, data).Apply(t.Context(), plan, contents, executor.RunMeta{}); report.Result != executor.Converged || report.Changed != 2 {
		t.Fatalf("%+v", report)
	}
	empty, err := states.Compile(fstest.MapFS{"site.yaml": {Data: []byte("targets: []\n")}}, states.Input{Node: node}, builtIn())
	if err != nil {
		t.Fatal(err)
	}
	if report := engine(t, l, h, data).Apply(t.Context(), empty, nil, executor.RunMeta{}); report.Result != executor.Converged || report.Changed != 2 {
		t.Fatalf("%+v", report)
	}
	if after := moduletest.Files(t, h); !reflect.DeepEqual(before, after) {
		t.Errorf("the machine is not as before: %v", after)
	}
}
