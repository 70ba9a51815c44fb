package wasm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"
	"syscall"

	"shoal/executor"
	"shoal/internal/hostfile"
	"shoal/states"
)

// Refused is the error of a call in which a module asked for something that it may not do. The call fails with it, whatever
// the module made of the answer.
type Refused struct {
	Module, What, Why string
}

func (e *Refused) Error() string {
	return fmt.Sprintf("extension module %s may not %s: %s", e.Module, e.What, e.Why)
}

// region is what a call may change: what its capture named, so that it can be put back.
type region struct {
	items []hostfile.Item
	// commands: what its commands do it can undo itself, or says that it cannot.
	commands bool
	// anything within the grants: it cannot be undone, and said so, or it is what undoes.
	anything bool
}

func (r *region) covers(name string) bool {
	return r.anything || slices.ContainsFunc(r.items, func(i hostfile.Item) bool {
		return i.Path == name || i.Deep && hostfile.Within(i.Path, name)
	})
}

// leadsTo: a folder above something that may be changed, which may have to be made.
func (r *region) leadsTo(dir string) bool {
	return slices.ContainsFunc(r.items, func(i hostfile.Item) bool { return hostfile.Within(dir, i.Path) })
}

// guard is the Host of one call: every operation is compared with the grants first. What no operation of the interface
// reaches is nil.
type guard struct {
	executor.Packages
	executor.Services
	executor.Accounts
	host   executor.Host
	module string
	allow  states.Grants
	// may is what it may change; nil: nothing, as in a check.
	may     *region
	staged  map[string]bool // names that Stage and Fetch gave
	refused error           // the first
}

var _ executor.Host = (*guard)(nil)

func (g *guard) refuse(what, why string) error {
	err := &Refused{g.module, what, why}
	if g.refused == nil {
		g.refused = err
	}
	return err
}

func (g *guard) list(key string) string {
	return fmt.Sprintf("it is not in %s of its allow: in site.yaml", key)
}

func below(granted, name string) bool { return granted == name || hostfile.Within(granted, name) }

// granting is the shortest of the granted paths that name is below.
func granting(granted []string, name string) (string, bool) {
	shortest, found := "", false
	for _, p := range granted {
		if below(p, name) && (!found || len(p) < len(shortest)) {
			shortest, found = p, true
		}
	}
	return shortest, found
}

// clean refuses what is no plain absolute path, so that no comparison is of something else than what is opened.
func (g *guard) clean(op, name string) error {
	if !path.IsAbs(name) || path.Clean(name) != name || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%s %q: not an absolute path without .. and //", op, name)
	}
	return nil
}

// straight refuses a path that a symlink leads elsewhere: the grant is of what stands at that path.
func (g *guard) straight(op, granted, name string) error {
	for dir := path.Dir(name); below(granted, dir) && dir != "/"; dir = path.Dir(dir) {
		st, err := g.host.Lstat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		case err != nil:
			return err
		case st.Mode&fs.ModeSymlink != 0:
			return g.refuse(op+" "+name, "it passes through the symlink "+dir)
		}
	}
	return nil
}

func (g *guard) mayRead(op, name string) error {
	if err := g.clean(op, name); err != nil || g.staged[name] {
		return err
	}
	granted, ok := granting(slices.Concat(g.allow.Read, g.allow.Write), name)
	if !ok {
		return g.refuse(op+" "+name, g.list("read"))
	}
	return g.straight(op, granted, name)
}

// mayLook is mayRead, and the folders above what may be read: whether they are there says nothing that is hidden.
func (g *guard) mayLook(op, name string) error {
	for _, p := range slices.Concat(g.allow.Read, g.allow.Write) {
		if hostfile.Within(name, p) || name == "/" {
			return nil
		}
	}
	return g.mayRead(op, name)
}

// mayName says whether a capture may name a path.
func (g *guard) mayName(op, name string) error {
	if err := g.clean(op, name); err != nil {
		return err
	}
	granted, ok := granting(g.allow.Write, name)
	if !ok {
		return g.refuse(op+" "+name, g.list("write"))
	}
	return g.straight(op, granted, name)
}

func (g *guard) mayWrite(op, name string) error {
	switch {
	case g.may == nil:
		return g.refuse(op+" "+name, "a check and a capture change nothing")
	case g.staged[name]:
		return nil
	}
	if err := g.mayName(op, name); err != nil {
		return err
	}
	if !g.may.covers(name) {
		return g.refuse(op+" "+name, "its capture did not name it, so that it could not be undone")
	}
	return nil
}

// meta refuses what would hand out the rights of who runs shoal.
func (g *guard) meta(op, name string, m executor.Meta) error {
	if m.Mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 && !m.Mode.IsDir() {
		return g.refuse(op+" "+name, "setuid and setgid are not for extension modules")
	}
	return nil
}

func (g *guard) Self() (uid, gid uint32)  { return g.host.Self() }
func (g *guard) Path(name string) string  { return g.host.Path(name) }
func (g *guard) SyncFiles() error         { return g.host.SyncFiles() }
func (g *guard) Unstage(_ []string) error { return g.refuse("sweep", "that is the engine's") }

func (g *guard) Lstat(name string) (executor.Stat, error) {
	if err := g.mayLook("look at", name); err != nil {
		return executor.Stat{}, err
	}
	return g.host.Lstat(name)
}

