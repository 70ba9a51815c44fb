// Package datafile is the form of what a run keeps in its data folder, which is the same whoever writes there: the machine
// itself, or another over a connection.
package datafile

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strings"
)

// The names in a data folder.
const (
	Journal = "journal" // frames, appended to
	Ledger  = "ledger"  // one frame, replaced as a whole
	Undo    = "undo"    // a folder of old contents, each named by the hex of its sha256
	Lock    = "lock"    // held with flock(2) by who works on the machine
	Tools   = "tools"   // the same, by each tool of a package manager that was started for that
)

// A frame is length, CRC-32C and payload. One that is short or wrong ends a journal: a crash cut it off before its append
// returned, so nothing was done on its strength.
const (
	// FrameHead is how many bytes stand before the payload.
	FrameHead = 8
	// MaxFrame is the most bytes of one payload.
	MaxFrame = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendFrame appends a payload's frame to buf.
func AppendFrame(buf, payload []byte) []byte { return append(appendHead(buf, payload), payload...) }

// Head is what stands before a payload.
func Head(payload []byte) []byte { return appendHead(nil, payload) }

func appendHead(buf, payload []byte) []byte {
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(payload)))
	return binary.LittleEndian.AppendUint32(buf, crc32.Checksum(payload, castagnoli))
}

// Frames returns the payloads of data, and how many bytes of it they take.
func Frames(data []byte) (frames [][]byte, valid int) {
	for len(data)-valid >= FrameHead {
		head := data[valid:]
		n := binary.LittleEndian.Uint32(head)
		if n > MaxFrame || int(n) > len(head)-FrameHead || n == 0 {
			break
		}
		payload := head[FrameHead : FrameHead+int(n)]
		if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
			break
		}
		frames = append(frames, payload)
		valid += FrameHead + int(n)
	}
	return frames, valid
}

// writeSize is about how many bytes of frames are written at a time.
const writeSize = 256 << 10

// WriteFrames writes the frames of some records. A record over MaxFrame is an error, and then nothing is written.
func WriteFrames(w io.Writer, records [][]byte) error {
	for _, r := range records {
		if len(r) > MaxFrame {
			return fmt.Errorf("record of %d bytes is over the limit of %d", len(r), MaxFrame)
		}
	}
	var buf []byte
	for i, r := range records {
		if buf = AppendFrame(buf, r); len(buf) < writeSize && i < len(records)-1 {
			continue
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
		buf = buf[:0]
	}
	return nil
}

// RecordsOf are those of a journal as it was read, up to where a crash cut it off; one that is not there has none.
func RecordsOf(data []byte, err error) ([][]byte, error) {
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	frames, _ := Frames(data)
	return frames, err
}

// LedgerOf opens the frame of a ledger as it was read; nil when it is not there.
func LedgerOf(name string, data []byte, err error) ([]byte, error) {
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	frames, valid := Frames(data)
	if len(frames) != 1 || valid != len(data) {
		return nil, fmt.Errorf("%s: the ledger is damaged", name)
	}
	return frames[0], nil
}

// KeptOf checks an old content as it was read against the hash that names it.
func KeptOf(hash string, data []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if HashOf(data) != hash {
		return nil, fmt.Errorf("kept contents %s are damaged", hash)
	}
	return data, nil
}

// HashOf names contents ("sha256:…").
func HashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// UndoName is the name of an old content in its folder.
func UndoName(hash string) (string, error) {
	sum, ok := strings.CutPrefix(hash, "sha256:")
	if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != sha256.Size {
		return "", fmt.Errorf("%q is no hash", hash)
	}
	return sum, nil
}
