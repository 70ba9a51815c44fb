package cmd_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/local"
	"shoal/executor/module/cmd"
	"shoal/executor/moduletest"
	"shoal/internal/testhost"
)

// TestMain: every function of the package has a conformance suite.
func TestMain(m *testing.M) { moduletest.Main(m, cmd.Modules()) }

type params = executor.Params

func newLocal(t *testing.T) *local.Host {
	t.Helper()
	h := testhost.Local(t)
	h.Accounts = fake.New()
	return h
}

func snapshot(t *testing.T, h executor.Host) any {
	t.Helper()
	names, err := h.ReadDir("/")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func touch(t *testing.T, h executor.Host) {
	t.Helper()
	if err := h.Symlink("x", "/made"); err != nil {
		t.Fatal(err)
	}
}

func TestRun(t *testing.T) {
	moduletest.Run(t, moduletest.Suite{
		Module: cmd.Run{}, Snapshot: snapshot, Host: func(t *testing.T) executor.Host { return newLocal(t) },
		Cases: []moduletest.Case{
			{Name: "always", Params: params{"shell": "true"}, Irreversible: true},
			{Name: "argv", Params: params{"argv": []any{"touch", "made"}}, Irreversible: true},
			{Name: "creates", Params: params{"shell": "echo x > made", "creates": "/made"}, Irreversible: true},
			{Name: "is created", Params: params{"shell": "exit 1", "creates": "/made"}, Setup: touch, Matches: true},
			{Name: "creates nothing", Params: params{"shell": "true", "creates": "/made"}, Irreversible: true},
			{Name: "unless holds", Params: params{"shell": "exit 1", "unless": "true"}, Matches: true},
			{Name: "unless fails", Params: params{"shell": "true", "unless": "false"}, Irreversible: true},
			{Name: "only_if fails", Params: params{"shell": "exit 1", "only_if": "false"}, Matches: true},
			{Name: "only_if holds", Params: params{"shell": "true", "only_if": "true"}, Irreversible: true},
			{Name: "fails", Params: params{"shell": "exit 3"}, Irreversible: true, Fails: true},
		},
	})
}

func apply(t *testing.T, h executor.Host, p params) (map[string]any, error) {
	t.Helper()
	return cmd.Run{}.Apply(t.Context(), h, nil, p)
}

func TestWhereAndHowItRuns(t *testing.T) {
	h := newLocal(t)
	if err := os.Mkdir(filepath.Join(h.Root(), "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		p    params
		want string
	}{
		{params{"shell": "pwd"}, h.Root()},
		{params{"shell": "pwd", "cwd": "/dir"}, h.Root() + "/dir"},
		{params{"shell": "echo $SHOAL_ROOT"}, h.Root()},
		{params{"shell": "echo $A-$B", "env": map[string]any{"A": "1", "B": int64(2)}}, "1-2"},
		{params{"argv": []any{"echo", "$A;", "x"}}, "$A; x"},
		{params{"shell": "id -u", "user": "root"}, "0"},
	} {
		out, err := apply(t, h, c.p)
		if err != nil || strings.TrimSpace(out["stdout"].(string)) != c.want {
			t.Errorf("%v: %v, %v; wanted %q", c.p, out, err, c.want)
		}
	}
}

// TestStdin: the command reads what it is given, and its guard reads nothing.
func TestStdin(t *testing.T) {
	h := newLocal(t)
	p := params{"shell": "cat", "stdin": "line\n", "only_if": `test -z "$(cat)"`}
	change, err := cmd.Run{}.Check(t.Context(), h, nil, p)
	if err != nil || !change.Needed {
		t.Fatalf("%+v, %v", change, err)
	}
	out, err := cmd.Run{}.Apply(t.Context(), h, nil, p)
	if err != nil || out["stdout"] != "line\n" {
		t.Errorf("%v, %v", out, err)
	}
}

func TestFailureSaysWhy(t *testing.T) {
	h := newLocal(t)
	for _, c := range []struct {
		p    params
		want string
	}{
		{params{"shell": "echo out; echo err >&2; exit 7"}, "status 7: err\nout"},
		{params{"shell": "exit 7"}, "status 7: it said nothing"},
		{params{"argv": []any{"/no/such/program"}}, "run /no/such/program: "},
		{params{"shell": "kill -9 $$"}, "status 137"},
		{params{"shell": "exec sleep 600", "timeout": "20ms"}, "timed out after 20ms"},
		{params{"shell": "sleep 600 & wait", "timeout": "20ms"}, "timed out after 20ms"},
		{params{"shell": "true", "cwd": "/missing"}, "no path /missing"},
		{params{"shell": "true", "user": "stranger"}, "no user stranger"},
		{params{}, "needs one of argv and shell"},
		{params{"argv": []any{}}, "argv: is empty"},
		{params{"shell": "true", "argv": []any{"true"}}, "needs one of argv and shell"},
		{params{"shell": "true", "timeout": "soon"}, "timeout: "},
		{params{"shell": "true", "env": map[string]any{"A=B": "x"}}, "no name of a variable"},
	} {
		_, err := apply(t, h, c.p)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, wanted %q", c.p, err, c.want)
		}
	}
}

func TestLongOutputKeepsItsEnd(t *testing.T) {
	out, err := apply(t, newLocal(t), params{"shell": "head -c 3000000 /dev/zero | tr '\\0' x; echo end"})
	if err != nil {
		t.Fatal(err)
	}
	if s := out["stdout"].(string); len(s) > 16<<10 || !strings.HasSuffix(s, "xend\n") {
		t.Errorf("%d bytes, ending in %q", len(s), s[len(s)-10:])
	}
}

func TestReactIgnoresCreates(t *testing.T) {
	h := newLocal(t)
	touch(t, h)
	p := params{"shell": "true", "creates": "/made"}
	change, err := cmd.Run{}.Check(t.Context(), h, nil, cmd.Run{}.React(p))
	if err != nil || !change.Needed || !change.Always {
		t.Errorf("%+v, %v", change, err)
	}
	if p["creates"] == nil {
		t.Error("React changed the parameters of the state")
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (cmd.Run{}).Apply(ctx, newLocal(t), nil, params{"shell": "true"}); err == nil {
		t.Error("it ran")
	}
}
