// Package hostname is the module hostname.
package hostname

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"shoal/executor"
	"shoal/internal/setting"
	"shoal/states"
)

const (
	path = "/etc/hostname"
	proc = "/proc/sys/kernel/hostname"
)

// Modules are the functions of this package.
func Modules() []executor.Module {
	return []executor.Module{setting.Module{
		About: states.Function{
			Module: "hostname", Name: "set",
			Doc: "The machine has a name, now and after each boot. /etc/hosts is left alone.",
			Params: []states.Param{
				{Name: "name", Type: states.String, Required: true, Doc: "The name, at most 64 characters; with its domain where that is wanted."},
			},
			Outputs: []states.Output{{Name: "name", Type: states.String, Doc: "The name."}, setting.Changed},
			Example: `machine:
  hostname.set: {name: web-1.example.org}`,
			CheckDoc: "Reads " + path + " and the name that the kernel has; below --root the file alone.",
			UndoDoc:  "The name that was live is set again, and the file is as before.",
			Validate: validate,
		},
		Paths: func(executor.Params) []string { return []string{path} },
		Want: func(_ executor.Host, p executor.Params) ([]setting.Want, error) {
			return []setting.Want{{Path: path, Data: []byte(p.String("name") + "\n")}}, nil
		},
		Live: &setting.Live{
			Label: "live name",
			Read: func(_ context.Context, h executor.Host, _ executor.Params) (string, error) {
				data, err := h.ReadFile(proc)
				return strings.TrimSpace(string(data)), err
			},
			Want: func(_ executor.Host, p executor.Params, _ string, _ bool) string { return p.String("name") },
			Set: func(_ context.Context, h executor.Host, _ executor.Params, _, to string) error {
				return h.WriteSetting(proc, []byte(to+"\n"))
			},
		},
		Outputs: func(p executor.Params, _ []setting.Want) map[string]any {
			return map[string]any{"name": p.String("name")}
		},
	}}
}

// maxName is HOST_NAME_MAX of Linux (hostname(7)).
const maxName = 64

var label = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`)

func validate(params map[string]any) error {
	name := executor.Params(params).String("name")
	if len(name) > maxName || !label.MatchString(name) {
		return fmt.Errorf("%q is not the name of a machine", name)
	}
	return nil
}
