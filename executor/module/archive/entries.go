package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Limits of an archive, whoever made it.
const (
	maxArchive = 256 << 20 // bytes of the archive
	maxFile    = 256 << 20 // bytes of one file in it
	maxTotal   = 2 << 30   // bytes of all files in it
	maxEntries = 100_000
	maxDepth   = 64
	maxPath    = 4096
	maxWindow  = 128 << 20 // memory of a decompressor
)

// entry is one thing in an archive. Its path is clean, relative, and leads through no symlink of the archive.
type entry struct {
	path   string
	mode   fs.FileMode // type: folder, regular or symlink; and permissions
	mtime  time.Time
	target string // of a symlink; of a hard link the path of the file, which came before
	hard   bool
	open   func() (io.Reader, error)
}

// read goes through an archive of any form that is known by its first bytes. visit sees each entry once, in the archive's
// order.
func read(data []byte, strip int, visit func(entry) error) error {
	g := &guard{strip: strip, visit: visit, links: map[string]bool{}, files: map[string]bool{}}
	if bytes.HasPrefix(data, []byte("PK\x03\x04")) || bytes.HasPrefix(data, []byte("PK\x05\x06")) {
		return g.zip(data)
	}
	plain, err := decompress(data)
	if err != nil {
		return err
	}
	return g.tar(&capped{r: plain, left: maxTotal + (maxEntries << 10)})
}

// decompress looks at the first bytes.
func decompress(data []byte) (io.Reader, error) {
	in := bytes.NewReader(data)
	switch {
	case bytes.HasPrefix(data, []byte{0x1f, 0x8b}):
		return gzip.NewReader(in)
	case bytes.HasPrefix(data, []byte("BZh")):
		return bzip2.NewReader(in), nil
	case bytes.HasPrefix(data, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		if err := checkDictionary(data); err != nil {
			return nil, err
		}
		return xz.NewReader(in)
	case bytes.HasPrefix(data, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case len(data) > 262 && string(data[257:262]) == "ustar":
		return in, nil
	}
	return nil, errors.New("it is none of tar, tar.gz, tar.bz2, tar.xz, tar.zst and zip")
}

// checkDictionary looks at the first block's LZMA2 filter (the .xz file format, section 5.3.1): a dictionary is allocated as
// a whole, and may have 4 GiB.
func checkDictionary(data []byte) error {
	const blockFlags = 13 // after the stream header and the size of the block header
	at := blockFlags + 1
	if len(data) <= at {
		return nil // the reader says what is missing
	}
	for _, sized := range []byte{0x40, 0x80} { // optional sizes, as integers of variable length
		if data[blockFlags]&sized == 0 {
			continue
		}
		for at < len(data) && data[at]&0x80 != 0 {
			at++
		}
		at++
	}
	if at+2 < len(data) && data[at] == 0x21 && data[at+2] > 30 { // 2^27 bytes
		return fmt.Errorf("its dictionary has more than %d MiB", maxWindow>>20)
	}
	return nil
}

// capped ends a stream that goes on and on.
type capped struct {
	r    io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("it unpacks to more than %d MiB", int64(maxTotal)>>20)
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// guard checks each entry before anybody sees it.
type guard struct {
	strip   int
	visit   func(entry) error
	links   map[string]bool // symlinks that came
	files   map[string]bool
	entries int
	total   int64
}

func (g *guard) tar(r io.Reader) error {
	t := tar.NewReader(r)
	for {
		head, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("tar: %w", err)
		}
		e := entry{mode: fs.FileMode(head.Mode) & fs.ModePerm, mtime: head.ModTime, open: func() (io.Reader, error) { return t, nil }}
		switch head.Typeflag {
		case tar.TypeReg, '\x00':
		case tar.TypeDir:
			e.mode |= fs.ModeDir
		case tar.TypeSymlink:
			e.mode |= fs.ModeSymlink
			e.target = head.Linkname
		case tar.TypeLink:
			e.hard, e.target = true, head.Linkname
		case tar.TypeXGlobalHeader:
			continue
		default:
			return fmt.Errorf("%q is neither a file, a folder nor a link", head.Name)
		}
		if err := g.pass(head.Name, head.Size, e); err != nil {
			return err
		}
	}
}

func (g *guard) zip(data []byte) error {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return fmt.Errorf("zip: %w", err)
	}
	for _, f := range z.File {
		e := entry{mode: f.Mode().Perm() | f.Mode().Type(), mtime: f.Modified, open: func() (io.Reader, error) { return f.Open() }}
		size := int64(min(f.UncompressedSize64, 1<<62))
		switch {
		case f.Mode().IsRegular(), f.Mode().IsDir():
		case f.Mode()&fs.ModeSymlink != 0:
			if e.target, err = linkText(f, size); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%q is neither a file, a folder nor a link", f.Name)
		}
		if err := g.pass(f.Name, size, e); err != nil {
			return err
		}
	}
	return nil
}

// linkText is what a symlink of a zip file holds.
func linkText(f *zip.File, size int64) (string, error) {
	if size > maxPath {
		return "", fmt.Errorf("the symlink %q is too long", f.Name)
	}
	r, err := f.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxPath))
	return string(text), err
}

