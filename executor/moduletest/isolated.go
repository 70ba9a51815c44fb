package moduletest

import (
	"context"
	"fmt"
	"strings"

	"shoal/executor"
	"shoal/states"
)

// onlooker is a host that notes what a Check looks at beside the things that its function provides.
type onlooker struct {
	executor.Host
	provides map[states.ResourceKind]bool
	paths    []string // that it provides
	strayed  []string
}

func (s Suite) onlooker(h executor.Host, c Case) *onlooker {
	o := &onlooker{Host: h, provides: map[states.ResourceKind]bool{}}
	for _, p := range s.Module.Function().Params {
		if name, ok := c.Params[p.Name].(string); ok && p.Provides == states.ResourcePath {
			o.paths = append(o.paths, p.Resource(name))
		}
		o.provides[p.Provides] = true
	}
	return o
}

// looks notes a look at a path that is neither its own nor above it.
func (o *onlooker) looks(operation, name string) {
	for _, own := range o.paths {
		if own == name || strings.HasPrefix(own, strings.TrimSuffix(name, "/")+"/") {
			return
		}
	}
	o.strayed = append(o.strayed, operation+" "+name)
}

func (o *onlooker) asks(operation string, kind states.ResourceKind) {
	if !o.provides[kind] {
		o.strayed = append(o.strayed, operation)
	}
}

func (o *onlooker) Lstat(name string) (executor.Stat, error) {
	o.looks("lstat", name)
	return o.Host.Lstat(name)
}

func (o *onlooker) ReadFile(name string) ([]byte, error) {
	o.looks("read", name)
	return o.Host.ReadFile(name)
}

func (o *onlooker) Readlink(name string) (string, error) {
	o.looks("readlink", name)
	return o.Host.Readlink(name)
}

func (o *onlooker) ReadDir(name string) ([]string, error) {
	o.strayed = append(o.strayed, "list "+name)
	return o.Host.ReadDir(name)
}

func (o *onlooker) Hash(name string, st executor.Stat) (string, error) {
	o.looks("hash", name)
	return o.Host.Hash(name, st)
}

func (o *onlooker) Run(ctx context.Context, c executor.Command) (executor.Exit, error) {
	o.strayed = append(o.strayed, fmt.Sprint("run ", c.Argv))
	return o.Host.Run(ctx, c)
}

func (o *onlooker) Installed(ctx context.Context, names []string) ([]executor.Package, error) {
	o.asks("ask for packages", states.ResourcePackage)
	return o.Host.Installed(ctx, names)
}

func (o *onlooker) Unit(ctx context.Context, name string) (executor.Unit, error) {
	o.asks("ask for unit "+name, states.ResourceService)
	return o.Host.Unit(ctx, name)
}
