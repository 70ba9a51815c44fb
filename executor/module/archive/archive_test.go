package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/archive"
	"shoal/executor/moduletest"
	"shoal/internal/hostfile"
	"shoal/internal/testhost"
)

// TestMain: every function of the package has a conformance suite.
func TestMain(m *testing.M) { moduletest.Main(m, archive.Modules()) }

var stamp = time.Unix(1_500_000_000, 0)

// app is what the archives of these tests hold.
var app = []tar.Header{
	{Name: "app-1.0/", Typeflag: tar.TypeDir, Mode: 0o755},
	{Name: "app-1.0/bin/", Typeflag: tar.TypeDir, Mode: 0o700},
	{Name: "app-1.0/bin/run", Mode: 0o4755, Linkname: "run it"},
	{Name: "app-1.0/bin/again", Typeflag: tar.TypeLink, Linkname: "app-1.0/bin/run"},
	{Name: "./app-1.0/lib/deep/x.txt", Mode: 0o640, Linkname: "text"},
	{Name: "app-1.0/current", Typeflag: tar.TypeSymlink, Linkname: "lib/deep"},
	{Name: "app-1.0/lib/up", Typeflag: tar.TypeSymlink, Linkname: "../bin/run"},
}

// tarOf writes an archive; of a file, Linkname is the text.
func tarOf(t testing.TB, heads ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, head := range heads {
		text := ""
		if head.Typeflag == 0 || head.Typeflag == tar.TypeReg {
			head.Typeflag, text, head.Linkname = tar.TypeReg, head.Linkname, ""
			head.Size = int64(len(text))
		}
		head.ModTime = stamp
		err := w.WriteHeader(&head)
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipOf(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range []struct {
		name, text string
		mode       fs.FileMode
	}{{"app-1.0/bin/run", "run it", 0o755}, {"app-1.0/current", "bin", 0o777 | fs.ModeSymlink}, {"app-1.0/empty/", "", 0o755 | fs.ModeDir}} {
		head := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: stamp}
		head.SetMode(f.mode)
		w, err := z.CreateHeader(head)
		if err == nil {
			_, err = io.WriteString(w, f.text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func packed(t testing.TB, data []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := open(&b)
	if err == nil {
		if _, err = w.Write(data); err == nil {
			err = w.Close()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }

func apply(p executor.Params, texts moduletest.Texts) func(*testing.T, executor.Host) {
	return func(t *testing.T, h executor.Host) {
		t.Helper()
		if _, err := (archive.Extracted{}).Apply(t.Context(), h, texts, p); err != nil {
			t.Fatal(err)
		}
	}
}

func TestExtracted(t *testing.T) {
	type p = executor.Params
	texts := moduletest.Texts{}
	first, second := texts.Text(string(tarOf(t, app...))), texts.Text(string(packed(t, tarOf(t, app[:3]...), gzipped)))
	one := p{"path": "/srv/app", "contents": first, "strip_components": int64(1)}
	two := p{"path": "/srv/app", "contents": second, "owner": "5", "group": "6"}
	for name, host := range testhost.Both() {
		t.Run(name, func(t *testing.T) {
			cases := []moduletest.Case{
				{Name: "new", Params: one}, {Name: "next version", Params: two, Setup: apply(one, texts)},
				{Name: "back", Params: one, Setup: func(t *testing.T, h executor.Host) { apply(one, texts)(t, h); apply(two, texts)(t, h) }},
				{Name: "other symlink", Params: two, Setup: func(t *testing.T, h executor.Host) {
					if err := h.Mkdir("/srv", executor.Meta{Mode: 0o755}); err != nil {
						t.Fatal(err)
					}
					if err := h.Symlink("/opt/app", "/srv/app"); err != nil {
						t.Fatal(err)
					}
				}},
				{Name: "there", Params: one, Setup: apply(one, texts), Matches: true},
				{Name: "broken", Params: p{"path": "/srv/app", "contents": texts.Text(string(tarOf(t, app...)[:3000]))}, Fails: true},
			}
			for i := range cases {
				cases[i].Contents = texts
			}
			moduletest.Run(t, moduletest.Suite{Module: archive.Extracted{}, Host: host, Snapshot: moduletest.Files, Cases: cases})
		})
	}
}

// TestForms: every form gives the same files.
func TestForms(t *testing.T) {
	plain := tarOf(t, app...)
	for name, data := range map[string][]byte{
		"tar": plain, "gzip": packed(t, plain, gzipped),
		"xz":   packed(t, plain, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }),
		"zstd": packed(t, plain, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }),
	} {
		for kind, host := range testhost.Both() {
			t.Run(name+" "+kind, func(t *testing.T) {
				h, texts := host(t), moduletest.Texts{}
				p := executor.Params{"path": "/app", "contents": texts.Text(string(data)), "strip_components": int64(1)}
				out, err := archive.Extracted{}.Apply(t.Context(), h, texts, p)
				if err != nil {
					t.Fatal(err)
				}
				folder := out["folder"].(string)
				for name, want := range map[string]string{
					"bin/run": "-rwxr-xr-x run it", "bin/again": "-rwxr-xr-x run it", "lib/deep/x.txt": "-rw-r----- text",
				} {
					st, err := h.Lstat(folder + "/" + name)
					if err != nil {
						t.Fatal(err)
					}
					text, _ := h.ReadFile(folder + "/" + name)
					if got := fmt.Sprintf("%v %s", st.Mode, text); got != want || st.Mtime != stamp.UnixNano() {
						t.Errorf("%s: %s, wanted %s", name, got, want)
					}
				}
				if st, err := h.Lstat(folder + "/bin"); err != nil || st.Mode.Perm() != 0o700 {
					t.Errorf("bin: %v, %v", st.Mode, err)
				}
				if target, err := h.Readlink(folder + "/current"); err != nil || target != "lib/deep" {
					t.Errorf("current: %s, %v", target, err)
				}
				if text, err := h.ReadFile("/app/bin/run"); err != nil || string(text) != "run it" {
					t.Errorf("through the symlink: %s, %v", text, err)
				}
			})
		}
	}
}

func TestZip(t *testing.T) {
	h, texts := fake.New(), moduletest.Texts{}
	p := executor.Params{"path": "/app", "contents": texts.Text(string(zipOf(t)))}
	apply(p, texts)(t, h)
	if text, err := h.ReadFile("/app/app-1.0/bin/run"); err != nil || string(text) != "run it" {
		t.Errorf("%q, %v", text, err)
	}
	if target, err := h.Readlink("/app/app-1.0/current"); err != nil || target != "bin" {
		t.Errorf("%s, %v", target, err)
	}
}

// bzipped is a tar file with one file, x. The standard library has no writer of that form.
const bzipped = "QlpoOTFBWSZTWdQB658AAHD7gMmAAAFAAG0AAADiAB5ACAggAFRGoAAB6QRRQPU0AB97RKIeXoiW72oi1YoJAQayMwJxKNzqs8uhEXTh2VJWgARPi7kinChIagD1z4A="

func TestBzip2(t *testing.T) {
	data, err := base64.StdEncoding.DecodeString(bzipped)
	if err != nil {
		t.Fatal(err)
	}
	h, texts := fake.New(), moduletest.Texts{}
	apply(executor.Params{"path": "/app", "contents": texts.Text(string(data))}, texts)(t, h)
	if text, err := h.ReadFile("/app/x"); err != nil || string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestFromAndURL(t *testing.T) {
	data := packed(t, tarOf(t, app...), gzipped)
	hash := strings.TrimPrefix(hostfile.HashOf(data), "sha256:")
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked++; w.Write(data) }))
	t.Cleanup(server.Close)
	h := testhost.Both()["local"](t)
	p := executor.Params{"path": "/app", "url": server.URL, "sha256": hash}
	staged, err := archive.Extracted{}.Prepare(t.Context(), h, nil, p)
	if err == nil {
		_, err = archive.Extracted{}.ApplyStaged(t.Context(), h, nil, p, staged)
	}
	if err != nil || asked != 1 {
		t.Fatalf("%v, fetched %d times", err, asked)
	}
	if change, err := (archive.Extracted{}).Check(t.Context(), h, nil, p); err != nil || change.Needed {
		t.Errorf("%+v, %v", change, err)
	}
	if names, _ := h.ReadDir("/"); strings.Join(names, " ") != "app app.versions" {
		t.Errorf("left %v", names)
	}
	if _, err := h.Stage("/a.tgz", data, executor.Meta{Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	staged, _ = h.Stage("/a.tgz", data, executor.Meta{Mode: 0o600})
	if err := h.Rename(staged, "/a.tgz"); err != nil {
		t.Fatal(err)
	}
	p = executor.Params{"path": "/b", "from": "/a.tgz", "sha256": hash}
	apply(p, nil)(t, h)
	if _, err := h.Lstat("/b/app-1.0/bin/run"); err != nil {
		t.Error(err)
	}
	p["sha256"] = strings.Repeat("0", 64)
	if _, err := (archive.Extracted{}).Check(t.Context(), h, nil, p); err == nil || !strings.Contains(err.Error(), "has the hash") {
		t.Errorf("another hash: %v", err)
	}
}

// TestHostile: what leads out of the folder or has no end is refused, and nothing of it is left.
func TestHostile(t *testing.T) {
	many := make([]tar.Header, 100_001)
	for i := range many {
		many[i] = tar.Header{Name: fmt.Sprintf("d/%d/", i), Typeflag: tar.TypeDir, Mode: 0o755}
	}
	for name, c := range map[string]struct {
		want  string
		heads []tar.Header
	}{
		"absolute":              {"leaves the folder", []tar.Header{{Name: "/etc/passwd", Linkname: "x"}}},
		"up":                    {"leaves the folder", []tar.Header{{Name: "a/../../x", Linkname: "x"}}},
		"backslash":             {"leaves the folder", []tar.Header{{Name: `a\..\x`, Linkname: "x"}}},
		"symlink out":           {"leaves the folder", []tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../x"}}},
		"symlink absolute":      {"leaves the folder", []tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}}},
		"symlink down and up":   {"leaves the folder", []tar.Header{{Name: "a/b/l", Typeflag: tar.TypeSymlink, Linkname: "x/../../y"}}},
		"through a symlink":     {"leads through a symlink", []tar.Header{{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "l", Typeflag: tar.TypeSymlink, Linkname: "d"}, {Name: "l/x", Linkname: "x"}}},
		"hard link out":         {"leaves the folder", []tar.Header{{Name: "h", Typeflag: tar.TypeLink, Linkname: "../../etc/shadow"}}},
		"hard link to nothing":  {"no file before it", []tar.Header{{Name: "h", Typeflag: tar.TypeLink, Linkname: "x"}}},
		"hard link to a link":   {"no file before it", []tar.Header{{Name: "x", Linkname: "t"}, {Name: "x", Typeflag: tar.TypeSymlink, Linkname: "y"}, {Name: "h", Typeflag: tar.TypeLink, Linkname: "x"}}},
		"device":                {"neither a file", []tar.Header{{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}},
		"deep":                  {"deeper than", []tar.Header{{Name: strings.Repeat("d/", 65) + "x", Linkname: "x"}}},
		"many":                  {"more than 100000 entries", many},
		"a file, then a folder": {"", []tar.Header{{Name: "a", Linkname: "x"}, {Name: "a/b", Linkname: "x"}}},
		"a folder, then a link": {"", []tar.Header{{Name: "a/b", Linkname: "x"}, {Name: "a", Typeflag: tar.TypeSymlink, Linkname: "c"}}},
	} {
		t.Run(name, func(t *testing.T) {
			h, texts := fake.New(), moduletest.Texts{}
			p := executor.Params{"path": "/app", "contents": texts.Text(string(tarOf(t, c.heads...)))}
			_, err := archive.Extracted{}.Apply(t.Context(), h, texts, p)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, wanted %q", err, c.want)
			}
			if names, _ := h.ReadDir("/"); len(names) != 0 {
				t.Errorf("left %v", names)
			}
		})
	}
}

// zeros is a bomb: it has no end.
type zeros struct{ left int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	clear(p[:n])
	z.left -= n
	return int(n), nil
}

func TestBomb(t *testing.T) {
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	const size = 300 << 20
	if err := w.WriteHeader(&tar.Header{Name: "big", Size: size, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, &zeros{size}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	h, texts := fake.New(), moduletest.Texts{}
	p := executor.Params{"path": "/app", "contents": texts.Text(b.String())}
	if _, err := (archive.Extracted{}).Apply(t.Context(), h, texts, p); err == nil || !strings.Contains(err.Error(), "more than 256 MiB") {
		t.Fatalf("%d bytes: %v", b.Len(), err)
	}
}

func TestRefused(t *testing.T) {
	h := fake.New()
	if err := h.Mkdir("/app", executor.Meta{Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	texts := moduletest.Texts{}
	_, err := archive.Extracted{}.Check(t.Context(), h, texts, executor.Params{"path": "/app", "contents": texts.Text("x")})
	if err == nil || !strings.Contains(err.Error(), "has to be a symlink") {
		t.Errorf("over a folder: %v", err)
	}
	_, err = archive.Extracted{}.Apply(t.Context(), h, texts, executor.Params{"path": "/x", "contents": texts.Text("text")})
	if err == nil || !strings.Contains(err.Error(), "none of tar") {
		t.Errorf("a text: %v", err)
	}
	for want, p := range map[string]executor.Params{
		"needs one of":       {},
		"not 64 hexadecimal": {"url": "http://x/y"},
		"from 0 to 64":       {"from": "/x", "strip_components": int64(-1)},
		"belong to url":      {"from": "/x", "headers": map[string]any{}},
	} {
		if err := (archive.Extracted{}).Function().Validate(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, wanted %q", p, err, want)
		}
	}
}

func FuzzArchive(f *testing.F) {
	f.Add(tarOf(f, app...))
	f.Add(zipOf(f))
	f.Add(packed(f, tarOf(f, app...), gzipped))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, texts := fake.New(), moduletest.Texts{}
		p := executor.Params{"path": "/jail/app", "contents": texts.Text(string(data))}
		_, err := archive.Extracted{}.Apply(t.Context(), h, texts, p)
		names, _ := h.ReadDir("/")
		if err == nil && strings.Join(names, " ") != "jail" {
			t.Errorf("outside: %v", names)
		}
	})
}
