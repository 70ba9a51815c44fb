// Package sysctl is the module sysctl: settings of the kernel.
package sysctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"shoal/executor"
	"shoal/internal/setting"
	"shoal/states"
)

// folder is where a file for each setting goes. Its name sorts after those of the distributions, as the last one wins
// (sysctl.d(5)).
const folder, prefix = "/etc/sysctl.d/", "99-zz-"

// Modules are the functions of this package.
func Modules() []executor.Module {
	return []executor.Module{
		setting.Module{
			About: states.Function{
				Module: "sysctl", Name: "present",
				Doc: "A setting of the kernel has a value, now and after each boot. It is kept in a file of its own, " + folder + prefix + "NAME.conf.",
				Params: []states.Param{
					nameParam,
					{Name: "value", Type: states.Any, Required: true, Doc: "Its value: a text, a number, or true and false for 1 and 0. Several words are separated by blanks."},
					{Name: "optional", Type: states.Bool, Default: false, Doc: "A kernel that has no such setting is not an error: the file is written, for a kernel or a module to come."},
				},
				Outputs: append([]states.Output{
					{Name: "value", Type: states.String, Doc: "The value."}, {Name: "path", Type: states.Path, Doc: "The file that keeps it."},
				}, setting.Changed),
				Example: `forwarding:
  sysctl.present: {name: net.ipv4.ip_forward, value: 1}`,
				CheckDoc: "Reads the file, and the value in /proc/sys; below --root the file alone.",
				UndoDoc:  "The value that was live is set again, and the file is as before.",
				Validate: validate,
			},
			Paths: paths, Want: wanted,
			Live: &setting.Live{Label: "live value", Read: read,
				Want: func(_ executor.Host, p executor.Params, _ string, _ bool) string { return words(value(p)) }, Set: set},
			Outputs: func(p executor.Params, _ []setting.Want) map[string]any {
				return map[string]any{"value": words(value(p)), "path": file(p)}
			},
		},
		setting.Module{
			About: states.Function{
				Module: "sysctl", Name: "absent",
				Doc:    "A setting of the kernel is no longer set by " + folder + prefix + "NAME.conf. What is live stays until the next boot: no one knows what it was by itself.",
				Params: []states.Param{nameParam}, Outputs: []states.Output{setting.Changed},
				Example: `no-forwarding:
  sysctl.absent: {name: net.ipv4.ip_forward}`,
				CheckDoc: "One lstat.", UndoDoc: "The file is as before.", Validate: validate,
			},
			Paths: paths,
			Want: func(_ executor.Host, p executor.Params) ([]setting.Want, error) {
				return []setting.Want{{Path: file(p), Gone: true}}, nil
			},
		},
	}
}

var nameParam = states.Param{Name: "name", Type: states.String, Required: true, Provides: states.ResourceKernelSetting,
	Doc: "Name of the setting, such as net.ipv4.ip_forward; with slashes where a part holds a dot (net/ipv4/conf/eth0.1/forwarding)."}

func validate(params map[string]any) error {
	p := executor.Params(params)
	name := p.String("name")
	for _, part := range strings.Split(relative(name), "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsAny(part, " \t\n=#;\x00") || strings.HasPrefix(part, "-") {
			return fmt.Errorf("%q is not the name of a setting", name)
		}
	}
	switch v := params["value"].(type) {
	case nil, string, bool, int64, float64:
	default:
		return fmt.Errorf("value %v is neither a text nor a number", v)
	}
	if strings.ContainsAny(value(p), "\n\x00") {
		return errors.New("value holds a line break")
	}
	return nil
}

// relative is the path of a setting below /proc/sys: whichever of dot and slash comes first separates (sysctl.d(5)).
func relative(name string) string {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		return strings.NewReplacer(".", "/", "/", ".").Replace(name)
	}
	return name
}

func file(p executor.Params) string {
	return folder + prefix + strings.ReplaceAll(relative(p.String("name")), "/", ".") + ".conf"
}

func paths(p executor.Params) []string { return []string{file(p)} }

func value(p executor.Params) string {
	switch v := p["value"].(type) {
	case bool:
		if v {
			return "1"
		}
		return "0"
	default:
		return fmt.Sprint(v)
	}
}

// words are a value as the kernel shows it: some of its files separate by tabs.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }

func wanted(_ executor.Host, p executor.Params) ([]setting.Want, error) {
	return []setting.Want{{Path: file(p), Data: fmt.Appendf(nil, "%s = %s\n", relative(p.String("name")), words(value(p)))}}, nil
}

func proc(p executor.Params) string { return "/proc/sys/" + relative(p.String("name")) }

func read(_ context.Context, h executor.Host, p executor.Params) (string, error) {
	data, err := h.ReadFile(proc(p))
	if errors.Is(err, fs.ErrNotExist) {
		if optional, _ := p.Bool("optional"); optional {
			return words(value(p)), nil // nothing to set, and nothing to put back
		}
		return "", &executor.Missing{Kind: states.ResourceKernelSetting, Name: p.String("name")} // its kernel module may be loaded yet
	}
	return words(string(data)), err
}

func set(_ context.Context, h executor.Host, p executor.Params, _, to string) error {
	if err := h.WriteSetting(proc(p), []byte(to+"\n")); err != nil {
		return fmt.Errorf("set %s to %q: %w", p.String("name"), to, err)
	}
	return nil
}
