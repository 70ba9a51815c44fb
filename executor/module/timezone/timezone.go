// Package timezone is the module timezone.
package timezone

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"shoal/executor"
	"shoal/internal/setting"
	"shoal/states"
)

const (
	link  = "/etc/localtime"
	named = "/etc/timezone"
	zones = "/usr/share/zoneinfo/"
)

// Modules are the functions of this package.
func Modules() []executor.Module {
	return []executor.Module{setting.Module{
		About: states.Function{
			Module: "timezone", Name: "set",
			Doc: "The machine's time zone: the symlink " + link + ", and " + named + " where the machine has it or is of Debian's kin. What runs sees it when it is started again.",
			Params: []states.Param{
				{Name: "name", Type: states.String, Required: true, Doc: "Name of the zone, such as Europe/Berlin or UTC. Its file has to be there: the package is tzdata."},
			},
			Outputs: []states.Output{{Name: "name", Type: states.String, Doc: "Name of the zone."}, setting.Changed},
			Example: `zone:
  timezone.set: {name: Europe/Berlin}`,
			CheckDoc: "Reads the symlink and the file.",
			UndoDoc:  "Both are as before.",
			Validate: validate,
		},
		Paths: func(executor.Params) []string { return []string{link, named} },
		Want:  wanted,
		Outputs: func(p executor.Params, _ []setting.Want) map[string]any {
			return map[string]any{"name": p.String("name")}
		},
	}}
}

var zone = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_+-]*(/[A-Za-z0-9][A-Za-z0-9_+-]*)*$`)

func validate(params map[string]any) error {
	if name := executor.Params(params).String("name"); !zone.MatchString(name) {
		return fmt.Errorf("%q is not the name of a time zone", name)
	}
	return nil
}

func wanted(h executor.Host, p executor.Params) ([]setting.Want, error) {
	name := p.String("name")
	target := zones + name
	// A relative link to the same file, as some tools make, is as good.
	if now, err := h.Readlink(link); err == nil && strings.HasPrefix(now, "../") && "/"+strings.TrimLeft(now, "./") == target {
		target = now
	}
	wants := []setting.Want{{Path: link, Link: target}}
	for _, sign := range []string{named, "/etc/debian_version"} {
		_, err := h.Lstat(sign)
		if err == nil {
			wants = append(wants, setting.Want{Path: named, Data: []byte(name + "\n")})
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	_, err := h.Lstat(zones + name)
	if errors.Is(err, fs.ErrNotExist) {
		err = &executor.Missing{Kind: states.ResourcePath, Name: zones + name}
	}
	return wants, err
}
