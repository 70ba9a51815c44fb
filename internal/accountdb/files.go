package accountdb

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"time"

	"shoal/executor"
)

// The files of the database, below /etc.
const (
	Passwd  = "passwd"
	Group   = "group"
	Shadow  = "shadow"
	Gshadow = "gshadow"
)

// Names are all four, in the order of Stamps.
var Names = [4]string{Passwd, Group, Shadow, Gshadow}

// Files are the four files where they lie. Reading returns fs.ErrNotExist for one that is not there.
type Files interface {
	// Stamps tell one version of each file from every other; zero for one that is not there.
	Stamps() ([4]executor.Stat, error)
	Read(name string) ([]byte, error)
	// Lock takes the lock of the tools that change accounts, after a wait that ends with ctx or with an error that says
	// who holds it.
	Lock(ctx context.Context) (unlock func(), err error)
	// Replace writes whole new files beside the old ones, with the owner, mode and xattrs that these have (NewMode where
	// there is none), makes them durable, and only then moves them into place in the order of names. On an error before
	// the first is moved nothing has changed.
	Replace(names []string, data func(name string) []byte) error
}

// NewMode of a file that is not there yet: nobody but root reads what holds passwords.
func NewMode(name string) fs.FileMode {
	if name == Shadow || name == Gshadow {
		return 0o600
	}
	return 0o644
}

// The order in which the files of one change are put into place. A user shows in passwd last, when its groups are there,
// and goes from it first, so that a crash between two leaves rows that nothing refers to, and doing it again mends them.
var (
	addOrder    = []string{Group, Gshadow, Shadow, Passwd}
	removeOrder = []string{Passwd, Shadow, Gshadow, Group}
)

// read returns the rows of a file, or those of a machine with root alone when it is not there.
func (a *Accounts) read(name string) (rows, error) {
	data, err := a.files.Read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return rootRows(name), nil
	}
	return parseRows(data), err
}

func rootRows(name string) rows {
	return map[string]rows{
		Passwd:  {"root:x:0:0:root:/root:/bin/sh"},
		Group:   {"root:x:0:"},
		Shadow:  {"root:*:::::::"},
		Gshadow: {"root:*::"},
	}[name]
}

// change reads all files under the lock that every account tool takes, lets edit change them, and replaces those that
// differ. On an error nothing has changed, but for a crash or a failing disk between two renames.
func (a *Accounts) change(ctx context.Context, order []string, edit func(*accountTables) error) error {
	unlock, err := a.files.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	before, tables, err := a.load()
	if err != nil {
		return err
	}
	if err := edit(tables); err != nil {
		return err
	}
	after := map[string]rows{Passwd: tables.passwd, Group: tables.group}
	if tables.hasShadow {
		after[Shadow] = tables.shadow
	}
	if tables.hasGshadow {
		after[Gshadow] = tables.gshadow
	}
	var changed []string
	for _, name := range order {
		if rows, kept := after[name]; kept && !bytes.Equal(rows.bytes(), before[name]) {
			changed = append(changed, name)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return a.files.Replace(changed, func(name string) []byte { return after[name].bytes() })
}

// load reads the four files. A machine without shadow or gshadow is kept without, unless all is yet to be made.
func (a *Accounts) load() (before map[string][]byte, d *accountTables, err error) {
	before = map[string][]byte{}
	absent := map[string]bool{}
	tables := map[string]rows{}
	for _, name := range addOrder {
		data, err := a.files.Read(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			absent[name], tables[name] = true, rootRows(name)
		case err != nil:
			return nil, nil, err
		default:
			before[name], tables[name] = data, parseRows(data)
		}
	}
	return before, &accountTables{
		passwd: tables[Passwd], group: tables[Group], shadow: tables[Shadow], gshadow: tables[Gshadow],
		hasShadow: !absent[Shadow] || absent[Passwd], hasGshadow: !absent[Gshadow] || absent[Group],
		today: int(time.Now().Unix() / (24 * 60 * 60)),
	}, nil
}
