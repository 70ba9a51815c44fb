// Package badger is a store.KV on disk. Around the library it adds what a node must be able to rely on: writes that share
// a sync, a reserve of free disk, a stop after a failed sync, and no "not found" for what is only unreadable.
package badger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/y"
	"golang.org/x/sys/unix"

	"shoal/store"
)

// Sizes in bytes.
const (
	// memTable bounds what one transaction may hold (15 % of it, which is more than store.MaxBatch) and what is read back
	// at start. The library keeps three on the heap while one is written out, and its content again in the buffer of the table.
	memTable = 2 << 20
	// inline is the size from which values would go to the library's value log, whose collection and sync errors can lose
	// data. No value is that large, so the value log stays empty.
	inline   = store.MaxBatch
	valueLog = 1 << 20 // the smallest that the library takes
	// tableSize is that of all levels. The library builds each table in a buffer of twice its size; one that outgrows it is
	// doubled, and then kept for the tables that follow: eight lie ready. So no table may outgrow its own, the one of a memTable
	// neither: each block of that has room for the largest object, and is half empty as likely as not.
	tableSize = 2 << 20
	// A compaction builds up to 13 tables at a time, and two run. These make each of them so small that it has about half a dozen:
	// few tables wait on the first level, one that moves down meets few on the next, and writers wait while it is behind. With a
	// growth of 5 one met six. A byte is not rewritten more often with 3: there are more levels, and each rewrites less. The library's
	// seven levels hold 1 GiB before the base has to be larger, and compactions with it; more levels a version before could not open.
	levelZero, levelZeroStall = 2, 4
	baseLevel, levelGrowth    = 4 << 20, 3
	// blockSize has room for the largest object: the library's builder allocates a block that outgrows its size three times over.
	blockSize  = store.MaxObject + 4<<10
	memTables  = 2
	compactors = 2

	verifyTries = 5
)

// Options of Open. Only Dir is required.
type Options struct {
	Dir string
	// Forgot is what is written first into a store that had to be made anew of what could be read of a damaged one: its
	// owner finds it there, and knows that what it wrote last may be gone. Without it a damaged store is not made anew: nobody
	// would hear of it.
	Forgot []store.Change
	// Logger gets the library's warnings and errors.
	Logger *slog.Logger
	// Free returns the free and the total bytes of the file system of Dir; by default statfs says it.
	Free func(dir string) (free, total uint64, err error)
	// Ballast is the size of the file that is given up when a full disk would keep the store from opening; 0: 64 MiB,
	// negative: none.
	Ballast int64
	// Mark is a file in memory that belongs to this store, and is empty after a restart of the machine; nil: none, and no Lineage.
	// The caller closes it, after the store.
	Mark *os.File
	// large says what goes into segments; a test has another rule than isLarge.
	large func(store.Change) bool
}

// KV is a store.KV in a folder that belongs to it alone, locked against other processes.
type KV struct {
	disk   disk
	log    *slog.Logger
	writes *batcher

	// mu is held for reading while the database is in use, and for writing to close or replace it.
	mu       sync.RWMutex
	db       *badger.DB
	closed   bool
	readOnly bool // opened with less than the reserve

	broken atomic.Bool
	known  known
	forgot []store.Change
	mark   mark
	guard  *os.File // locked for as long as the store is open
	// apply gives one transaction to the library, and logs make it durable; a test puts failing ones here.
	apply func(*badger.Txn) error
	logs  *logSync

	large   *segments
	isLarge func(store.Change) bool
}

var (
	_ store.KV    = (*KV)(nil)
	_ store.Sizer = (*KV)(nil)
)

