// Package pkgrepo is the module pkgrepo: where the package manager gets its packages from.
package pkgrepo

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"shoal/executor"
	"shoal/internal/setting"
	"shoal/states"
)

// Modules are the functions of this package.
func Modules() []executor.Module {
	return []executor.Module{
		setting.Module{
			About: states.Function{
				Module: "pkgrepo", Name: "managed",
				Doc: "A repository of packages, with its key, is known to apt (deb822), dnf or zypper (a .repo file), and its package lists are fetched when it changed. " +
					"A repository that cannot be reached fails the state.",
				Params: append([]states.Param{nameParam}, params...),
				Outputs: []states.Output{
					{Name: "path", Type: states.Path, Doc: "The file that names the repository."},
					{Name: "key", Type: states.String, Doc: "The file of its key; empty where none is given."}, setting.Changed,
				},
				Example: `docker:
  pkgrepo.managed:
    name: docker
    uris: [https://download.docker.com/linux/debian]
    suites: [bookworm]
    components: [stable]
    source: files/docker.asc # its key`,
				CheckDoc: "Reads the files.", UndoDoc: "The files are as before, and its package lists are fetched again where they can be.",
				Validate: validate,
			},
			Paths: paths,
			Want: func(h executor.Host, p executor.Params) ([]setting.Want, error) {
				k, err := kindOf(h)
				return append(k.unused(p), k.wants(p)...), err
			},
			After: func(ctx context.Context, h executor.Host, p executor.Params) error {
				if on, given := p.Bool("enabled"); given && !on {
					return nil
				}
				return h.RefreshPackages(ctx, p.String("name"), 0)
			},
			Outputs: outputs,
		},
		setting.Module{
			About: states.Function{
				Module: "pkgrepo", Name: "absent",
				Doc:    "A repository that pkgrepo.managed would write is not known: its file, its key and its priority are gone. Packages that came from it stay.",
				Params: []states.Param{nameParam}, Outputs: []states.Output{setting.Changed},
				Example: `no-docker:
  pkgrepo.absent: {name: docker}`,
				CheckDoc: "Looks for the files.", UndoDoc: "The files are as before.", Validate: validate,
			},
			Paths: paths,
			Want: func(h executor.Host, p executor.Params) ([]setting.Want, error) {
				k, err := kindOf(h)
				var wants []setting.Want
				for _, path := range k.paths(p.String("name")) {
					wants = append(wants, setting.Want{Path: path, Gone: true})
				}
				return wants, err
			},
		},
	}
}

// outputs: the file that names the repository is wanted last, its key first.
func outputs(p executor.Params, wants []setting.Want) map[string]any {
	out := map[string]any{"path": wants[len(wants)-1].Path, "key": p.String("signed_by")}
	for _, w := range wants {
		if w.Content != nil {
			out["key"] = w.Path
		}
	}
	return out
}

var nameParam = states.Param{Name: "name", Type: states.String, Required: true, Provides: states.ResourceRepository,
	Doc: "Name of the repository: of its files, without an ending."}

var params = []states.Param{
	{Name: "uris", Type: states.Strings, Required: true, Doc: "Where it is: one address, or several that hold the same."},
	{Name: "suites", Type: states.Strings, Doc: "Its suites, such as bookworm; one that ends in a slash is a path without components. For apt alone, which needs it."},
	{Name: "components", Type: states.Strings, Doc: "Its components, such as main. For apt alone."},
	{Name: "types", Type: states.Strings, Default: []string{"deb"}, Doc: "deb, deb-src or both. For apt alone."},
	{Name: "architectures", Type: states.Strings, Doc: "The architectures to fetch; all of the machine's when not given. For apt alone."},
	{Name: "key", Type: states.Contents, Doc: "Its key: content:, source: or template:, in armour; a source that ends in .gpg is a binary keyring."},
	{Name: "signed_by", Type: states.Path, Needs: states.ResourcePath, Doc: "A key that is on the machine already, in place of one from the tree."},
	{Name: "trusted", Type: states.Bool, Default: false, Doc: "Packages are taken without a signature. For what is on the machine itself."},
	{Name: "priority", Type: states.Int, Doc: "Its priority: for apt as in apt_preferences(5), above 1000 also downgrades; for dnf and zypper 1 to 99, lower wins."},
	{Name: "pin", Type: states.String, Doc: "What the priority is for, such as \"release o=Docker\"; when not given, the host of the first address. For apt alone."},
	{Name: "enabled", Type: states.Bool, Default: true, Doc: "Whether it is used."},
}

