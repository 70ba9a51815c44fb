package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
	_ "github.com/PlakarKorp/go-cdc-chunkers/chunkers/fastcdc" // the chunker's one algorithm that is used here
)

// Sizes of the chunks of a file that is larger than MaxObject, in bytes. They decide only how much an edit moves: whoever
// reads takes the list of chunks as it is.
const (
	minChunk     = 64 << 10
	averageChunk = 128 << 10
)

// splitter cuts streams one after another with one buffer.
type splitter struct{ head, scan []byte }

func newSplitter() *splitter {
	return &splitter{head: make([]byte, MaxObject+1)}
}

// Split cuts what r holds into pieces of at most MaxObject bytes and hands each to emit, which must not keep it. What fits
// into one object stays whole; the rest is cut by its contents with FastCDC (Xia et al., USENIX ATC 2016), so that an edit
// changes only the pieces that it touches. Memory does not grow with the stream.
func Split(r io.Reader, emit func(piece []byte) error) error { return newSplitter().split(r, emit) }

func (s *splitter) split(r io.Reader, emit func(piece []byte) error) error {
	n, err := fill(r, s.head)
	if err != nil || n == 0 {
		return err
	}
	if n < len(s.head) {
		return emit(s.head[:n])
	}
	return s.cut(io.MultiReader(bytes.NewReader(s.head), r), emit)
}

func (s *splitter) cut(r io.Reader, emit func(piece []byte) error) error {
	if s.scan == nil {
		s.scan = make([]byte, 2*MaxObject)
	}
	chunker, err := chunkers.NewChunkerBuffer("fastcdc-v1.0.0", r, &chunkers.ChunkerOpts{
		MinSize: minChunk, NormalSize: averageChunk, MaxSize: MaxObject,
	}, s.scan)
	if err != nil {
		return fmt.Errorf("split: %w", err)
	}
	for {
		piece, err := chunker.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(piece) > 0 {
			if err := emit(piece); err != nil {
				return err
			}
		}
		if err != nil {
			return nil // the end
		}
	}
}

// fill reads until buf is full or r ends. It is not io.ReadFull, which cannot tell a stream that ended from one that was
// cut off.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) {
		got, err := r.Read(buf[n:])
		n += got
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