// Open opens or creates the store. With less free disk than the reserve it opens for reading alone, and begins to take
// writes when there is room again. It fails with store.ErrReserve when not even that is possible.
//
// Where a table does not match its checksums and held only objects, these are missing, or ErrCorrupt when they are read, until
// they are written again. Where something else is damaged the store is made anew, see salvage.go; on a full disk, and without
// Options.Forgot, that cannot be, and Open fails with store.ErrCorrupt.
func Open(opt Options) (*KV, error) {
	kv := &KV{disk: newDisk(opt), log: opt.Logger, apply: (*badger.Txn).Commit, logs: newLogSync(opt.Dir), forgot: opt.Forgot, mark: mark{file: opt.Mark}, isLarge: opt.large}
	if kv.isLarge == nil {
		kv.isLarge = isLarge
	}
	if kv.log == nil {
		kv.log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	var err error
	if kv.guard, err = lockGuard(opt.Dir); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := kv.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), kv.guard.Close())
	}
	if err := kv.known.load(kv); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), kv.db.Close(), kv.guard.Close())
	}
	if err := kv.mark.meet(opt.Dir, kv.db.MaxVersion()); err != nil {
		kv.log.Warn("whether this disk keeps what it is given is asked of others at the next start", "reason", err)
	}
	kv.writes = newBatcher(kv.commit, kv.isLarge, int(kv.db.MaxBatchSize()))
	return kv, nil
}

func (kv *KV) open() error {
	reserveErr := kv.disk.check()
	if reserveErr != nil && !errors.Is(reserveErr, store.ErrReserve) {
		return reserveErr
	}
	if reserveErr != nil && needsWriting(kv.disk.dir) {
		if err := kv.disk.releaseBallast(); err != nil {
			return fmt.Errorf("%w; the store was not closed cleanly and needs %d MiB to be read: %w", reserveErr, openNeed>>20, err)
		}
		reserveErr = nil // open for writing, and each write looks at the reserve
	}
	db, err := kv.openOrSalvage(reserveErr != nil)
	if err != nil {
		return err
	}
	if kv.large, err = openSegments(kv.disk.dir); err == nil {
		err = kv.countLarge(db, reserveErr != nil)
	}
	if err != nil {
		return errors.Join(err, db.Close())
	}
	if reserveErr != nil {
		kv.log.Warn("store opened for reading only", "reason", reserveErr)
	} else if err := kv.disk.afterOpen(); err != nil {
		return errors.Join(err, db.Close())
	}
	kv.db, kv.readOnly = db, reserveErr != nil
	return nil
}

// openOrSalvage opens the database as it is or, when it is damaged and may be written, makes it anew.
func (kv *KV) openOrSalvage(readOnly bool) (*badger.DB, error) {
	if readOnly {
		return openDatabase(kv.disk.dir, true, kv.log)
	}
	if len(kv.forgot) == 0 && (is(kv.disk.dir, movingDir) || is(kv.disk.dir, readingDir)) {
		return nil, fmt.Errorf("%w: it was damaged, and is to be made anew by its node first", store.ErrCorrupt)
	}
	if err := kv.resumeSalvage(); err != nil {
		return nil, err
	}
	db, err := openDatabase(kv.disk.dir, false, kv.log)
	if err == nil || !errors.Is(err, store.ErrCorrupt) || len(kv.forgot) == 0 {
		return db, err
	}
	if err := kv.salvage(err); err != nil {
		return nil, fmt.Errorf("salvage: %w", err)
	}
	return openDatabase(kv.disk.dir, false, kv.log)
}

// lockGuard keeps other processes out before anything is looked at: what another is writing looks damaged.
func lockGuard(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, guardName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another process has it open: %w", err), f.Close())
	}
	return f, nil
}

// needsWriting is true for a store that cannot be opened for reading alone: a new one, or one that was not closed, whose
// logs must be cut where they end.
func needsWriting(dir string) bool {
	logs, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	return err != nil || len(logs) > 0 || !exists(dir, badger.ManifestFilename)
}

// isChecksum looks at the text too: the library wraps its sentinel in some places, and prints it in others.
func isChecksum(err error) bool {
	return errors.Is(err, y.ErrChecksumMismatch) || strings.Contains(err.Error(), y.ErrChecksumMismatch.Error())
}

