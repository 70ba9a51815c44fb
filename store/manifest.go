package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"shoal/internal/codec"
)

// Limits of a tree, so that a publisher's mistake cannot fill the machines that pull it.
const (
	MaxEntries  = 100_000  // files, and as many folders
	MaxFile     = 1 << 30  // bytes
	MaxPath     = 1024     // bytes
	MaxManifest = 32 << 20 // bytes, encoded
	// The two modes of a file, as a version control system keeps them: whoever writes the file on a machine chooses owner
	// and mode there, and the umask of an operator must not make a new revision.
	ModeFile       fs.FileMode = 0o644
	ModeExecutable fs.FileMode = 0o755
)

// ErrManifest is returned for bytes that are not a manifest, or one outside the limits.
var ErrManifest = errors.New("bad manifest")

// Getter returns the bytes of an object, or ErrNotFound. It may be any holder's: whoever asks verifies the hash.
type Getter func(ctx context.Context, hash Hash) ([]byte, error)

// Manifest is a tree of files: its entries sorted by path. Folders are there by the files in them.
type Manifest struct {
	Entries []Entry
	// Cut is how its large files were cut: CutFastCDC, or the number of a way that a later version knows. Readers take any, since
	// they go by the list; it tells a publisher whether what it cuts can share chunks with what is there.
	Cut uint8
}

// CutFastCDC is FastCDC as Split has it, with its sizes. Other sizes or another algorithm get another number.
const CutFastCDC = 0

// Entry is one file.
type Entry struct {
	Path   string      `cbor:"1,keyasint"`           // as fs.ValidPath has it: slashes, relative, clean
	Mode   fs.FileMode `cbor:"2,keyasint"`           // ModeFile or ModeExecutable
	Size   int64       `cbor:"3,keyasint"`           // bytes
	Chunks []Chunk     `cbor:"4,keyasint,omitempty"` // in order; none for an empty file
}

// Chunk names an object that is a part of something larger, with its length in bytes.
type Chunk struct {
	_    struct{} `cbor:",toarray"`
	Hash Hash
	Size int64
}

// manifestObject is a manifest as an object: either the entries, or, when those are larger than an object, the list of
// the pieces that their encoding was cut into. Each piece then is an object, and the pieces joined are the encoding of a
// manifestObject with entries.
type manifestObject struct {
	Entries []Entry `cbor:"1,keyasint,omitempty"`
	Pieces  []Chunk `cbor:"2,keyasint,omitempty"`
	Cut     uint8   `cbor:"3,keyasint,omitempty"` // with Entries
}

// Encode hands the objects of the manifest to emit, which must not keep the bytes, and returns the hash of the one to
// begin with: the manifest's name.
func (m Manifest) Encode(emit func(object []byte) error) (Hash, error) {
	if err := m.Check(); err != nil {
		return Hash{}, err
	}
	data, err := codec.Marshal(manifestObject{Entries: m.Entries, Cut: m.Cut})
	if err != nil {
		return Hash{}, err
	}
	if len(data) <= MaxObject {
		return HashOf(data), emit(data)
	}
	if len(data) > MaxManifest {
		return Hash{}, fmt.Errorf("%w: %d bytes, more than %d", ErrManifest, len(data), MaxManifest)
	}
	var index manifestObject
	if index.Pieces, _, err = emitPieces(newSplitter(), data, emit); err != nil {
		return Hash{}, err
	}
	if data, err = codec.Marshal(index); err != nil {
		return Hash{}, err
	}
	return HashOf(data), emit(data)
}

// Pieces returns what else must be fetched before the manifest in root can be read: nothing when it is one object.
func Pieces(root []byte) ([]Chunk, error) {
	object, err := decodeRoot(root)
	return object.Pieces, err
}

// OpenManifest fetches and checks the manifest of the given name.
func OpenManifest(ctx context.Context, name Hash, get Getter) (Manifest, error) {
	root, err := getVerified(ctx, name, get)
	if err != nil {
		return Manifest{}, fmt.Errorf("manifest: %w", err)
	}
	object, err := decodeRoot(root)
	if err != nil {
		return Manifest{}, err
	}
	if len(object.Pieces) > 0 {
		if object, err = joinPieces(ctx, object.Pieces, get); err != nil {
			return Manifest{}, err
		}
	}
	m := Manifest{Entries: object.Entries, Cut: object.Cut}
	return m, m.Check()
}

func joinPieces(ctx context.Context, pieces []Chunk, get Getter) (object manifestObject, err error) {
	var data []byte
	for _, p := range pieces {
		piece, err := getChunk(ctx, p, get)
		if err != nil {
			return object, fmt.Errorf("manifest: %w", err)
		}
		data = append(data, piece...)
	}
	if object, err = decodeStrict(data); err == nil && len(object.Pieces) > 0 {
		err = fmt.Errorf("%w: pieces of pieces", ErrManifest)
	}
	return object, err
}

