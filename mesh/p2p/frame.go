package p2p

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"shoal/mesh"
)

// A frame on a stream is its length in four bytes, big endian, and its bytes.

// ErrFrameSize is returned for a frame that is empty, or longer than mesh.MaxFrame.
var ErrFrameSize = errors.New("frame out of limits")

func writeFrame(w io.Writer, data []byte) error {
	if len(data) == 0 || len(data) > mesh.MaxFrame {
		return fmt.Errorf("%w: %d bytes", ErrFrameSize, len(data))
	}
	var size [4]byte
	binary.BigEndian.PutUint32(size[:], uint32(len(data)))
	if _, err := w.Write(size[:]); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

// ReadFrame reads what a Lane wrote.
func ReadFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n == 0 || n > mesh.MaxFrame {
		return nil, fmt.Errorf("%w: %d bytes", ErrFrameSize, n)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, err
	}
	return data, nil
}
