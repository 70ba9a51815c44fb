package local

import (
	"context"
	"errors"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"shoal/executor"
	"shoal/internal/fetch"
)

// fetcher puts what is fetched beside where it belongs.
type fetcher struct {
	files  *Files
	client *fetch.Client
}

func newFetcher(f *Files) *fetcher { return &fetcher{files: f, client: fetch.NewClient()} }

// Fetch implements executor.Fetcher.
func (f *fetcher) Fetch(ctx context.Context, r executor.Request, name string, meta executor.Meta) (staged string, err error) {
	err = f.client.Fetch(ctx, r, func(body io.Reader) error {
		staged, err = f.files.stageFrom(body, name)
		return err
	})
	if staged == "" {
		return "", err
	}
	if err == nil {
		err = f.files.SetMeta(staged, meta)
	}
	if err != nil {
		return "", errors.Join(err, f.files.Remove(staged))
	}
	return staged, nil
}

// stageFrom writes a temporary file that nobody else may read. A name without an error is one that is there.
func (f *Files) stageFrom(body io.Reader, name string) (staged string, err error) {
	dirFD, dir, err := f.folder(name)
	if err != nil {
		return "", pathError("fetch", name, err)
	}
	defer unix.Close(dirFD)
	fd := -1
	temporary, err := f.stages.create(func(temporary string) (err error) {
		fd, err = unix.Openat(dirFD, temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return "", pathError("fetch", name, err)
	}
	file := os.NewFile(uintptr(fd), temporary)
	f.dirty.add(dirFD)
	_, err = io.Copy(file, body)
	return path.Join(dir, temporary), pathError("fetch", name, errors.Join(err, file.Close()))
}
