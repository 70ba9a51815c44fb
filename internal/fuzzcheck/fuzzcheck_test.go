package fuzzcheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// notFuzzed are decoders that no peer and no tree reaches, or that a target cannot reach by itself, each with the reason.
var notFuzzed = map[string]string{
	"executor/module/group.absent.Revert":      ownJournal,
	"executor/module/group.present.Revert":     ownJournal,
	"executor/module/pkg.goal.Revert":          ownJournal,
	"executor/module/service.revert":           ownJournal,
	"executor/module/sshkey.authorized.Revert": ownJournal,
	"executor/module/timer.unit.Join":          ownJournal,
	"executor/module/timer.unit.Revert":        ownJournal,
	"executor/module/user.absent.Revert":       ownJournal,
	"executor/module/user.present.Revert":      ownJournal,
	"internal/hostfile.Revert":                 ownJournal,
	"internal/hostfile.RevertAll":              ownJournal,
	"internal/hostfile.RevertAllDiff":          ownJournal,
	"internal/hostfile.RevertDiff":             ownJournal,
	"internal/hostfile.RevertVersion":          ownJournal,
	"internal/hostfile.RevertVersionDiff":      ownJournal,
	"internal/setting.Module.Revert":           ownJournal,
	"internal/datafile.UndoName":               ownJournal,

	"internal/signkey.InAgent": ownKeys,
	"internal/signkey.unlock":  ownKeys,
	"mesh/api.ServerTLS":       ownKeys,

	"states/disk.rendered.load": ownDisk,
	"states/disk.sumOf":         ownDisk,
	"store/badger.logRecord":    ownDisk,
	"store/badger.mark.meet":    ownDisk,
	"store/badger.mayBegin":     ownDisk,

	"internal/fetch.fetchError": ownAddress,

	"states.decode64": "a filter, which FuzzJinja reaches by its name in a table",
}

const (
	ownJournal = "what an undo needs, as the node itself wrote it into its journal: FuzzJournal decodes the records that it is in"
	ownKeys    = "a key or certificate of whoever runs the command, from a file or an agent of theirs"
	ownDisk    = "what the process itself wrote into a folder of its own; what is damaged is noticed by its checksum and made again"
	ownAddress = "an address, which only net/url takes apart, and of which only the host's name is compared or a password left out"
)

// skipped are folders whose decoders read what the one who runs them wrote, or what tests wrote.
var skipped = []string{"cmd", "simulation", "examples", "internal/e2e", "internal/linear", "internal/fleet", "internal/sshdtest", "internal/doccheck",
	"internal/hostile", "internal/testhost", "executor/moduletest", "executor/hosttest", "executor/fake", "mesh/meshtest", "store/kvtest", "store/storetest"}

var (
	decoderName = regexp.MustCompile(`^(?i:decode|parse|unmarshal)`)
	// calls of these make a decoder of whatever they stand in.
	decoderCall = []string{
		"codec.Unmarshal", "codec.NewDecoder", "codec.NewDecoderBytes", "json.Unmarshal", "json.NewDecoder", "yaml.Unmarshal", "cbor.Unmarshal", "xml.Unmarshal",
		"pem.Decode", "x509.ParseCertificate", "x509.ParsePKCS8PrivateKey", "tls.X509KeyPair", "hex.DecodeString", "base58.Decode",
		"RawURLEncoding.DecodeString", "StdEncoding.DecodeString", "age.Decrypt", "age.ParseX25519Identity", "agessh.NewEd25519Recipient",
		"ssh.ParseAuthorizedKey", "ssh.ParsePublicKey", "ssh.ParsePrivateKey", "tar.NewReader", "zip.NewReader", "gzip.NewReader",
		"bzip2.NewReader", "xz.NewReader", "zstd.NewReader", "binary.Uvarint", "BigEndian.Uint16", "BigEndian.Uint32", "BigEndian.Uint64",
		"LittleEndian.Uint32", "LittleEndian.Uint64", "url.Parse", "runtime.CompileModule", "lexer.Tokenize", "parser.ParseBytes",
		"syntax.LegacyFileOptions", "options.Parse", "exec.NewTemplate", "template.New",
	}
	bytesLike = []string{"[]byte", "string", "io.Reader", "*json.Decoder", "yaml.Token"}
)

// function is one of the module; of a method any of its name is meant that is of the same folder or of one
// that the file imports, so that what is reached is taken for a little more than it is.
type function struct {
	id      string // folder.Name
	decodes bool
	fuzz    bool
	calls   []string // ids, or "folder/.Method" of a folder that it may mean
}

