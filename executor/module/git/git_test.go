package git_test

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/git"
	"shoal/executor/moduletest"
	"shoal/internal/testhost"
)

// TestMain: every function of the package has a conformance suite.
func TestMain(m *testing.M) { moduletest.Main(m, git.Modules()) }

// repository is a bare one with two commits: v1 (a tag with a message) and main.
type repository struct{ dir, first, second string }

func newRepository(t *testing.T) repository {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git on this machine")
	}
	work, bare := t.TempDir(), filepath.Join(t.TempDir(), "app.git")
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = work
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.org", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.org",
			"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run("init", "-q", "-b", "main")
	write("run", "one\n")
	run("add", ".")
	run("commit", "-q", "-m", "one")
	run("tag", "-a", "v1", "-m", "v1")
	r := repository{dir: bare, first: run("rev-parse", "HEAD")}
	write("run", "two\n")
	run("commit", "-q", "-a", "-m", "two")
	r.second = run("rev-parse", "HEAD")
	run("clone", "-q", "--bare", work, bare)
	return r
}

func newLocal(t *testing.T) executor.Host {
	h := testhost.Local(t)
	return h
}

// plays is a machine in memory whose git knows one repository.
func plays(r repository) func(t *testing.T) executor.Host {
	return func(t *testing.T) executor.Host {
		h := fake.New()
		commits := map[string]string{r.first: "one\n", r.second: "two\n"}
		write := func(name, text string) {
			staged, err := h.Files.Stage(name, []byte(text), executor.Meta{Mode: 0o755})
			if err == nil {
				err = h.Files.Rename(staged, name)
			}
			if err != nil {
				t.Error(err)
			}
		}
		h.Exec = func(c executor.Command) (executor.Exit, error) {
			last := c.Argv[len(c.Argv)-1]
			switch {
			case c.Argv[1] == "ls-remote" && c.Argv[3] == r.dir:
				return executor.Exit{Stdout: []byte("0000000000000000000000000000000000000001\trefs/tags/v1\n" + r.first + "\trefs/tags/v1^{}\n" + r.second + "\trefs/heads/main\n")}, nil
			case c.Argv[1] == "clone" && c.Argv[len(c.Argv)-2] == r.dir:
				if err := h.Files.Mkdir(last+"/.git", executor.Meta{Mode: 0o755}); err != nil {
					t.Error(err)
				}
				write(last+"/.git/HEAD", "x")
				return executor.Exit{}, nil
			case c.Argv[1] == "-C" && commits[last] != "":
				write(c.Argv[2]+"/run", commits[last])
				return executor.Exit{}, nil
			}
			return executor.Exit{Status: 128, Stderr: []byte("fatal: no such repository or commit")}, nil
		}
		return h
	}
}

func apply(p executor.Params) func(*testing.T, executor.Host) {
	return func(t *testing.T, h executor.Host) {
		t.Helper()
		if _, err := (git.Checkout{}).Apply(t.Context(), h, nil, p); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCheckout(t *testing.T) {
	type p = executor.Params
	r := newRepository(t)
	tag := p{"path": "/srv/app", "repository": r.dir, "ref": "v1"}
	branch := p{"path": "/srv/app", "repository": r.dir, "ref": "main", "owner": "5", "group": "6"}
	commit := p{"path": "/srv/app", "repository": r.dir, "ref": r.first}
	cases := []moduletest.Case{
		{Name: "tag", Params: tag}, {Name: "branch, next version", Params: branch, Setup: apply(tag)},
		{Name: "back", Params: commit, Setup: func(t *testing.T, h executor.Host) { apply(tag)(t, h); apply(branch)(t, h) }},
		{Name: "there", Params: commit, Setup: apply(tag), Matches: true},
		{Name: "no update", Params: p{"path": "/srv/app", "repository": "/none", "ref": "main", "update": false}, Setup: apply(tag), Matches: true},
		{Name: "no such commit", Params: p{"path": "/srv/app", "repository": r.dir, "ref": strings.Repeat("1", 40)}, Setup: apply(tag), Fails: true},
	}
	moduletest.Run(t, moduletest.Suite{Module: git.Checkout{}, Host: plays(r), Snapshot: moduletest.Files, Cases: cases})
	moduletest.Run(t, moduletest.Suite{Module: git.Checkout{}, Host: newLocal, Snapshot: moduletest.Files, Cases: cases,
		NoFaults: "git itself is slow; what plays it has them all"})
}

func TestFiles(t *testing.T) {
	r := newRepository(t)
	for name, host := range map[string]func(*testing.T) executor.Host{"fake": plays(r), "local": newLocal} {
		t.Run(name, func(t *testing.T) {
			h := host(t)
			out, err := git.Checkout{}.Apply(t.Context(), h, nil, executor.Params{"path": "/srv/app", "repository": r.dir, "ref": "main", "owner": "5"})
			if err != nil || out["version"] != r.second {
				t.Fatal(out, err)
			}
			folder := out["folder"].(string)
			if text, err := h.ReadFile("/srv/app/run"); err != nil || string(text) != "two\n" {
				t.Errorf("%q, %v", text, err)
			}
			if names, _ := h.ReadDir(folder); strings.Join(names, " ") != "run" {
				t.Errorf("it holds %v", names)
			}
			if st, _ := h.Lstat(path.Join(folder, "run")); st.UID != 5 {
				t.Errorf("belongs to %d", st.UID)
			}
			_, err = git.Checkout{}.Check(t.Context(), h, nil, executor.Params{"path": "/srv/app", "repository": r.dir, "ref": "none"})
			if err == nil || !strings.Contains(err.Error(), "neither a branch nor a tag none") {
				t.Errorf("another ref: %v", err)
			}
		})
	}
}

func TestKeepGit(t *testing.T) {
	r := newRepository(t)
	h := newLocal(t)
	apply(executor.Params{"path": "/app", "repository": r.dir, "ref": r.first, "keep_git": true})(t, h)
	if _, err := h.Lstat("/app/.git"); err != nil {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	for want, p := range map[string]executor.Params{
		"\"--upload-pack=x\" is no": {"repository": "--upload-pack=x", "ref": "a"},
		"\"ext::sh -c x\" is no":    {"repository": "ext::sh -c x", "ref": "a"},
		"\"--x\" is neither":        {"repository": "/r", "ref": "--x"},
		"\"a..b\" is neither":       {"repository": "/r", "ref": "a..b"},
		"no name of a variable":     {"repository": "/r", "ref": "a", "env": map[string]any{"A=B": "c"}},
	} {
		if err := (git.Checkout{}).Function().Validate(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, wanted %q", p, err, want)
		}
	}
}
