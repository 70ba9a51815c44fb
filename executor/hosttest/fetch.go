package hosttest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path"
	"slices"
	"testing"
	"time"

	"shoal/executor"
)

// FetchFixture is an empty machine, and a way to put something where it can be fetched.
type FetchFixture struct {
	Host    executor.Host
	Publish func(name string, data []byte) (url string)
}

// FetchSuite is the conformance suite of executor.Fetcher.
func FetchSuite(t *testing.T, open func(t *testing.T) FetchFixture) {
	for name, test := range map[string]func(*testing.T, FetchFixture){"fetched": fetched, "refused": fetchRefused} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func request(url string, data string) executor.Request {
	sum := sha256.Sum256([]byte(data))
	return executor.Request{URL: url, Hash: "sha256:" + hex.EncodeToString(sum[:]), Limit: 100}
}

func fetched(t *testing.T, f FetchFixture) {
	url := f.Publish("x", []byte("text"))
	m := executor.Meta{Mode: 0o640, UID: 5, GID: 6, Mtime: time.Unix(1, 2), Xattrs: map[string][]byte{"user.a": []byte("1")}}
	staged, err := f.Host.Fetch(t.Context(), request(url, "text"), "/a/f", m)
	must(t, err)
	if path.Dir(staged) != "/" {
		t.Fatalf("staged at %s", staged)
	}
	must(t, f.Host.Mkdir("/a", executor.Meta{Mode: 0o755}))
	must(t, f.Host.Rename(staged, "/a/f"))
	holds(t, f.Host, "/a/f", "text")
	if st := lstat(t, f.Host, "/a/f"); st.Mode != 0o640 || st.UID != 5 || st.GID != 6 || st.Mtime != m.Mtime.UnixNano() {
		t.Fatalf("stat %+v", st)
	}
	// What was staged and not moved is swept as any other.
	_, err = f.Host.Fetch(t.Context(), request(url, "text"), "/g", executor.Meta{Mode: 0o644})
	must(t, err)
	must(t, f.Host.Unstage([]string{"/g"}))
	if all := names(t, f.Host, "/"); !slices.Equal(all, []string{"a"}) {
		t.Fatalf("left over: %v", all)
	}
}

func fetchRefused(t *testing.T, f FetchFixture) {
	url := f.Publish("x", []byte("text"))
	small := request(url, "text")
	small.Limit = 3
	for name, r := range map[string]executor.Request{
		"nothing there": request(url+"-none", "text"), "other bytes": request(url, "other"), "too long": small, "no scheme": request("x", "text"),
	} {
		if _, err := f.Host.Fetch(t.Context(), r, "/f", executor.Meta{Mode: 0o644}); !errors.Is(err, executor.ErrFetch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.Host.Fetch(t.Context(), request(url, "text"), "relative", executor.Meta{}); err == nil || errors.Is(err, executor.ErrFetch) {
		t.Errorf("a bad path: %v", err)
	}
	if all := names(t, f.Host, "/"); len(all) != 0 {
		t.Errorf("left over: %v", all)
	}
}
