package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"shoal/executor"
	"shoal/internal/hostfile"
	"shoal/states"
)

// Limits of what is put together.
const (
	maxAssembled = 16 << 20 // bytes
	maxFragments = 10_000
)

// Assemble is file.assemble.
type Assemble struct{}

// Function describes it.
func (Assemble) Function() states.Function {
	return states.Function{
		Module: "file", Name: "assemble",
		Doc: `One file from fragments, in the order of their names: those of a folder on the machine (from), of a folder of the component (source), and those written here (fragments). Each ends with a newline; hidden files of a folder are passed over. The states that make the fragments in from have to be required.

Example:
  hosts:
    file.assemble:
      path: /etc/ssh/ssh_known_hosts
      from: /etc/ssh/known_hosts.d
      fragments: {00-header: "# kept by shoal"}`,
		Params: append([]states.Param{
			hostfile.PathParam("the file that is made"),
			{Name: "from", Type: states.Path, Needs: states.ResourcePath, Doc: "a folder on the machine that holds fragments"},
			{Name: "source", Type: states.Folder, Doc: "a folder of the component that holds fragments; their names are paths from it"},
			{Name: "render", Type: states.Bool, Default: false, Doc: "fragments of source that end in .j2 or .tmpl are rendered"},
			{Name: "fragments", Type: states.Map, Doc: "fragments by their names"},
			{Name: "exclude", Type: states.Strings, Doc: "shell patterns of names that are passed over"},
			{Name: "delimiter", Type: states.String, Doc: "a line that stands between two fragments"},
			hostfile.ValidateParam(),
		}, hostfile.MetaParams("0644 for a new file, else left as it is")...),
		Outputs:  hostfile.Outputs(),
		CheckDoc: "The fragments are read, put together, and compared with the file.",
		UndoDoc:  "Contents, owner, mode, times and extended attributes are restored; a file and folders that it made are removed. The fragments are left alone.",
		Validate: validateAssemble,
	}
}

func validateAssemble(p map[string]any) error {
	params := executor.Params(p)
	fragments, _ := p["fragments"].(map[string]any)
	if params.String("from") == "" && p["source"] == nil && len(fragments) == 0 {
		return errors.New("needs one of from, source and fragments")
	}
	for _, name := range slices.Sorted(maps.Keys(fragments)) {
		if _, ok := fragments[name].(string); !ok {
			return fmt.Errorf("fragments: %s must be a string", name)
		}
	}
	exclude, _ := params.Strings("exclude")
	return checkPatterns(exclude)
}

// assembled puts the fragments together.
func assembled(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (*hostfile.Target, error) {
	t, err := plainTarget(h, p)
	if err != nil {
		return nil, err
	}
	parts, err := fragments(ctx, h, c, p)
	if err != nil {
		return nil, err
	}
	exclude, _ := p.Strings("exclude")
	var out bytes.Buffer
	for i, name := range slices.DeleteFunc(slices.Sorted(maps.Keys(parts)), func(name string) bool { return excluded(exclude, name) }) {
		if d := p.String("delimiter"); d != "" && i > 0 {
			out.WriteString(d + "\n")
		}
		out.Write(parts[name])
		if n := len(parts[name]); n > 0 && parts[name][n-1] != '\n' {
			out.WriteByte('\n')
		}
		if out.Len() > maxAssembled {
			return nil, fmt.Errorf("the fragments have more than %d MiB", maxAssembled>>20)
		}
	}
	t.Holding(out.Bytes())
	return t, nil
}

func fragments(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (map[string][]byte, error) {
	all := map[string][]byte{}
	add := func(name string, data []byte) error {
		if _, has := all[name]; has {
			return fmt.Errorf("two fragments are called %s", name)
		}
		if all[name] = data; len(all) > maxFragments {
			return fmt.Errorf("more than %d fragments", maxFragments)
		}
		return nil
	}
	inline, _ := p["fragments"].(map[string]any)
	for name, text := range inline {
		if err := add(name, []byte(fmt.Sprint(text))); err != nil {
			return nil, err
		}
	}
	sources, err := hostfile.Sources(p, "source")
	if err != nil {
		return nil, err
	}
	for _, s := range sources {
		data, err := c.Bytes(ctx, s.Content)
		if err != nil {
			return nil, err
		}
		if err := add(s.Path, data); err != nil {
			return nil, err
		}
	}
	if from := p.String("from"); from != "" {
		err = onMachine(h, from, add)
	}
	return all, err
}

// onMachine reads the fragments of a folder of the machine.
func onMachine(h executor.Host, from string, add func(string, []byte) error) error {
	st, err := hostfile.Look(h, from)
	if err != nil {
		return err
	}
	if st == nil {
		return &executor.Missing{Kind: states.ResourcePath, Name: from}
	}
	names, err := h.ReadDir(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		file := path.Join(from, name)
		st, err := h.Lstat(file)
		if err != nil {
			return err
		}
		if !st.Mode.IsRegular() {
			continue
		}
		if st.Size > maxAssembled {
			return fmt.Errorf("%s has more than %d MiB", file, maxAssembled>>20)
		}
		data, err := h.ReadFile(file)
		if err != nil {
			return err
		}
		if err := add(name, data); err != nil {
			return err
		}
	}
	return nil
}

// Check puts the fragments together and compares.
func (Assemble) Check(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (executor.Change, error) {
	guarded := p.String("from") != "" // earlier states may change the fragments
	t, err := assembled(ctx, h, c, p)
	if err != nil {
		return executor.Change{Needed: true, Guarded: guarded, Diff: "assemble " + p.String("path") + "\n"}, err
	}
	change, err := t.Check(ctx, h)
	change.Guarded = guarded
	return change, err
}

// Capture keeps the file.
func (Assemble) Capture(_ context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	return capture(h, p, false, false)
}

// Prepare stages the file.
func (Assemble) Prepare(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (string, error) {
	t, err := assembled(ctx, h, c, p)
	if err != nil {
		return "", err
	}
	return t.Prepare(ctx, h)
}

// Apply writes the file.
func (Assemble) Apply(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (map[string]any, error) {
	t, err := assembled(ctx, h, c, p)
	if err != nil {
		return nil, err
	}
	return t.Apply(ctx, h)
}

// ApplyStaged moves the staged file into place, unless an earlier state has changed the fragments since.
func (Assemble) ApplyStaged(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params, staged string) (map[string]any, error) {
	t, err := assembled(ctx, h, c, p)
	if err != nil {
		return nil, err
	}
	return t.PlaceComputed(ctx, h, staged)
}

// Revert puts back what Capture saw.
func (Assemble) Revert(ctx context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	return revert(ctx, h, p, u)
}

// RevertDiff says what Revert would change.
func (Assemble) RevertDiff(_ context.Context, h executor.Host, p executor.Params, u executor.Undo) string {
	return revertDiff(h, p, u)
}