// removeUnborn deletes logs of no length: the process was killed when it had just made one. Nothing was ever in them, and the
// library refuses to open a folder that has one.
func removeUnborn(dir string) error {
	logs, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return err
	}
	for _, name := range logs {
		info, err := os.Stat(name)
		if err == nil && info.Size() == 0 {
			err = os.Remove(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func openDatabase(dir string, readOnly bool, log *slog.Logger) (*badger.DB, error) {
	var damaged []string
	spared := func(table string, err error) {
		log.Warn("objects on the disk are damaged; peers have copies", "table", table, "error", err)
		damaged = append(damaged, table)
	}
	if err := verifyTables(dir, spared); err != nil {
		return nil, err
	}
	if !readOnly {
		if err := errors.Join(removeUnborn(dir), checkLogs(dir), discardHollow(dir)); err != nil {
			return nil, err
		}
	}
	if err := emptyLargeLogs(dir, readOnly, log); err != nil {
		return nil, err
	}
	if err := rewriteObjects(dir, damaged, readOnly, log); err != nil {
		return nil, fmt.Errorf("rewrite objects: %w", err)
	}
	return openWith(libraryOptions(dir, readOnly, memTable, log))
}

// emptyLargeLogs has what is in logs that were made with larger tables in memory written out: the library dies of one that does
// not fit into a table of the size that it is given.
func emptyLargeLogs(dir string, readOnly bool, log *slog.Logger) error {
	if readOnly {
		return nil // there are none, see needsWriting
	}
	size, err := largestLog(dir)
	if err != nil || size <= memTable {
		return err
	}
	db, err := openWith(libraryOptions(dir, false, size, log))
	if err != nil {
		return err
	}
	return db.Close()
}

func libraryOptions(dir string, readOnly bool, memTable int64, log *slog.Logger) badger.Options {
	defaults := badger.DefaultOptions(dir)
	defaults.TableSizeMultiplier = 1
	return defaults.
		WithReadOnly(readOnly).
		WithSyncWrites(false).      // logSync does it
		WithDetectConflicts(false). // one writes at a time
		WithMemTableSize(memTable).
		WithNumMemtables(memTables).
		WithNumCompactors(compactors).
		WithBaseTableSize(tableSize).
		WithBlockSize(blockSize).
		WithValueThreshold(inline).
		WithValueLogFileSize(valueLog).
		WithCompression(options.None). // and so no block cache: tables are memory-mapped
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithVerifyValueChecksum(true).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithNumGoroutines(1).
		WithMetricsEnabled(false).
		WithNumLevelZeroTables(levelZero).
		WithNumLevelZeroTablesStall(levelZeroStall).
		WithBaseLevelSize(baseLevel).
		WithLevelSizeMultiplier(levelGrowth).
		WithLogger(logger{log})
}

func openWith(opt badger.Options) (*badger.DB, error) {
	db, err := badger.Open(opt)
	if err != nil && isChecksum(err) {
		err = fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return db, err
}

// Get implements store.KV.
func (kv *KV) Get(ctx context.Context, key []byte) ([]byte, error) {
	value, err := kv.known.read(key, func() ([]byte, error) { return kv.get(ctx, key) })
	if errors.Is(err, store.ErrNotFound) {
		return nil, store.ErrNotFound
	}
	return value, readError("get", err)
}

// Size implements store.Sizer.
func (kv *KV) Size(ctx context.Context, key []byte) (size int64, here bool, err error) {
	err = kv.view(ctx, func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err == nil {
			size, err = sizeOf(item)
			here = err == nil
		}
		return err
	})
	return size, here, readError("size", err)
}

// Scan implements store.KV.
func (kv *KV) Scan(ctx context.Context, prefix, after []byte, limit int, keysOnly bool) (out []store.Pair, err error) {
	var large []int // of out
	err = kv.view(ctx, func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
		defer it.Close()
		from := prefix
		if bytes.Compare(after, from) > 0 {
			from = after
		}
		limit = min(limit, store.MaxScan)
		for it.Seek(from); it.Valid() && len(out) < limit; it.Next() {
			item := it.Item()
			if after != nil && bytes.Equal(item.Key(), after) {
				continue
			}
			pair := store.Pair{Key: item.KeyCopy(nil)}
			if pair.Size, err = sizeOf(item); err != nil {
				return err
			}
			if !keysOnly && item.UserMeta() == largeMeta {
				large = append(large, len(out))
			} else if !keysOnly {
				if pair.Value, err = item.ValueCopy([]byte{}); err != nil {
					return err
				}
			}
			out = append(out, pair)
		}
		return nil
	})
	if err == nil && len(large) > 0 {
		out, err = kv.fill(ctx, out, large)
	}
	return out, readError("scan", err)
}

func (kv *KV) view(ctx context.Context, read func(*badger.Txn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	kv.mu.RLock()
	defer kv.mu.RUnlock()
	if kv.closed {
		return store.ErrClosed
	}
	txn := kv.db.NewTransaction(false)
	defer txn.Discard()
	return read(txn)
}

func readError(op string, err error) error {
	if err == nil {
		return nil
	}
	if isChecksum(err) {
		err = fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}

// Write implements store.KV. Writes that come together share one transaction and one sync.
func (kv *KV) Write(ctx context.Context, changes []store.Change) error {
	if err := store.CheckBatch(changes); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := kv.writes.do(ctx, changes); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// commit makes the changes durable; only the batcher calls it.
func (kv *KV) commit(changes []store.Change) error {
	if kv.broken.Load() {
		return store.ErrBroken
	}
	if err := kv.disk.check(); err != nil {
		return err
	}
	if err := kv.becomeWritable(); err != nil {
		return err
	}
	txn := kv.db.NewTransaction(true)
	defer txn.Discard()
	pieces, err := kv.stage(txn, changes)
	if err != nil {
		kv.large.free(pieces.fresh)
		return err // nothing names what has been given to the disk
	}
	kv.known.willWrite(changes)
	if err = kv.large.sync(); err == nil {
		err = kv.apply(txn)
	}
	if err == nil {
		var changed bool
		changed, err = kv.disk.syncNames()
		err = errors.Join(err, kv.logs.sync(changed))
	}
	if err == nil {
		err = kv.mark.wrote()
	}
	if err != nil {
		kv.broken.Store(true)
		kv.log.Error("store stopped", "reason", err)
		return fmt.Errorf("%w: %w", store.ErrBroken, err)
	}
	kv.known.wrote(changes)
	kv.large.free(pieces.old)
	return nil
}

func set(txn *badger.Txn, c store.Change) error {
	if c.Value == nil {
		return txn.Delete(c.Key)
	}
	return txn.Set(c.Key, c.Value)
}

// becomeWritable opens the store again when it was opened on a disk that was too full, and now is not.
func (kv *KV) becomeWritable() error {
	if !kv.readOnly { // only who leads the batcher, and this is it, changes that
		return nil
	}
	kv.mu.Lock()
	defer kv.mu.Unlock()
	if err := errors.Join(kv.logs.close(), kv.large.finish(), kv.db.Close()); err != nil {
		return err
	}
	if err := kv.open(); err != nil {
		kv.closed = true // there is no database behind it any more
		return errors.Join(err, kv.guard.Close())
	}
	return nil
}

// Verify reads everything and compares it with the checksums of its tables, as Open did. It returns store.ErrCorrupt when
// one differs.
func (kv *KV) Verify(ctx context.Context) error {
	err := ctx.Err()
	for try := 0; try < verifyTries && ctx.Err() == nil; try++ {
		// Compaction may delete a table before it is read; the next list is without it.
		if err = verifyTables(kv.disk.dir, nil); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	return err
}

// Volatile implements store.KV.
func (kv *KV) Volatile() bool { return false }

// Lineage implements store.KV.
func (kv *KV) Lineage() uint64 { return kv.mark.lineage }

// Close implements store.KV.
func (kv *KV) Close() error {
	kv.writes.close()
	kv.mu.Lock()
	defer kv.mu.Unlock()
	if kv.closed {
		return nil
	}
	kv.closed = true
	if err := errors.Join(kv.logs.close(), kv.large.finish(), kv.db.Close(), kv.guard.Close()); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}
