package doccheck

import (
	"errors"

	"shoal/states"
)

func standIn() []states.Function {
	p := states.Param{Name: "path", Type: states.Path, Required: true, Provides: states.ResourcePath}
	owner := states.Param{Name: "owner", Type: states.String, Needs: states.ResourceUser}
	group := states.Param{Name: "group", Type: states.String, Needs: states.ResourceGroup}
	mode := states.Param{Name: "mode", Type: states.Mode}
	return []states.Function{
		{Module: "file", Name: "managed", Params: []states.Param{p, {Name: "contents", Type: states.Contents, Required: true}, mode, owner, group, {Name: "validate", Type: states.String}}},
		{Module: "file", Name: "directory", Params: []states.Param{p, mode, owner, group}},
		{Module: "file", Name: "symlink", Params: []states.Param{p, {Name: "target", Type: states.String, Required: true}}},
		{Module: "file", Name: "absent", Params: []states.Param{p}},
		{Module: "cmd", Name: "run", Irreversible: true, Params: []states.Param{
			{Name: "argv", Type: states.Strings}, {Name: "shell", Type: states.String}, {Name: "creates", Type: states.Path},
			{Name: "unless", Type: states.String}, {Name: "only_if", Type: states.String}, {Name: "cwd", Type: states.Path},
			{Name: "env", Type: states.Map}, {Name: "user", Type: states.String, Needs: states.ResourceUser}, {Name: "timeout", Type: states.Duration},
		}, Validate: func(p map[string]any) error {
			if (p["argv"] == nil) == (p["shell"] == nil) {
				return errors.New("needs one of argv and shell")
			}
			return nil
		}},
	}
}
