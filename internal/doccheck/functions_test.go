package doccheck

import (
	"shoal/executor"
	"shoal/executor/module/cmd"
	"shoal/executor/module/file"
	"shoal/executor/module/group"
	"shoal/executor/module/pkg"
	"shoal/executor/module/service"
	"shoal/executor/module/user"
	"shoal/states"
)

// functions are those of the binary: cmd/shoal/modules.go has the same list.
func functions() []states.Function {
	var all []states.Function
	for _, some := range [][]executor.Module{
		file.Modules(), cmd.Modules(), pkg.Modules(), service.Modules(), user.Modules(), group.Modules(),
	} {
		for _, m := range some {
			all = append(all, m.Function())
		}
	}
	return all
}
