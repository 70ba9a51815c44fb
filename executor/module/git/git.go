// Package git is the module git: a commit of a repository, in a folder of its own. It runs the command git, which knows the
// keys, proxies and protocols of its machine; a library that does the same would add as much to the program as all modules
// together.
package git

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"shoal/executor"
	"shoal/internal/hostfile"
	"shoal/states"
)

// Modules are the functions of this package.
func Modules() []executor.Module { return []executor.Module{Checkout{}} }

// outputLimit is how much of what git says is kept, in bytes.
const outputLimit = 64 << 10

// Checkout is git.checkout.
type Checkout struct{}

// Function describes it.
func (Checkout) Function() states.Function {
	return states.Function{
		Module: "git", Name: "checkout",
		Doc: `The files of a commit. They are checked out beside their place, into PATH.versions/COMMIT, and PATH becomes a symlink to it in one step; going back is one step too. Older versions stay until the state leaves the tree. A branch or tag is looked up in the repository at each run, also by a plan; a whole commit hash is not, and nothing is asked while it is there. Needs the command git, which never asks for a password.

Example:
  app:
    git.checkout:
      path: /srv/app
      repository: https://example.org/app.git
      ref: v1.4
      owner: app`,
		Params: []states.Param{
			{Name: "path", Type: states.Path, Required: true, Provides: states.ResourcePath, Doc: "the symlink to the folder that holds the files"},
			{Name: "repository", Type: states.String, Required: true, Doc: "its URL as git knows it, or its path on the machine"},
			{Name: "ref", Type: states.String, Required: true, Doc: "a branch, a tag, or a commit as 40 hexadecimal digits"},
			{Name: "update", Type: states.Bool, Default: true, Doc: "false: a checkout that is there stays, whatever the ref has become"},
			{Name: "keep_git", Type: states.Bool, Default: false, Doc: "keep .git beside the files"},
			{Name: "owner", Type: states.String, Needs: states.ResourceUser, Doc: "user name or number of all files; root when not given"},
			{Name: "group", Type: states.String, Needs: states.ResourceGroup, Doc: "group name or number of all files; root when not given"},
			{Name: "env", Type: states.Map, Doc: "environment variables for git, such as GIT_SSH_COMMAND"},
		},
		Outputs: []states.Output{
			{Name: "path", Type: states.Path, Doc: "the symlink"},
			{Name: "version", Type: states.String, Doc: "the commit"},
			{Name: "folder", Type: states.Path, Doc: "the folder that holds the files"},
			{Name: "changed", Type: states.Bool, Doc: "whether this run changed it"},
		},
		CheckDoc: "git ls-remote for a branch or a tag; then the symlink is read and the commit's folder looked for. What is in the folder is not compared.",
		UndoDoc:  "The symlink is restored as it was; a version that was checked out is removed with all that is in its folder.",
		Validate: validate,
	}
}

