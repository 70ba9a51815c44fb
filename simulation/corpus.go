package simulation

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
)

// Case is a plan that once broke something, and is run by every test from then on. The plan is kept whole: what a seed means
// changes with the list of faults.
type Case struct {
	Why  string `json:"why"`
	Plan Plan   `json:"plan"`
}

// CorpusFolder is where cases are, from the root of the module.
const CorpusFolder = "simulation/testdata/corpus"

// Write keeps a case as a file.
func (c Case) Write(file string) error {
	data, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// ReadCase reads one.
func ReadCase(fsys fs.FS, name string) (c Case, err error) {
	data, err := fs.ReadFile(fsys, name)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		return c, fmt.Errorf("case %s: %w", path.Base(name), err)
	}
	return c, nil
}
