package packages

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"shoal/executor"
)

// maxStatusLine is more than the longest line of a status file, in bytes. Longer ones are an error.
const maxStatusLine = 4 << 20

// dpkgPackage is one stanza of dpkg's database (deb-version(7), dpkg(1) "Package states").
type dpkgPackage struct {
	name, arch, version   string
	want, problem, status string
}

// installed: unpacked and configured. A package that waits for a trigger works, and is waited for by dpkg itself.
func (p dpkgPackage) installed() bool {
	return p.problem == "ok" && (p.status == "installed" || strings.HasPrefix(p.status, "triggers-"))
}

// broken: an interrupted dpkg left it half way, and dpkg --configure -a goes on from there.
func (p dpkgPackage) broken() bool {
	return slices.Contains([]string{"half-installed", "half-configured", "unpacked"}, p.status) || strings.HasPrefix(p.status, "triggers-")
}

func (p dpkgPackage) as(name string) executor.Package {
	return executor.Package{Name: name, Version: p.version, Hold: p.want == "hold", Leaving: p.want == "deinstall" || p.want == "purge"}
}

func (p dpkgPackage) key() string { return p.name + ":" + p.arch }

// parseStatus reads a status file, or an update to one: stanzas of "Field: value" lines with an empty line between them.
func parseStatus(data []byte) ([]dpkgPackage, error) {
	var all []dpkgPackage
	var p dpkgPackage
	end := func() {
		if p.name != "" {
			all = append(all, p)
		}
		p = dpkgPackage{}
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxStatusLine)
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			end()
			continue
		}
		field, value, _ := strings.Cut(line, ":") // a line that goes on begins with a blank, and is no field of these
		value = strings.TrimSpace(value)
		switch field {
		case "Package":
			p.name = value
		case "Architecture":
			p.arch = value
		case "Version":
			p.version = value
		case "Status":
			if words := strings.Fields(value); len(words) == 3 {
				p.want, p.problem, p.status = words[0], words[1], words[2]
			}
		}
	}
	end()
	return all, lines.Err()
}

// dpkgDatabase is dpkg's view of all packages.
type dpkgDatabase struct {
	byKey       map[string]dpkgPackage // name:arch
	native      string                 // the machine's own architecture
	interrupted bool                   // dpkg --configure -a has something to do
}

// Files is what apt reads of the machine.
type Files interface {
	Lstat(path string) (executor.Stat, error)
	ReadFile(path string) ([]byte, error)
	ReadDir(path string) ([]string, error)
}

// Where dpkg keeps its database.
const (
	dpkgStatus  = "/var/lib/dpkg/status"
	dpkgUpdates = "/var/lib/dpkg/updates"
)

// readDpkg reads the database. Updates are the journal of a dpkg that runs or was interrupted, and count.
func readDpkg(files Files) (*dpkgDatabase, error) {
	data, err := files.ReadFile(dpkgStatus)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	db := &dpkgDatabase{byKey: map[string]dpkgPackage{}}
	if err := db.add(data); err != nil {
		return nil, err
	}
	updates, err := files.ReadDir(dpkgUpdates)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, u := range updates { // in the order of their numbers
		if _, err := strconv.Atoi(u); err != nil {
			continue
		}
		db.interrupted = true
		data, err := files.ReadFile(path.Join(dpkgUpdates, u))
		if errors.Is(err, fs.ErrNotExist) {
			continue // dpkg has just taken it into the status file
		}
		if err != nil {
			return nil, err
		}
		if err := db.add(data); err != nil {
			return nil, err
		}
	}
	return db, nil
}

func (db *dpkgDatabase) add(data []byte) error {
	stanzas, err := parseStatus(data)
	for _, p := range stanzas {
		db.byKey[p.key()] = p
		if p.name == "dpkg" {
			db.native = p.arch
		}
		db.interrupted = db.interrupted || p.broken()
	}
	return err
}

// find takes NAME, which is one of the machine's own architecture or of none, and NAME:ARCH.
func (db *dpkgDatabase) find(name string) (executor.Package, bool) {
	for _, key := range db.keys(name) {
		if p, ok := db.byKey[key]; ok && p.installed() {
			return p.as(name), true
		}
	}
	return executor.Package{}, false
}

// leftover: nothing of it is there but its configuration and data.
func (db *dpkgDatabase) leftover(name string) bool {
	return slices.ContainsFunc(db.keys(name), func(key string) bool { return db.byKey[key].status == "config-files" })
}

// keys are where NAME, which is one of the machine's own architecture or of none, and NAME:ARCH may stand.
func (db *dpkgDatabase) keys(name string) []string {
	if strings.Contains(name, ":") {
		return []string{name}
	}
	return []string{name + ":" + db.native, name + ":all"}
}

// present: some of it is there beyond its configuration, if only half.
func (db *dpkgDatabase) present(name string) bool {
	return slices.ContainsFunc(db.keys(name), func(key string) bool {
		p, ok := db.byKey[key]
		return ok && p.status != "" && p.status != "not-installed" && p.status != "config-files"
	})
}

// all installed packages by name, those of other architectures as NAME:ARCH.
func (db *dpkgDatabase) all() []executor.Package {
	byName := map[string]executor.Package{}
	for key, p := range db.byKey {
		if !p.installed() {
			continue
		}
		name := p.name
		if p.arch != db.native && p.arch != "all" {
			name = key
		}
		byName[name] = p.as(name)
	}
	list := make([]executor.Package, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		list = append(list, byName[name])
	}
	return list
}
