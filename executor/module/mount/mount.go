// Package mount is the module mount: rows of /etc/fstab, and what is mounted.
package mount

import (
	"errors"
	"fmt"
	"strings"

	"shoal/executor"
	"shoal/internal/setting"
	"shoal/states"
)

// Modules are the functions of this package.
func Modules() []executor.Module {
	return []executor.Module{
		setting.Module{
			About: about("mounted",
				"A file system is mounted, now and at each boot: a row of "+fstab+" for its mount point, and the mount itself, which is mounted again with other options when they change.",
				"The row is as before; what was mounted is mounted again, and what was not is unmounted. What was mounted in memory, or by binding a folder, is irreversible.",
				deviceParams),
			Paths: paths, Want: present, Merge: takeBack,
			Live: &setting.Live{Label: "mounted", Read: read, Want: want, Set: set, Lost: lostOnly},
		},
		setting.Module{
			About: about("present", "A row of "+fstab+" for a mount point. What is mounted now is left alone.", "The row is as before.", deviceParams),
			Paths: paths, Want: present, Merge: takeBack,
		},
		setting.Module{
			About: about("absent", "Nothing is mounted at a path, and "+fstab+" has no row for it. The folder stays.",
				"The row is as before, and what was mounted is mounted again. What was mounted in memory, or by binding a folder, is irreversible.", nil),
			Paths: paths, Merge: takeBack,
			Want: func(h executor.Host, p executor.Params) ([]setting.Want, error) { return file(h, p, "") },
			Live: &setting.Live{Label: "mounted", Read: readGone, Set: set, Lost: lostOnly,
				Want: func(executor.Host, executor.Params, string, bool) string { return "" }},
		},
	}
}

// pathParam needs the folder, and provides what is mounted there: files below it come after.
var pathParam = states.Param{Name: "path", Type: states.Path, Required: true, Provides: states.ResourceMount, Needs: states.ResourcePath,
	Doc: "The mount point. The folder has to be there."}

var deviceParams = []states.Param{
	{Name: "device", Type: states.String, Required: true, Doc: "What is mounted: /dev/…, UUID=…, LABEL=…, HOST:/FOLDER, or tmpfs."},
	{Name: "type", Type: states.String, Default: "auto", Doc: "Type of the file system, such as ext4, nfs or tmpfs; none for a bind mount."},
	{Name: "options", Type: states.Strings, Doc: "Options, such as [ro, noexec]; defaults when not given."},
	{Name: "dump", Type: states.Int, Default: 0, Doc: "The fifth field of the row."},
	{Name: "pass", Type: states.Int, Default: 0, Doc: "The sixth: in which turn it is checked at boot."},
}

// examples are for the manual.
var examples = map[string]string{
	"mounted": `data:
  mount.mounted: {path: /srv/data, device: LABEL=data, type: ext4, options: [noatime]}`,
	"present": `backup:
  mount.present: {path: /mnt/backup, device: "nas:/backup", type: nfs, options: [noauto]}`,
	"absent": `no-old-data:
  mount.absent: {path: /srv/old}`,
}

func about(name, doc, undo string, params []states.Param) states.Function {
	return states.Function{
		Module: "mount", Name: name, Example: examples[name], Doc: doc, Params: append([]states.Param{pathParam}, params...), Outputs: []states.Output{setting.Changed},
		CheckDoc: "Reads " + fstab + " and what the kernel says is mounted; below --root the file alone.", UndoDoc: undo, Validate: validate,
	}
}

func validate(params map[string]any) error {
	p := executor.Params(params)
	for _, field := range []string{"device", "type"} {
		if v, given := params[field].(string); given && (v == "" || strings.ContainsAny(v, "\n\x00") || strings.HasPrefix(v, "-") || strings.HasPrefix(v, "#")) {
			return fmt.Errorf("%s %q makes no sense", field, v)
		}
	}
	if strings.ContainsAny(p.String("type"), " \t") {
		return errors.New("type is one word")
	}
	list, _ := p.Strings("options")
	for _, o := range list {
		if o == "" || strings.ContainsAny(o, ", \t\n#") {
			return fmt.Errorf("options: %q is not one option", o)
		}
	}
	for _, field := range []string{"dump", "pass"} {
		if n, ok := p.Int(field); ok && (n < 0 || n > 9) {
			return fmt.Errorf("%s %d is not between 0 and 9", field, n)
		}
	}
	return nil
}

func paths(executor.Params) []string { return []string{fstab} }

func present(h executor.Host, p executor.Params) ([]setting.Want, error) { return file(h, p, row(p)) }

// file is fstab with that row for the path; a machine without a fstab that needs no row gets none.
func file(h executor.Host, p executor.Params, row string) ([]setting.Want, error) {
	data, there, err := setting.Read(h, fstab)
	if err != nil {
		return nil, err
	}
	if !there && row == "" {
		return []setting.Want{{Path: fstab, Gone: true}}, nil
	}
	return []setting.Want{{Path: fstab, Data: withRow(data, p.String("path"), row)}}, nil
}

// lostOnly: options that change lose nothing.
func lostOnly(now, next string) string {
	from, to := parseAt(now), parseAt(next)
	if from.source == to.source && from.kind == to.kind {
		return ""
	}
	return lost(now)
}