// pass counts an entry, checks where it leads, and shows it.
func (g *guard) pass(name string, size int64, e entry) error {
	if g.entries++; g.entries > maxEntries {
		return fmt.Errorf("it holds more than %d entries", maxEntries)
	}
	if e.mode.IsRegular() && !e.hard {
		if size > maxFile || size < 0 {
			return fmt.Errorf("%q has more than %d MiB", name, maxFile>>20)
		}
		if g.total += size; g.total > maxTotal {
			return fmt.Errorf("it unpacks to more than %d MiB", int64(maxTotal)>>20)
		}
	}
	rel, err := g.place(name)
	if err != nil || rel == "" {
		return err
	}
	e.path = rel
	switch {
	case e.hard:
		if e.target, err = g.place(e.target); err != nil {
			return err
		}
		if !g.files[e.target] {
			return fmt.Errorf("%q is a hard link to %q, which is no file before it", name, e.target)
		}
		g.files[rel] = true
	case e.mode&fs.ModeSymlink != 0:
		if err := inside(rel, e.target); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		g.links[rel] = true
		delete(g.files, rel)
	case e.mode.IsRegular():
		g.files[rel] = true
		delete(g.links, rel)
	case g.links[rel]:
		return fmt.Errorf("%q is a folder and a symlink", name)
	}
	return g.visit(e)
}

// place is the path of an entry after strip; empty: it is stripped away.
func (g *guard) place(name string) (string, error) {
	if path.IsAbs(name) || strings.ContainsAny(name, "\\\x00") || len(name) > maxPath {
		return "", fmt.Errorf("the path %q leaves the folder", name)
	}
	var parts []string
	for _, part := range strings.Split(name, "/") {
		switch part {
		case "", ".":
		case "..":
			return "", fmt.Errorf("the path %q leaves the folder", name)
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) > maxDepth {
		return "", fmt.Errorf("the path %q is deeper than %d folders", name, maxDepth)
	}
	if len(parts) <= g.strip {
		return "", nil
	}
	parts = parts[g.strip:]
	for n := 1; n < len(parts); n++ {
		if g.links[strings.Join(parts[:n], "/")] {
			return "", fmt.Errorf("the path %q leads through a symlink", name)
		}
	}
	return strings.Join(parts, "/"), nil
}

// inside refuses a symlink that leads out of the folder. What it leads through may be a symlink too, but each of those leads
// to a place inside, and none may be followed by "..".
func inside(rel, target string) error {
	if target == "" || path.IsAbs(target) || strings.ContainsRune(target, 0) || len(target) > maxPath {
		return fmt.Errorf("the symlink to %q leaves the folder", target)
	}
	depth, down := strings.Count(rel, "/"), false
	for _, part := range strings.Split(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 || down {
				return fmt.Errorf("the symlink to %q leaves the folder", target)
			}
		default:
			down = true
		}
	}
	return nil
}