func (g *guard) ReadFile(name string) ([]byte, error) {
	if err := g.mayRead("read", name); err != nil {
		return nil, err
	}
	return g.host.ReadFile(name)
}

func (g *guard) Readlink(name string) (string, error) {
	if err := g.mayRead("read", name); err != nil {
		return "", err
	}
	return g.host.Readlink(name)
}

func (g *guard) ReadDir(name string) ([]string, error) {
	if err := g.mayRead("list", name); err != nil {
		return nil, err
	}
	return g.host.ReadDir(name)
}

func (g *guard) Xattrs(name string) (map[string][]byte, error) {
	if err := g.mayRead("read", name); err != nil {
		return nil, err
	}
	return g.host.Xattrs(name)
}

func (g *guard) Hash(name string, st executor.Stat) (string, error) {
	if err := g.mayRead("read", name); err != nil {
		return "", err
	}
	return g.host.Hash(name, st)
}

func (g *guard) stage(name, staged string, err error) (string, error) {
	if err == nil {
		g.staged[staged] = true
	}
	return staged, err
}

func (g *guard) Stage(name string, data []byte, m executor.Meta) (string, error) {
	if err := g.mayWrite("write", name); err != nil {
		return "", err
	}
	if err := g.meta("write", name, m); err != nil {
		return "", err
	}
	staged, err := g.host.Stage(name, data, m)
	return g.stage(name, staged, err)
}

func (g *guard) Fetch(ctx context.Context, r executor.Request, name string, m executor.Meta) (string, error) {
	if err := g.mayWrite("write", name); err != nil {
		return "", err
	}
	if err := g.meta("write", name, m); err != nil {
		return "", err
	}
	r.Hosts = append([]string{}, g.allow.Hosts...)
	if u, err := url.Parse(r.URL); err != nil || !r.Allows(u.Hostname()) {
		return "", g.refuse("fetch "+r.URL, g.list("hosts"))
	}
	staged, err := g.host.Fetch(ctx, r, name, m)
	return g.stage(name, staged, err)
}

func (g *guard) Rename(staged, name string) error {
	if err := g.mayWrite("write", name); err != nil {
		return err
	}
	if !g.staged[staged] {
		if err := g.mayWrite("move", staged); err != nil {
			return err
		}
	}
	if err := g.host.Rename(staged, name); err != nil {
		return err // it is tried again when the folders above are made
	}
	delete(g.staged, staged)
	return nil
}

func (g *guard) Mkdir(name string, m executor.Meta) error {
	if err := g.clean("make", name); err != nil {
		return err
	}
	if g.may == nil || !g.may.leadsTo(name) {
		if err := g.mayWrite("make", name); err != nil {
			return err
		}
	} else if _, ok := granting(g.allow.Write, name); !ok {
		m.Mode = fs.ModeDir | hostfile.DefaultFolderMode // above what is granted, where it is not there: with no say in it
	}
	return g.host.Mkdir(name, m)
}

func (g *guard) Symlink(target, name string) error {
	if err := g.mayWrite("make", name); err != nil {
		return err
	}
	return g.host.Symlink(target, name)
}

func (g *guard) Remove(name string) error {
	if err := g.mayWrite("remove", name); err != nil {
		return err
	}
	return g.host.Remove(name)
}

func (g *guard) SetMeta(name string, m executor.Meta) error {
	if err := g.mayWrite("change", name); err != nil {
		return err
	}
	if err := g.meta("change", name, m); err != nil {
		return err
	}
	return g.host.SetMeta(name, m)
}

func (g *guard) WriteSetting(name string, data []byte) error {
	if err := g.mayWrite("write", name); err != nil {
		return err
	}
	return g.host.WriteSetting(name, data)
}

func (g *guard) LookupUser(name string) (executor.User, bool, error) {
	u, ok, err := g.host.LookupUser(name)
	return executor.User{Name: u.Name, UID: u.UID, GID: u.GID}, ok, err
}

func (g *guard) LookupGroup(name string) (executor.Group, bool, error) {
	group, ok, err := g.host.LookupGroup(name)
	return executor.Group{Name: group.Name, GID: group.GID}, ok, err
}

func granted(commands, argv []string) bool {
	return slices.ContainsFunc(commands, func(c string) bool {
		words := strings.Fields(c)
		return len(words) <= len(argv) && slices.Equal(words, argv[:len(words)])
	})
}

// Run starts a command that only looks in a check too, and others where what they do can be undone, or was said not to be. A
// module sets neither its user nor its environment: either could make of a granted command another one.
func (g *guard) Run(ctx context.Context, cmd executor.Command) (executor.Exit, error) {
	what := "run " + strings.Join(cmd.Argv, " ")
	switch {
	case len(cmd.Argv) == 0 || cmd.User != "" || len(cmd.Env) > 0:
		return executor.Exit{}, g.refuse(what, "a command is a list of words")
	case granted(g.allow.Queries, cmd.Argv):
	case !granted(g.allow.Commands, cmd.Argv):
		return executor.Exit{}, g.refuse(what, g.list("commands"))
	case g.may == nil:
		return executor.Exit{}, g.refuse(what, "a check and a capture run what is in queries: alone")
	case !g.may.commands && !g.may.anything:
		return executor.Exit{}, g.refuse(what, "its capture gave no data to undo it by, and did not say that it cannot be undone")
	}
	return g.host.Run(ctx, cmd)
}
