// Package kmod is the module kmod: modules of the kernel.
package kmod

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"shoal/executor"
	"shoal/internal/setting"
	"shoal/states"
)

// What is live of a kernel module. One that is built in can be neither loaded nor unloaded.
const (
	loaded  = "loaded"
	builtIn = "built in"
	none    = ""
)

var nameParam = states.Param{Name: "name", Type: states.String, Required: true, Provides: states.ResourceKernelModule, Doc: "Name of the kernel module."}

// Modules are the functions of this package.
func Modules() []executor.Module {
	return []executor.Module{
		setting.Module{
			About: function("loaded",
				"A module of the kernel is loaded, now and at each boot (/etc/modules-load.d/NAME.conf).",
				"One that was not loaded is unloaded, unless something uses it by then, and the files are as before.", nameParam,
				states.Param{Name: "options", Type: states.String, Doc: "Its options, such as nr_devices=4, for the next time that it is loaded (/etc/modprobe.d/NAME.conf). Without it they are left alone."}),
			Paths: loadedPaths,
			Want: func(_ executor.Host, p executor.Params) ([]setting.Want, error) {
				name := p.String("name")
				wants := []setting.Want{{Path: loadPath(name), Data: []byte(name + "\n")}}
				if options, given := p["options"].(string); given {
					wants = append(wants, setting.Want{Path: optionsPath(name), Data: fmt.Appendf(nil, "options %s %s\n", name, options)})
				}
				return wants, nil
			},
			Live: live(func(now string) string {
				if now == builtIn {
					return now
				}
				return loaded
			}),
		},
		setting.Module{
			About: function("absent",
				"A module of the kernel is not loaded, now or at boot by /etc/modules-load.d/NAME.conf. The machine may still load it for a device: kmod.blacklisted keeps it from that.",
				"One that was loaded is loaded again, and the file is as before.", nameParam),
			Paths: func(p executor.Params) []string { return []string{loadPath(p.String("name"))} },
			Want: func(_ executor.Host, p executor.Params) ([]setting.Want, error) {
				return []setting.Want{{Path: loadPath(p.String("name")), Gone: true}}, nil
			},
			Live: live(func(string) string { return none }),
		},
		setting.Module{
			About: function("blacklisted",
				"A module of the kernel is not loaded for a device by itself (/etc/modprobe.d/blacklist-NAME.conf). One that is loaded stays: kmod.absent unloads it.",
				"The file is as before.", unowned,
				states.Param{Name: "never", Type: states.Bool, Default: false, Doc: "It is not loaded by its name either, nor because another module or a program asks for it: modprobe fails."}),
			Paths: func(p executor.Params) []string { return []string{blacklistPath(p.String("name"))} },
			Want: func(_ executor.Host, p executor.Params) ([]setting.Want, error) {
				name := p.String("name")
				text := fmt.Appendf(nil, "blacklist %s\n", name)
				if never, _ := p.Bool("never"); never {
					text = fmt.Appendf(text, "install %s /bin/false\n", name)
				}
				return []setting.Want{{Path: blacklistPath(name), Data: text}}, nil
			},
		},
	}
}

// unowned: a state that blacklists a module stands beside one that unloads it, and each has its own undo.
var unowned = states.Param{Name: nameParam.Name, Type: nameParam.Type, Required: true, Doc: nameParam.Doc}

// examples are for the manual.
var examples = map[string]string{
	"loaded": `bridge:
  kmod.loaded: {name: br_netfilter}`,
	"absent": `no-floppy:
  kmod.absent: {name: floppy}`,
	"blacklisted": `never-usb-storage:
  kmod.blacklisted: {name: usb_storage}`,
}

func function(name, doc, undo string, params ...states.Param) states.Function {
	return states.Function{
		Module: "kmod", Name: name, Example: examples[name], Doc: doc, Params: params,
		Outputs:  []states.Output{setting.Changed},
		CheckDoc: "Reads the files, /proc/modules and /sys/module; below --root the files alone.", UndoDoc: undo, Validate: validate,
	}
}

func loadPath(name string) string      { return "/etc/modules-load.d/" + name + ".conf" }
func optionsPath(name string) string   { return "/etc/modprobe.d/" + name + ".conf" }
func blacklistPath(name string) string { return "/etc/modprobe.d/blacklist-" + name + ".conf" }

func loadedPaths(p executor.Params) []string {
	return []string{loadPath(p.String("name")), optionsPath(p.String("name"))}
}

var moduleName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]*$`)

func validate(params map[string]any) error {
	p := executor.Params(params)
	if name := p.String("name"); !moduleName.MatchString(name) {
		return fmt.Errorf("%q is not the name of a kernel module", name)
	}
	if strings.ContainsAny(p.String("options"), "\n\x00") {
		return errors.New("options holds a line break")
	}
	return nil
}

func live(want func(now string) string) *setting.Live {
	return &setting.Live{
		Label: "kernel module",
		Read: func(_ context.Context, h executor.Host, p executor.Params) (string, error) {
			return state(h, p.String("name"))
		},
		Want: func(_ executor.Host, _ executor.Params, now string, _ bool) string { return want(now) },
		Set: func(ctx context.Context, h executor.Host, p executor.Params, from, to string) error {
			name := p.String("name")
			switch {
			case from == builtIn:
				return fmt.Errorf("unload %s: it is built into the kernel", name)
			case to == none:
				return setting.Run(ctx, h, "modprobe", "-r", name)
			}
			return setting.Run(ctx, h, "modprobe", name)
		},
	}
}

// state reads what the kernel says: it takes a dash and an underscore for the same.
func state(h executor.Host, name string) (string, error) {
	name = strings.ReplaceAll(name, "-", "_")
	data, _, err := setting.Read(h, "/proc/modules")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == name {
			return loaded, nil
		}
	}
	_, err = h.Lstat("/sys/module/" + name)
	switch {
	case err == nil:
		return builtIn, nil
	case errors.Is(err, fs.ErrNotExist):
		return none, nil
	}
	return "", err
}
