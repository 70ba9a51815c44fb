package hostfile

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"

	"shoal/executor"
	"shoal/internal/codec"
)

// Item is one path of an undo that is about several.
type Item struct {
	Path string
	// Deep: a folder is kept with all that is in it.
	Deep bool
	// Whole: where nothing is there, whatever comes to be there is the module's own, and goes with all that is in it.
	Whole bool
	// Exact: of a folder that is kept deep, what comes into it goes again.
	Exact bool
}

// set is what was at several paths, sorted: a folder comes before what is in it.
type set struct {
	Items []named `cbor:"1,keyasint"`
}

// CaptureAll reads what is at several paths. The folders above them that are not there belong to it.
func CaptureAll(h executor.Host, items []Item) (executor.Undo, error) {
	c := camera{h: h, contents: map[string][]byte{}}
	all := map[string]snapshot{}
	var folders []string
	for _, item := range items {
		c.deep = item.Deep
		s, err := c.take(item.Path)
		if errors.Is(err, syscall.ENOTDIR) {
			err = nil // what is to be a folder is a file yet, and this is not there
		}
		switch {
		case errors.Is(err, errTooMuch):
			return executor.Undo{Why: fmt.Sprintf("%s and what else changes hold %v: too much to be put back", item.Path, errTooMuch)}, nil
		case err != nil:
			return executor.Undo{}, err
		case s.Kind == other:
			return executor.Undo{Why: item.Path + " is a device, pipe or socket, which is not put back"}, nil
		case s.Kind == absent && item.Whole:
			s.Kind = whole
		case s.Kind == tree:
			s.Exact = item.Exact
		}
		all[item.Path] = s
		missing, err := MissingParents(h, item.Path)
		if err != nil {
			return executor.Undo{}, err
		}
		for _, dir := range missing {
			if _, has := all[dir]; !has {
				all[dir] = snapshot{}
				folders = append(folders, dir)
			}
		}
	}
	var s set
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s.Items = append(s.Items, named{name, all[name]})
	}
	slices.SortFunc(folders, func(a, b string) int { return strings.Compare(b, a) })
	data, err := codec.Marshal(s)
	return executor.Undo{Reversible: true, Data: data, Contents: c.contents, Folders: folders, Stages: append(c.stages, slices.Sorted(maps.Keys(all))...)}, err
}

// RevertAll puts back what CaptureAll saw: what was not there goes, the deepest first, then the rest comes back.
func RevertAll(h executor.Host, u executor.Undo) error {
	var s set
	if err := codec.Unmarshal(u.Data, &s); err != nil {
		return err
	}
	for _, item := range slices.Backward(s.Items) {
		if item.What.Kind == absent || item.What.Kind == whole {
			if err := item.What.restore(h, item.Name, u.Old); err != nil {
				return err
			}
		}
	}
	for _, item := range s.Items {
		if item.What.Kind == absent || item.What.Kind == whole {
			continue
		}
		if err := item.What.putBack(h, item.Name, u.Old); err != nil {
			return err
		}
	}
	return nil
}

// JoinAll is the Join of modules that undo with RevertAll: of a path that both know, what the first saw holds.
func JoinAll(first, later []byte) ([]byte, error) {
	var a, b set
	if err := errors.Join(codec.Unmarshal(first, &a), codec.Unmarshal(later, &b)); err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, item := range a.Items {
		known[item.Name] = true
	}
	for _, item := range b.Items {
		if !known[item.Name] && !a.covers(item.Name) {
			a.Items = append(a.Items, item)
		}
	}
	slices.SortFunc(a.Items, func(x, y named) int { return strings.Compare(x.Name, y.Name) })
	return codec.Marshal(a)
}

// covers: a path is within one that was kept, or is to go, with all that is in it.
func (s set) covers(name string) bool {
	for _, item := range s.Items {
		if (item.What.Kind == whole || item.What.Kind == tree) && strings.HasPrefix(name, item.Name+"/") {
			return true
		}
	}
	return false
}

// RevertAllDiff says for a plan what RevertAll would do.
func RevertAllDiff(h executor.Host, u executor.Undo) string {
	var s set
	if codec.Unmarshal(u.Data, &s) != nil {
		return ""
	}
	var b strings.Builder
	for _, item := range s.Items {
		now, err := Look(h, item.Name)
		switch {
		case err != nil:
		case item.What.Kind != absent && item.What.Kind != whole:
			fmt.Fprintf(&b, "put back what was at %s\n", item.Name)
		case now != nil:
			fmt.Fprintf(&b, "remove %s %s\n", KindName(now.Mode), item.Name)
		}
		if b.Len() > maxListed {
			return b.String() + "… the rest is not shown\n"
		}
	}
	return b.String()
}

// maxListed is how much of a list of paths a diff shows, in bytes.
const maxListed = 16 << 10

// Within says whether name is below the folder dir.
func Within(dir, name string) bool {
	return strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/") && path.Clean(name) == name
}