var (
	fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`) // what apt reads of a sources.list.d (sources.list(5))
	word     = regexp.MustCompile(`^[^\s#\[\]]+$`)
)

func validate(raw map[string]any) error {
	p := executor.Params(raw)
	if name := p.String("name"); !fileName.MatchString(name) {
		return fmt.Errorf("%q is not a name for a repository: letters, digits, dots, dashes and underscores", name)
	}
	for _, field := range []string{"uris", "suites", "components", "types", "architectures"} {
		words, given := p.Strings(field)
		if given && len(words) == 0 && field == "uris" {
			return errors.New("uris is empty")
		}
		for _, w := range words {
			if !word.MatchString(w) {
				return fmt.Errorf("%s: %q is not one word", field, w)
			}
		}
	}
	if strings.ContainsAny(p.String("pin"), "\n\r") {
		return errors.New("pin holds a line break")
	}
	if _, key := raw["key"].(states.Content); key && p.String("signed_by") != "" {
		return errors.New("give a key or signed_by, not both")
	}
	return nil
}

// kind is how a package manager wants to be told.
type kind struct {
	wants func(p executor.Params) []setting.Want
	paths func(name string) []string
}

// kindOf goes by the folder in which the package manager looks.
func kindOf(h executor.Host) (kind, error) {
	for _, known := range []struct {
		folder string
		kind   kind
	}{
		{"/etc/apt", apt}, {zyppFolder, rpm(zyppFolder)}, {yumFolder, rpm(yumFolder)},
	} {
		if st, err := h.Lstat(known.folder); err == nil && st.Mode.IsDir() {
			return known.kind, nil
		}
	}
	return apt, errors.New("no package manager here whose repositories are known: there is neither /etc/apt, " + zyppFolder + " nor " + yumFolder)
}

// paths are those of every kind: which one it will be, parameters alone do not tell.
func paths(p executor.Params) []string {
	name := p.String("name")
	all := apt.paths(name)
	return append(append(all, rpm(zyppFolder).paths(name)...), rpm(yumFolder).paths(name)...)
}

// unused: what an earlier form of the state had, such as a priority, is gone with it.
func (k kind) unused(p executor.Params) (wants []setting.Want) {
	used := k.wants(p)
	for _, path := range k.paths(p.String("name")) {
		if !slices.ContainsFunc(used, func(w setting.Want) bool { return w.Path == path }) {
			wants = append(wants, setting.Want{Path: path, Gone: true})
		}
	}
	return wants
}

func keyOf(p executor.Params) (c *states.Content, ending string) {
	key, ok := p["key"].(states.Content)
	if !ok {
		return nil, ""
	}
	if strings.HasSuffix(key.Source, ".gpg") {
		return &key, ".gpg"
	}
	return &key, ".asc"
}

// The files of apt (sources.list(5), apt_preferences(5)).
const (
	aptSources     = "/etc/apt/sources.list.d/"
	aptKeys        = "/etc/apt/keyrings/"
	aptPreferences = "/etc/apt/preferences.d/"
)

var apt = kind{
	wants: func(p executor.Params) []setting.Want {
		name := p.String("name")
		var wants []setting.Want
		key, ending := keyOf(p)
		if key != nil {
			wants = append(wants, setting.Want{Path: aptKeys + name + ending, Content: key})
		}
		if priority, given := p.Int("priority"); given {
			wants = append(wants, setting.Want{Path: aptPreferences + name, Data: fmt.Appendf(nil, "Package: *\nPin: %s\nPin-Priority: %d\n", pinOf(p), priority)})
		}
		// The one that is read last, so that its key and priority are there.
		return append(wants, setting.Want{Path: aptSources + name + ".sources", Data: deb822(p)})
	},
	paths: func(name string) []string {
		return []string{aptSources + name + ".sources", aptPreferences + name, aptKeys + name + ".asc", aptKeys + name + ".gpg"}
	},
}

func pinOf(p executor.Params) string {
	if pin := p.String("pin"); pin != "" {
		return pin
	}
	uris, _ := p.Strings("uris")
	u, err := url.Parse(uris[0])
	if err != nil || u.Hostname() == "" {
		return `origin ""` // of what is on this machine
	}
	return "origin " + u.Hostname()
}

func deb822(p executor.Params) []byte {
	var b strings.Builder
	field := func(name string, values []string) {
		if len(values) > 0 {
			fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(values, " "))
		}
	}
	list := func(name string) []string { words, _ := p.Strings(name); return words }
	if on, given := p.Bool("enabled"); given && !on {
		field("Enabled", []string{"no"})
	}
	types := list("types")
	if len(types) == 0 {
		types = []string{"deb"}
	}
	suites := list("suites")
	if len(suites) == 0 {
		suites = []string{"./"}
	}
	field("Types", types)
	field("URIs", list("uris"))
	field("Suites", suites)
	field("Components", list("components"))
	field("Architectures", list("architectures"))
	if key, ending := keyOf(p); key != nil {
		field("Signed-By", []string{aptKeys + p.String("name") + ending})
	} else if path := p.String("signed_by"); path != "" {
		field("Signed-By", []string{path})
	}
	if trusted, _ := p.Bool("trusted"); trusted {
		field("Trusted", []string{"yes"})
	}
	return []byte(b.String())
}

// The files of dnf (dnf.conf(5)) and of zypper, which reads the same form.
const (
	yumFolder  = "/etc/yum.repos.d"
	zyppFolder = "/etc/zypp/repos.d"
	rpmKeys    = "/etc/pki/rpm-gpg/"
)

func rpm(folder string) kind {
	return kind{
		wants: func(p executor.Params) []setting.Want {
			var wants []setting.Want
			if key, _ := keyOf(p); key != nil {
				wants = append(wants, setting.Want{Path: rpmKeys + p.String("name"), Content: key})
			}
			return append(wants, setting.Want{Path: folder + "/" + p.String("name") + ".repo", Data: repoFile(p)})
		},
		paths: func(name string) []string { return []string{folder + "/" + name + ".repo", rpmKeys + name} },
	}
}

func repoFile(p executor.Params) []byte {
	name := p.String("name")
	uris, _ := p.Strings("uris")
	trusted, _ := p.Bool("trusted")
	enabled, given := p.Bool("enabled")
	var b strings.Builder
	fmt.Fprintf(&b, "[%s]\nname=%s\nbaseurl=%s\nenabled=%s\ngpgcheck=%s\n", name, name, strings.Join(uris, "\n        "), bit(enabled || !given), bit(!trusted))
	if key, _ := keyOf(p); key != nil {
		fmt.Fprintf(&b, "gpgkey=file://%s%s\n", rpmKeys, name)
	} else if path := p.String("signed_by"); path != "" {
		fmt.Fprintf(&b, "gpgkey=file://%s\n", path)
	}
	if priority, given := p.Int("priority"); given {
		fmt.Fprintf(&b, "priority=%d\n", priority)
	}
	return []byte(b.String())
}

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
