package attacks

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// PlantedEnv names the bug that a binary with all of them built in has.
const PlantedEnv = "SHOAL_PLANTED"

// source is the file that each changed package gets: a binary that is built with it has the one bug that its environment names. What
// ships is built without.
const source = `package %s

import "os"

var plantedBug = os.Getenv(%q)

func planted(name string) bool { return plantedBug == name }
`

// Overlay writes the changed files of all bugs into a folder, and what `go build -overlay` needs to know of them; root is the module's.
// No file of the module is touched. It fails when a piece that a bug replaces is not where it was.
func Overlay(root, folder string, bugs []Bug) (file string, err error) {
	texts := map[string]string{}
	for _, b := range bugs {
		for _, e := range b.Edits {
			if err := e.apply(root, b.Name, texts); err != nil {
				return "", err
			}
		}
	}
	replace := map[string]string{}
	put := func(name, text string) error {
		changed := filepath.Join(folder, strings.ReplaceAll(name, "/", "_"))
		replace[filepath.Join(root, name)] = changed
		return os.WriteFile(changed, []byte(text), 0o600)
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if err := put(name, texts[name]); err != nil {
			return "", err
		}
		dir := path.Dir(name)
		if _, there := replace[filepath.Join(root, dir, "planted_bug.go")]; there {
			continue
		}
		if err := put(dir+"/planted_bug.go", fmt.Sprintf(source, packageOf(texts[name]), PlantedEnv)); err != nil {
			return "", err
		}
	}
	data, err := json.Marshal(struct{ Replace map[string]string }{replace})
	if err != nil {
		return "", err
	}
	file = filepath.Join(folder, "overlay.json")
	return file, os.WriteFile(file, data, 0o600)
}

func packageOf(text string) string {
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "package "); ok {
			name, _, _ = strings.Cut(strings.TrimSpace(name), " ")
			return name
		}
	}
	return "main"
}

// apply changes a file, as other bugs have left it; two bugs in one place are an error.
func (e Edit) apply(root, bug string, texts map[string]string) error {
	text, ok := texts[e.File]
	if !ok {
		data, err := os.ReadFile(filepath.Join(root, e.File))
		if err != nil {
			return fmt.Errorf("bug %s: %w", bug, err)
		}
		text = string(data)
	}
	old := strings.NewReplacer("«", "", "»", "").Replace(e.Text)
	if n := strings.Count(text, old); n != 1 {
		return fmt.Errorf("bug %s: what it replaces is %d times in %s: %q", bug, n, e.File, old)
	}
	call := fmt.Sprintf("planted(%q)", bug)
	with := strings.ReplaceAll(e.with, "PLANTED", call)
	if e.how != "" {
		before, rest, marked := strings.Cut(e.Text, "«")
		condition, after, closed := strings.Cut(rest, "»")
		if !marked || !closed {
			return fmt.Errorf("bug %s: no condition is marked in %q", bug, e.Text)
		}
		with = before + fmt.Sprintf(e.how, call, condition) + after
	}
	texts[e.File] = strings.Replace(text, old, with, 1)
	return nil
}
