package states

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Limits of the extension modules of a site.
const (
	MaxModules         = 64  // of a site
	MaxModuleFunctions = 100 // of a module; and parameters, and outputs, of a function
)

// The types that a manifest may name. A Folder is made by the compiler for functions that it knows.
var (
	extensionParamTypes  = []Type{String, Bool, Int, Mode, Duration, Path, Strings, Map, Contents, Any}
	extensionOutputTypes = []Type{String, Bool, Int, Mode, Duration, Path, Strings, Map, Any}
	resourceNames        = []string{
		string(ResourcePath), string(ResourceUser), string(ResourceGroup), string(ResourcePackage), string(ResourceService),
		string(ResourceRepository), string(ResourceMount), string(ResourceKernelModule), string(ResourceKernelSetting),
	}
)

var (
	moduleName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	sha256Text = regexp.MustCompile(`^[0-9a-f]{64}$`)
	hostText   = regexp.MustCompile(`^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
)

// readModules reads modules: of a site, and what each module declares, and makes the functions known.
func (l *Catalogue) readModules(n *docNode) map[string]Extension {
	all := map[string]Extension{}
	for i, e := range l.problems.mapOf(n, "modules") {
		switch {
		case i >= MaxModules:
			l.problems.add(e.place, "", "more than %d modules", MaxModules)
			return all
		case !moduleName.MatchString(e.key):
			l.problems.add(e.place, "small letters, digits and _ only: it begins the names of functions", "%q cannot be the name of a module", e.key)
			continue
		case l.modules[e.key]:
			l.problems.add(e.place, "give it another name", "module %q is built in", e.key)
			continue
		}
		l.modules[e.key] = true
		x, ok := l.readModule(e)
		if !ok {
			l.refused[e.key] = true
			continue
		}
		for i := range x.Functions {
			f := &x.Functions[i]
			l.functions[f.FullName()] = f
		}
		all[e.key] = x
	}
	return all
}

// readModule reads one module of a site; false: its functions are not known.
func (l *Catalogue) readModule(e docEntry) (Extension, bool) {
	x := Extension{Name: e.key, Limits: DefaultExtensionLimits}
	source, hash := named{place: e.place}, named{place: e.place}
	for _, k := range l.problems.mapOf(e.value, "a module") {
		switch k.key {
		case "source":
			source = l.textAt(k)
		case "sha256":
			hash = l.textAt(k)
		case "allow":
			x.Allow = l.readGrants(k.value)
		case "limits":
			x.Limits = l.readLimits(k.value)
		default:
			l.problems.unknownKey(k, "a module", keyNames(moduleTable))
		}
	}
	for i, given := range []named{source, hash} {
		if given.place == e.place {
			l.problems.add(e.place, "", "module %q needs %s:", e.key, []string{"source", "sha256"}[i])
		}
	}
	if source.name == "" || hash.name == "" {
		return x, false
	}
	var ok bool
	if x.Binary, ok = l.readBinary(source, hash); !ok {
		return x, false
	}
	stem := strings.TrimSuffix(x.Binary.Source, path.Ext(x.Binary.Source))
	manifest := l.oneForm(stem, ".yaml", ".json")
	if manifest == "" {
		l.problems.add(source.place, "docs/modules.md says what is in it", "module %q has no manifest: there is no %s.yaml", e.key, stem)
		return x, false
	}
	x.Functions, ok = l.readManifestOf(e.key, manifest)
	return x, ok
}

// textAt is the text of a value. A hash may look like a number.
func (l *Catalogue) textAt(e docEntry) named {
	if e.key == "sha256" && (e.value.kind == kindInt || e.value.kind == kindFloat) {
		return named{e.value.text, e.value.place}
	}
	s, ok := l.problems.stringOf(e.value, e.key)
	if ok && s == "" {
		l.problems.add(e.value.place, "", "%s must not be empty", e.key)
	}
	return named{s, e.value.place}
}

// wasmMagic is how WebAssembly 1 begins (section 5.5 of its specification).
const wasmMagic = "\x00asm\x01\x00\x00\x00"

// readBinary compares a module with its hash. One with another hash is a problem, and its functions are known all the same.
func (l *Catalogue) readBinary(source, hash named) (Content, bool) {
	name, err := within("", source.name)
	if err != nil {
		l.problems.add(source.place, "", "%s", err)
		return Content{}, false
	}
	found, size, err := l.tree.hash(name)
	if err == nil {
		err = l.isWebAssembly(name)
	}
	if err != nil {
		hint := ""
		if errors.Is(err, fs.ErrNotExist) {
			hint = suggest(path.Base(name), l.tree.list(path.Dir(name)))
		}
		l.problems.add(source.place, hint, "%s %s", name, reason(err))
		return Content{}, false
	}
	digits := strings.TrimPrefix(found, "sha256:")
	switch wanted := strings.ToLower(hash.name); {
	case !sha256Text.MatchString(wanted):
		l.problems.add(hash.place, "that of "+name+" is "+digits, "sha256 must be 64 hexadecimal digits")
	case wanted != digits:
		l.problems.add(hash.place, "its sha256 is "+digits+": write that if this is the module that you mean", "%s has another sha256", name)
	}
	return Content{Hash: found, Size: size, Source: name, From: "module " + name}, true
}

func (l *Catalogue) isWebAssembly(name string) error {
	f, _, err := l.tree.open(name, MaxFileBytes)
	if err != nil {
		return err
	}
	head := make([]byte, len(wasmMagic))
	_, err = io.ReadFull(f, head)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || err == nil && string(head) != wasmMagic {
		err = errors.New("is no WebAssembly module")
	}
	return errors.Join(err, f.Close())
}

func (l *Catalogue) readGrants(n *docNode) Grants {
	var g Grants
	c := l.problems
	for _, e := range c.mapOf(n, "allow") {
		switch e.key {
		case "read":
			g.Read = l.grantedPaths(e)
		case "write":
			g.Write = l.grantedPaths(e)
		case "queries":
			g.Queries = l.grantedCommands(e)
		case "commands":
			g.Commands = l.grantedCommands(e)
		case "hosts":
			for _, h := range c.namesOf(e.value, e.key) {
				if !hostText.MatchString(h.name) {
					c.add(h.place, "write example.org, or *.example.org", "%q is not the name of a host", h.name)
				}
				g.Hosts = append(g.Hosts, h.name)
			}
		case "env":
			g.Env = map[string]string{}
			for _, v := range c.mapOf(e.value, e.key) {
				g.Env[v.key], _ = c.stringOf(v.value, "a variable of env")
			}
		case "clock":
			g.Clock = c.boolOf(e.value, e.key)
		case "random":
			g.Random = c.boolOf(e.value, e.key)
		default:
			c.unknownKey(e, "allow", keyNames(allowTable))
		}
	}
	return g
}

func (l *Catalogue) grantedPaths(e docEntry) []string {
	var all []string
	for _, p := range l.problems.namesOf(e.value, e.key) {
		clean := path.Clean(p.name)
		if !path.IsAbs(p.name) || p.name != clean && p.name != clean+"/" {
			l.problems.add(p.place, "", "%s: %q is not an absolute path without .. and //", e.key, p.name)
			continue
		}
		all = append(all, clean)
	}
	return all
}

func (l *Catalogue) grantedCommands(e docEntry) []string {
	var all []string
	for _, p := range l.problems.namesOf(e.value, e.key) {
		words := strings.Fields(p.name)
		if len(words) == 0 || !path.IsAbs(words[0]) || path.Clean(words[0]) != words[0] {
			l.problems.add(p.place, "such as /usr/bin/systemctl show", "%s: %q does not begin with the path of a command", e.key, p.name)
			continue
		}
		all = append(all, strings.Join(words, " "))
	}
	return all
}

func (l *Catalogue) readLimits(n *docNode) ExtensionLimits {
	limits := DefaultExtensionLimits
	count := func(e docEntry, at *int) {
		if e.value.kind != kindInt || e.value.integer < 1 || e.value.integer > 1000 {
			l.problems.add(e.value.place, "", "%s must be a number from 1 to 1000, not %s", e.key, e.value.describe())
			return
		}
		*at = int(e.value.integer)
	}
	for _, e := range l.problems.mapOf(n, "limits") {
		switch e.key {
		case "time":
			before := l.problems.calls
			if limits.Time = l.durationOf(e.value, "time"); limits.Time < time.Millisecond && l.problems.calls == before {
				l.problems.add(e.value.place, "", "time must be at least 1ms")
			}
		case "memory_mb":
			count(e, &limits.MemoryMB)
		case "output_mb":
			count(e, &limits.OutputMB)
		default:
			l.problems.unknownKey(e, "limits", keyNames(limitsTable))
		}
	}
	return limits
}

// readManifestOf reads what a module declares; false: it cannot be known.
func (l *Catalogue) readManifestOf(module, name string) ([]Function, bool) {
	doc := l.document(name)
	if doc == nil {
		return nil, false
	}
	var functions []Function
	abi, before := false, l.problems.calls
	for _, e := range l.problems.mapOf(doc, "a module's manifest") {
		switch e.key {
		case "abi":
			abi = true
			if e.value.kind != kindInt || e.value.integer != ExtensionABI {
				l.problems.add(e.value.place, "", "abi: this shoal knows %d alone, not %s", ExtensionABI, e.value.describe())
			}
		case "description":
			l.problems.stringOf(e.value, e.key)
		case "functions":
			for i, f := range l.problems.mapOf(e.value, "functions") {
				if i >= MaxModuleFunctions {
					l.problems.add(f.place, "", "more than %d functions", MaxModuleFunctions)
					break
				}
				functions = append(functions, l.readFunction(module, f))
			}
		default:
			l.problems.unknownKey(e, "a module's manifest", keyNames(extensionTable))
		}
	}
	if !abi {
		l.problems.add(Place{File: name}, "", "a module's manifest needs abi: %d", ExtensionABI)
	}
	if len(functions) == 0 && l.problems.calls == before {
		l.problems.add(Place{File: name}, "", "a module's manifest needs functions:")
	}
	l.checkReactions(doc, functions)
	return functions, l.problems.calls == before
}

func (l *Catalogue) checkReactions(doc *docNode, functions []Function) {
	var names []string
	for _, f := range functions {
		names = append(names, f.Name)
	}
	for _, f := range functions {
		if f.Reaction != "" && !slices.Contains(names, f.Reaction) {
			at := doc.get("functions").get(f.Name).get("reaction").place
			l.problems.add(at, suggest(f.Reaction, names), "reaction: the module has no function %q", f.Reaction)
		}
	}
}

func (l *Catalogue) readFunction(module string, e docEntry) Function {
	f := Function{
		Module: module, Name: e.key,
		CheckDoc: "The module looks, with what it may read.", UndoDoc: "What it provides is put back as it was before.",
	}
	c := l.problems
	if !moduleName.MatchString(e.key) {
		c.add(e.place, "small letters, digits and _ only", "%q cannot be the name of a function", e.key)
	}
	text := func(k docEntry, at *string) { *at, _ = c.stringOf(k.value, k.key) }
	for _, k := range c.mapOf(e.value, "a function") {
		switch k.key {
		case "doc":
			text(k, &f.Doc)
		case "check":
			text(k, &f.CheckDoc)
		case "undo":
			text(k, &f.UndoDoc)
		case "example":
			text(k, &f.Example)
		case "reaction":
			text(k, &f.Reaction)
		case "irreversible":
			f.Irreversible = c.boolOf(k.value, k.key)
		case "parameters":
			f.Params = l.readParams(k.value)
		case "outputs":
			f.Outputs = l.readOutputs(k.value)
		default:
			c.unknownKey(k, "a function", keyNames(functionTable))
		}
	}
	if strings.TrimSpace(f.Doc) == "" {
		c.add(e.place, "", "function %q needs doc:", e.key)
	}
	return f
}

func (l *Catalogue) readOutputs(n *docNode) (all []Output) {
	c := l.problems
	for i, e := range c.mapOf(n, "outputs") {
		out := Output{Name: e.key}
		if i >= MaxModuleFunctions || !moduleName.MatchString(e.key) {
			c.add(e.place, "small letters, digits and _ only", "%q cannot be the name of an output, or there are more than %d", e.key, MaxModuleFunctions)
			continue
		}
		for _, k := range c.mapOf(e.value, "an output") {
			switch k.key {
			case "type":
				out.Type = Type(c.oneOf(k.value, "type", typeNames(extensionOutputTypes)...))
			case "description":
				out.Doc, _ = c.stringOf(k.value, k.key)
			default:
				c.unknownKey(k, "an output", keyNames(functionOutputTable))
			}
		}
		if e.value.kind == kindMap && e.value.get("type") == nil {
			c.add(e.place, "", "output %q needs type:", e.key)
		}
		all = append(all, out)
	}
	return all
}
