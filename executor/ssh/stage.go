package ssh

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"shoal/executor"
	"shoal/internal/staging"
)

// stageName is a name that nobody has: the machine cannot be asked for a free one in the same step.
func (f *Files) stageName() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	return f.tag + hex.EncodeToString(random[:])
}

// Stage writes a temporary file beside name, or in the nearest folder above it that is there.
func (f *Files) Stage(name string, data []byte, meta executor.Meta) (string, error) {
	if len(data) == 0 {
		return f.stageWith(name, nil, meta)
	}
	return f.stageWith(name, bytes.NewReader(data), meta)
}

// StageFrom implements executor.Stager.
func (f *Files) StageFrom(name string, in io.Reader, meta executor.Meta) (string, error) {
	return f.stageWith(name, in, meta)
}

func (f *Files) stageWith(name string, in io.Reader, meta executor.Meta) (string, error) {
	staged, err := f.stageFrom(name, func(real string) error {
		if in != nil {
			if err := f.write(real, in); err != nil {
				return err
			}
		}
		return f.setMeta(real, meta, false)
	})
	if err != nil && staged != "" {
		return "", errors.Join(err, f.Remove(staged))
	}
	return staged, err
}

// stageFrom makes a temporary file that nobody else may read before its owner and mode are set, and has it filled. A name beside
// an error is one of a file that is there.
func (f *Files) stageFrom(name string, fill func(real string) error) (staged string, err error) {
	p, err := f.folder(name)
	if err != nil {
		return "", pathError("stage", name, err)
	}
	f.changed(p)
	staged = path.Join(p.dir, f.stageName())
	if _, err := f.talk.must("umask 077; set -C; : > " + quote(f.real(staged))); err != nil {
		return "", pathError("stage", name, err)
	}
	return staged, pathError("stage", name, fill(f.real(staged)))
}

func (f *Files) write(real string, data io.Reader) error {
	file, err := f.sftp.OpenFile(real, os.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, data)
	return errors.Join(err, file.Close())
}

// setMeta sets owner, mode, xattrs and time in the order in which one does not undo another.
func (f *Files) setMeta(real string, meta executor.Meta, link bool) error {
	p := quote(real)
	script := fmt.Sprintf("set -e; chown -h %d:%d %s\n", meta.UID, meta.GID, p)
	if !link {
		script += fmt.Sprintf("chmod %04o %s\n", bitsOf(meta.Mode), p)
		attrs, err := f.attrScript(real, meta.Xattrs)
		if err != nil {
			return err
		}
		script += attrs
	}
	if !meta.Mtime.IsZero() {
		script += fmt.Sprintf("touch -h -m -d @%d.%09d %s\n", meta.Mtime.Unix(), meta.Mtime.Nanosecond(), p)
	}
	_, err := f.talk.must(script)
	return err
}

var errNoAttrs = errors.New("extended attributes and access control lists need getfattr and setfattr over there (package attr)")

// attrScript makes the extended attributes exactly those of want; nil leaves them.
func (f *Files) attrScript(real string, want map[string][]byte) (string, error) {
	if want == nil || !f.attrs {
		if len(want) > 0 {
			return "", errNoAttrs
		}
		return "", nil
	}
	have, err := f.xattrs(real)
	if err != nil {
		return "", err
	}
	script := ""
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if _, ok := want[name]; !ok {
			script += "setfattr -h -x " + quote(name) + " " + quote(real) + "\n"
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if old, ok := have[name]; !ok || string(old) != string(want[name]) {
			script += "setfattr -h -n " + quote(name) + " -v 0x" + hex.EncodeToString(want[name]) + " " + quote(real) + "\n"
		}
	}
	return script, nil
}

// Xattrs returns the extended attributes of a file or folder; nil when it has none, or is something else, or the machine has no
// tool that tells.
func (f *Files) Xattrs(name string) (map[string][]byte, error) {
	p, err := f.there(name)
	if err != nil {
		return nil, pathError("xattrs", name, err)
	}
	if !f.attrs || !p.stat.Mode.IsRegular() && !p.stat.Mode.IsDir() {
		return nil, nil
	}
	attrs, err := f.xattrs(f.real(p.name))
	return attrs, pathError("xattrs", name, err)
}

func (f *Files) xattrs(real string) (map[string][]byte, error) {
	said, status, err := f.talk.ask("getfattr -h -d -m - -e hex --absolute-names -- " + quote(real))
	if err != nil {
		return nil, err
	}
	if status != 0 {
		if err := toolError(said); !errors.Is(err, syscall.ENOTSUP) {
			return nil, err
		}
		return nil, nil
	}
	return parseXattrs(said)
}

// parseXattrs reads what getfattr prints.
func parseXattrs(said string) (attrs map[string][]byte, err error) {
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, _ := strings.Cut(line, "=")
		data, err := hex.DecodeString(strings.TrimPrefix(value, "0x"))
		if err != nil {
			return nil, fmt.Errorf("getfattr says %.200q", line)
		}
		if attrs == nil {
			attrs = map[string][]byte{}
		}
		attrs[unescape(name)] = data
	}
	return attrs, nil
}

// unescape takes the \ooo out of a name, as getfattr(1) writes what is not plain.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Unstage sweeps the folders where Stage would put the files of these paths.
func (f *Files) Unstage(paths []string) error {
	return staging.Sweeper{
		Folder: func(name string) (string, error) {
			p, err := f.folder(name)
			return p.dir, err
		},
		ReadDir: f.ReadDir, Remove: f.Remove, Ours: staging.HasTag(f.tag),
	}.Sweep(paths)
}