var (
	commitHash = regexp.MustCompile(`^[0-9a-f]{40}$`)
	refName    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./@+=-]*$`)
	variable   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func validate(params map[string]any) error {
	p := executor.Params(params)
	repository := p.String("repository")
	if repository == "" || strings.HasPrefix(repository, "-") || strings.Contains(repository, "::") || strings.ContainsAny(repository, "\n\x00") {
		return fmt.Errorf("repository: %q is no repository", repository)
	}
	if ref := p.String("ref"); !refName.MatchString(ref) || strings.Contains(ref, "..") {
		return fmt.Errorf("ref: %q is neither a branch, a tag nor a commit", ref)
	}
	_, err := environment(p)
	return err
}

func environment(p executor.Params) ([]string, error) {
	env, _ := p["env"].(map[string]any)
	out := []string{"GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_COUNT=2",
		"GIT_CONFIG_KEY_0=core.hooksPath", "GIT_CONFIG_VALUE_0=/dev/null", // a checkout runs nothing
		"GIT_CONFIG_KEY_1=protocol.ext.allow", "GIT_CONFIG_VALUE_1=never"}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if !variable.MatchString(name) {
			return nil, fmt.Errorf("env: %q is no name of a variable", name)
		}
		out = append(out, name+"="+fmt.Sprint(env[name]))
	}
	return out, nil
}

// call is the parameters of one checkout.
type call struct {
	hostfile.Version
	h      executor.Host
	p      executor.Params
	wanted hostfile.Wanted
}

// newCall finds the commit. settled: one is there and stays, whatever it is.
func newCall(ctx context.Context, h executor.Host, p executor.Params) (c *call, settled bool, err error) {
	name, err := hostfile.PathOf(p)
	if err != nil {
		return nil, false, err
	}
	if err := validate(p); err != nil {
		return nil, false, err
	}
	c = &call{Version: hostfile.Version{Path: name}, h: h, p: p}
	if c.wanted, err = hostfile.WantedMeta(h, p); err != nil {
		return nil, false, err
	}
	if update, given := p.Bool("update"); given && !update {
		current, _, err := c.State(h)
		if err != nil {
			return nil, false, err
		}
		c.ID = path.Base(current)
		if _, made, err := c.State(h); err != nil || commitHash.MatchString(c.ID) && made {
			return c, true, err
		}
	}
	c.ID, err = c.commit(ctx)
	return c, false, err
}

// commit is what the ref stands for now.
func (c *call) commit(ctx context.Context) (string, error) {
	ref := c.p.String("ref")
	if commitHash.MatchString(ref) {
		return ref, nil
	}
	// Of a tag that is an object of its own, ^{} is the commit.
	wanted := []string{"refs/tags/" + ref + "^{}", "refs/tags/" + ref, "refs/heads/" + ref}
	out, err := c.git(ctx, append([]string{"ls-remote", "--", c.p.String("repository")}, wanted...)...)
	if err != nil {
		return "", err
	}
	found := map[string]string{}
	for _, line := range strings.Split(out, "\n") {
		if hash, name, ok := strings.Cut(line, "\t"); ok && commitHash.MatchString(hash) {
			found[name] = hash
		}
	}
	for _, name := range wanted {
		if hash := found[name]; hash != "" {
			return hash, nil
		}
	}
	return "", fmt.Errorf("%s has neither a branch nor a tag %s", c.p.String("repository"), ref)
}

// git runs the command, and returns what it wrote.
func (c *call) git(ctx context.Context, args ...string) (string, error) {
	env, err := environment(c.p)
	if err != nil {
		return "", err
	}
	exit, err := c.h.Run(ctx, executor.Command{Argv: append([]string{"git"}, args...), Env: env, Limit: outputLimit})
	if err != nil {
		return "", err
	}
	if exit.Status != 0 {
		said := strings.TrimSpace(string(exit.Stderr))
		return "", fmt.Errorf("git %s: status %d: %s", args[0], exit.Status, said[max(0, len(said)-2000):])
	}
	return string(exit.Stdout), nil
}

// Check finds the commit and looks whether the symlink points to it.
func (Checkout) Check(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	c, settled, err := newCall(ctx, h, p)
	if err != nil {
		return executor.Change{}, err
	}
	if settled {
		return executor.Change{Outputs: c.Outputs(false)}, nil
	}
	change, err := c.Change(h, fmt.Sprintf("check out %s (commit %s) into %s", p.String("ref"), c.ID, c.Folder()))
	if err != nil || !change.Needed {
		return change, err
	}
	return change, c.wanted.Missing
}

// Capture keeps the symlink, and which versions there are.
func (Checkout) Capture(_ context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	name, err := hostfile.PathOf(p)
	if err != nil {
		return executor.Undo{}, err
	}
	return hostfile.Version{Path: name}.Capture(h)
}

// Apply checks the commit out and swaps the symlink.
func (Checkout) Apply(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	c, settled, err := newCall(ctx, h, p)
	if err != nil {
		return nil, err
	}
	if c.wanted.Missing != nil {
		return nil, c.wanted.Missing
	}
	if settled {
		return c.Outputs(false), nil
	}
	if err := c.Make(h, func(folder string) error { return c.fill(ctx, folder) }); err != nil {
		return nil, err
	}
	return c.Outputs(true), nil
}

// fill clones into the folder. No hard links: the files are given to another owner, and the repository's are not to be.
func (c *call) fill(ctx context.Context, folder string) error {
	at := c.h.Path(folder)
	if _, err := c.git(ctx, "clone", "--quiet", "--no-checkout", "--no-hardlinks", "--template=", "--", c.p.String("repository"), at); err != nil {
		return err
	}
	if _, err := c.git(ctx, "-C", at, "checkout", "--quiet", "--detach", c.ID); err != nil {
		return err
	}
	if keep, _ := c.p.Bool("keep_git"); !keep {
		dir := path.Join(folder, ".git")
		st, err := hostfile.Look(c.h, dir)
		if err != nil {
			return err
		}
		if st == nil {
			return errors.New("git made no .git")
		}
		if err := hostfile.RemoveTree(c.h, dir, st); err != nil {
			return err
		}
	}
	meta := c.wanted.Over(nil, 0, hostfile.Self(c.h))
	return hostfile.Owner(c.h, folder, meta.UID, meta.GID)
}

// Revert puts back what Capture saw.
func (Checkout) Revert(_ context.Context, h executor.Host, _ executor.Params, u executor.Undo) error {
	return hostfile.RevertVersion(h, u)
}

// RevertDiff says what Revert would change.
func (Checkout) RevertDiff(_ context.Context, h executor.Host, _ executor.Params, u executor.Undo) string {
	return hostfile.RevertVersionDiff(h, u)
}