// decodeStrict refuses bytes that Encode would not have written, so that one tree has one name.
func decodeStrict(data []byte) (object manifestObject, err error) {
	if err := codec.Unmarshal(data, &object); err != nil {
		return object, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	again, err := codec.Marshal(object)
	if err != nil {
		return object, err
	}
	if !bytes.Equal(again, data) {
		return object, fmt.Errorf("%w: not in its canonical form", ErrManifest)
	}
	return object, nil
}

func decodeRoot(root []byte) (object manifestObject, err error) {
	if len(root) > MaxObject {
		return object, fmt.Errorf("%w: an object of %d bytes", ErrManifest, len(root))
	}
	if object, err = decodeStrict(root); err != nil {
		return object, err
	}
	if len(object.Pieces) > 0 && (len(object.Entries) > 0 || object.Cut != 0) {
		return object, fmt.Errorf("%w: both entries and pieces", ErrManifest)
	}
	var total int64
	for _, p := range object.Pieces {
		if err := p.check(); err != nil {
			return object, err
		}
		if total += p.Size; total > MaxManifest {
			return object, fmt.Errorf("%w: more than %d bytes", ErrManifest, MaxManifest)
		}
	}
	return object, nil
}

// Check says what is wrong with a manifest: what a peer sent is used only after that.
func (m Manifest) Check() error {
	if len(m.Entries) > MaxEntries {
		return fmt.Errorf("%w: %d files, more than %d", ErrManifest, len(m.Entries), MaxEntries)
	}
	files := make(map[string]bool, len(m.Entries))
	for i, e := range m.Entries {
		if err := e.check(); err != nil {
			return err
		}
		if i > 0 && m.Entries[i-1].Path >= e.Path {
			return fmt.Errorf("%w: %q is not sorted or twice there", ErrManifest, e.Path)
		}
		files[e.Path] = true
	}
	return m.checkFolders(files)
}

func (m Manifest) checkFolders(files map[string]bool) error {
	folders := map[string]bool{".": true}
	for _, e := range m.Entries {
		for dir := path.Dir(e.Path); !folders[dir]; dir = path.Dir(dir) {
			if files[dir] {
				return fmt.Errorf("%w: %q is a file and a folder", ErrManifest, dir)
			}
			folders[dir] = true
		}
		if len(folders) > MaxEntries {
			return fmt.Errorf("%w: more than %d folders", ErrManifest, MaxEntries)
		}
	}
	return nil
}

func (e Entry) check() error {
	if err := checkPath(e.Path); err != nil {
		return err
	}
	if e.Mode != ModeFile && e.Mode != ModeExecutable {
		return fmt.Errorf("%w: mode %o of %q", ErrManifest, uint32(e.Mode), e.Path)
	}
	var total int64
	for _, c := range e.Chunks {
		if err := c.check(); err != nil {
			return fmt.Errorf("%w in %q", err, e.Path)
		}
		if total += c.Size; total > MaxFile {
			return fmt.Errorf("%w: %q is larger than %d bytes", ErrManifest, e.Path, MaxFile)
		}
	}
	if total != e.Size {
		return fmt.Errorf("%w: the chunks of %q have %d of its %d bytes", ErrManifest, e.Path, total, e.Size)
	}
	return nil
}

// checkPath refuses what could leave the tree, and what could not be shown on a terminal as it is.
func checkPath(name string) error {
	bad := !fs.ValidPath(name) || name == "." || len(name) > MaxPath
	bad = bad || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' })
	if bad {
		return fmt.Errorf("%w: path %.80q", ErrManifest, name)
	}
	return nil
}

func (c Chunk) check() error {
	if c.Size <= 0 || c.Size > MaxObject {
		return fmt.Errorf("%w: a chunk of %d bytes", ErrManifest, c.Size)
	}
	return nil
}

// Needed returns the hashes of all objects that the files are made of, sorted, each once. Those of the manifest itself
// are not among them.
func (m Manifest) Needed() []Hash {
	var all []Hash
	for _, e := range m.Entries {
		for _, c := range e.Chunks {
			all = append(all, c.Hash)
		}
	}
	slices.SortFunc(all, func(a, b Hash) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(all)
}

// Size is the sum of the sizes of all files in bytes.
func (m Manifest) Size() (total int64) {
	for _, e := range m.Entries {
		total += e.Size
	}
	return total
}

// getVerified never returns bytes that do not have the hash they were asked for by.
func getVerified(ctx context.Context, hash Hash, get Getter) ([]byte, error) {
	data, err := get(ctx, hash)
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", hash.Short(), err)
	}
	if HashOf(data) != hash {
		return nil, fmt.Errorf("object %s: %w", hash.Short(), ErrCorrupt)
	}
	return data, nil
}

func getChunk(ctx context.Context, c Chunk, get Getter) ([]byte, error) {
	data, err := getVerified(ctx, c.Hash, get)
	if err == nil && int64(len(data)) != c.Size {
		return nil, fmt.Errorf("%w: object %s has %d bytes, not %d", ErrManifest, c.Hash.Short(), len(data), c.Size)
	}
	return data, err
}
