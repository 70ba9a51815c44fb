package states_test

import (
	"errors"

	"shoal/states"
)

// functions describes a few modules as the executor's would.
func functions() []states.Function {
	path := states.Param{Name: "path", Type: states.Path, Required: true, Provides: states.ResourcePath}
	owner := states.Param{Name: "owner", Type: states.String, Needs: states.ResourceUser}
	group := states.Param{Name: "group", Type: states.String, Needs: states.ResourceGroup}
	mode := states.Param{Name: "mode", Type: states.Mode}
	name := func(kind states.ResourceKind) states.Param {
		return states.Param{Name: "name", Type: states.String, Required: true, Provides: kind}
	}
	return []states.Function{
		{Module: "file", Name: "managed", Params: []states.Param{path, {Name: "contents", Type: states.Contents, Required: true}, mode, owner, group, {Name: "validate", Type: states.String}},
			Outputs: []states.Output{{Name: "path", Type: states.Path}, {Name: "sha256", Type: states.String}, {Name: "mode", Type: states.Mode}, {Name: "uid", Type: states.Int}}},
		{Module: "file", Name: "tree", Params: []states.Param{path, {Name: "source", Type: states.Folder, Required: true}, {Name: "render", Type: states.Bool, Default: false}, owner, group}},
		{Module: "file", Name: "directory", Params: []states.Param{path, mode, owner, group}},
		{Module: "file", Name: "symlink", Params: []states.Param{path, {Name: "target", Type: states.String, Required: true}}},
		{Module: "file", Name: "absent", Params: []states.Param{path}},
		{Module: "cmd", Name: "run", Irreversible: true, Params: []states.Param{
			{Name: "argv", Type: states.Strings}, {Name: "shell", Type: states.String}, {Name: "creates", Type: states.Path},
			{Name: "unless", Type: states.String}, {Name: "only_if", Type: states.String}, {Name: "cwd", Type: states.Path},
			{Name: "env", Type: states.Map}, {Name: "user", Type: states.String, Needs: states.ResourceUser}, {Name: "timeout", Type: states.Duration},
		}, Outputs: []states.Output{{Name: "stdout", Type: states.String, Command: true}, {Name: "status", Type: states.Int}}, Validate: func(p map[string]any) error {
			if (p["argv"] == nil) == (p["shell"] == nil) {
				return errors.New("needs one of argv and shell")
			}
			return nil
		}},
		{Module: "pkg", Name: "installed", Params: []states.Param{name(states.ResourcePackage), {Name: "version", Type: states.String}, {Name: "hold", Type: states.Bool, Default: false}}},
		{Module: "mount", Name: "mounted", Params: []states.Param{{Name: "path", Type: states.Path, Required: true, Provides: states.ResourceMount, Needs: states.ResourcePath}}},
		{Module: "pkgrepo", Name: "managed", Params: []states.Param{name(states.ResourceRepository)}},
		{Module: "service", Name: "running", Reaction: "restarted", Params: []states.Param{name(states.ResourceService), {Name: "enabled", Type: states.Bool}}},
		{Module: "service", Name: "restarted", Params: []states.Param{{Name: "name", Type: states.String, Required: true}}},
		{Module: "service", Name: "reloaded", Params: []states.Param{{Name: "name", Type: states.String, Required: true}}},
		{Module: "user", Name: "present", Params: []states.Param{name(states.ResourceUser), {Name: "uid", Type: states.Int}, {Name: "shell", Type: states.String, OneOf: []string{"/bin/sh", "/bin/bash"}}, {Name: "groups", Type: states.Strings, Needs: states.ResourceGroup}}},
		{Module: "group", Name: "present", Params: []states.Param{name(states.ResourceGroup), {Name: "gid", Type: states.Int}}},
	}
}
