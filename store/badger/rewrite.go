package badger

import (
	"errors"
	"log/slog"

	"github.com/dgraph-io/badger/v4"
)

// rewriteObjects writes the objects again that can be read of damaged tables. When the library merges such a table with others it
// takes the damage for its end, and goes on without the objects behind it; when it lists keys it leaves them out. What lies between two
// damaged blocks of one table is not rewritten: the scrub finds that it is gone.
func rewriteObjects(dir string, damaged []string, readOnly bool, log *slog.Logger) (err error) {
	if len(damaged) == 0 || readOnly { // who may not write does not merge
		return nil
	}
	const never = 1 << 20
	db, err := openWith(libraryOptions(dir, false, memTable, log).WithNumCompactors(0).WithNumLevelZeroTablesStall(never))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	s := &salvager{db: db, dir: dir}
	for _, name := range damaged {
		if _, err := readTable(name, s.again); err != nil {
			return err
		}
	}
	if err := s.flush(); err != nil {
		return err
	}
	_, err = reindexAll(db, dir)
	return err
}

// again writes an object once more, unless it was dropped since: then another table says so.
func (s *salvager) again(r record) error {
	if !r.proven() || r.meta == largeMeta { // those are found where they are
		return nil
	}
	err := s.db.View(func(txn *badger.Txn) error {
		_, err := txn.Get(r.key)
		return err
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil
	}
	return errors.Join(err, s.add(r))
}