// TestDecodersAreFuzzed looks for functions that decode, and follows the calls of all fuzz targets.
func TestDecodersAreFuzzed(t *testing.T) {
	functions, methods := load(t, filepath.Join("..", ".."))
	reached := map[string]bool{}
	var visit func(id string)
	visit = func(id string) {
		for _, m := range methods[id] {
			visit(m)
		}
		if f, ok := functions[id]; ok && !reached[id] {
			reached[id] = true
			for _, c := range f.calls {
				visit(c)
			}
		}
	}
	targets, decoders := 0, 0
	for id, f := range functions {
		if f.fuzz {
			targets++
			visit(id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(functions)) {
		if !functions[id].decodes {
			continue
		}
		decoders++
		why, exempt := notFuzzed[id]
		switch {
		case !reached[id] && !exempt:
			t.Errorf("%s decodes, and no fuzz target reaches it", id)
		case reached[id] && exempt:
			t.Errorf("%s is fuzzed, and listed as one that is not: %s", id, why)
		}
	}
	for id := range notFuzzed {
		if !functions[id].decodes {
			t.Errorf("%s is listed, and is no decoder", id)
		}
	}
	if targets < 30 || decoders < 60 {
		t.Errorf("%d targets and %d decoders: has the way of naming them changed?", targets, decoders)
	}
}

// load reads the functions of the module.
func load(t *testing.T, root string) (functions map[string]*function, methods map[string][]string) {
	functions, methods = map[string]*function{}, map[string][]string{}
	files := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(name, root), string(filepath.Separator)))
		if d.IsDir() {
			if rel != "" && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || slices.Contains(skipped, rel)) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		file, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
				f := read(path.Dir(rel), imports(file), fn, strings.HasSuffix(rel, "_test.go"))
				if old := functions[f.id]; old != nil { // methods of several types under one name
					f.calls, f.decodes, f.fuzz = append(f.calls, old.calls...), f.decodes || old.decodes, f.fuzz || old.fuzz
				} else if fn.Recv != nil {
					by := path.Dir(rel) + "/." + fn.Name.Name
					methods[by] = append(methods[by], f.id)
				}
				functions[f.id] = f
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return functions, methods
}

// imports are the folders of this module that a file imports, by the names it uses for them.
func imports(file *ast.File) map[string]string {
	out := map[string]string{}
	for _, i := range file.Imports {
		to, err := strconv.Unquote(i.Path.Value)
		folder, own := strings.CutPrefix(to, "shoal/")
		if err != nil || !own {
			continue
		}
		name := path.Base(folder)
		if i.Name != nil {
			name = i.Name.Name
		}
		out[name] = folder
	}
	return out
}

func read(folder string, imported map[string]string, fn *ast.FuncDecl, test bool) *function {
	name := fn.Name.Name
	f := &function{id: folder + "." + name}
	if fn.Recv != nil {
		f.id = folder + "." + typeName(fn.Recv.List[0].Type) + "." + name
	}
	f.fuzz = test && strings.HasPrefix(name, "Fuzz")
	f.decodes = !test && decoderName.MatchString(name) && takesBytes(fn)
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			x, plain := n.X.(*ast.Ident)
			if slices.Contains(decoderCall, lastName(n.X)+"."+n.Sel.Name) && !test {
				f.decodes = true
			}
			if plain && imported[x.Name] != "" {
				f.calls = append(f.calls, imported[x.Name]+"."+n.Sel.Name)
			}
			for _, from := range append(slices.Collect(maps.Values(imported)), folder) {
				f.calls = append(f.calls, from+"/."+n.Sel.Name)
			}
		case *ast.Ident:
			f.calls = append(f.calls, folder+"."+n.Name)
		}
		return true
	})
	return f
}

// lastName is what stands before the last dot: BigEndian of binary.BigEndian.Uint32.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func takesBytes(fn *ast.FuncDecl) bool {
	for _, p := range fn.Type.Params.List {
		if slices.Contains(bytesLike, typeName(p.Type)) {
			return true
		}
	}
	return false
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.SelectorExpr:
		return typeName(e.X) + "." + e.Sel.Name
	case *ast.ArrayType:
		return "[]" + typeName(e.Elt)
	case *ast.IndexExpr:
		return typeName(e.X)
	}
	return ""
}
