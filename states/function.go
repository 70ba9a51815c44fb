package states

import "strings"

// Type of a parameter or an output.
type Type string

// The types that the language checks. A Mode is an octal string such as "0644". A Contents parameter is written in the
// tree as one of template:, source: or content: and reaches the module as a Content.
const (
	String   Type = "string"
	Bool     Type = "bool"
	Int      Type = "int"
	Mode     Type = "mode"
	Duration Type = "duration" // Go syntax, such as "30s"
	Path     Type = "path"     // absolute, clean
	Strings  Type = "list of strings"
	Map      Type = "map"
	Contents Type = "contents"
	Any      Type = "any"
	// Folder is written as the path of a folder of the component, and reaches the module as a list with a map for each file
	// in it: FolderPath, FolderMode and FolderContents. Of a function with a bool parameter render, that says whether
	// files ending in .j2 or .tmpl are rendered and lose that ending.
	Folder Type = "folder"
)

// Resource kinds: what a parameter's value names on the machine. The genius order derives its edges from them, and two
// states that provide the same path are an error.
type ResourceKind string

// The resource kinds.
const (
	ResourcePath       ResourceKind = "path"
	ResourceUser       ResourceKind = "user"
	ResourceGroup      ResourceKind = "group"
	ResourcePackage    ResourceKind = "package"
	ResourceService    ResourceKind = "service"
	ResourceRepository ResourceKind = "repository"

	ResourceMount         ResourceKind = "mount" // by its mount point
	ResourceKernelModule  ResourceKind = "kernel module"
	ResourceKernelSetting ResourceKind = "kernel setting"
)

// Param describes one parameter of a function.
type Param struct {
	Name     string
	Type     Type
	Required bool
	Default  any      // nil: none
	OneOf    []string // allowed values of a String, nil: any
	Provides ResourceKind
	Needs    ResourceKind
	// Within is what the value's resource is called, with * for the value, such as /etc/cron.d/*; empty: the value itself.
	Within string
	Doc    string
}

// Resource is the name of the resource that a value of the parameter stands for.
func (p Param) Resource(value string) string {
	if p.Within == "" {
		return value
	}
	return strings.Replace(p.Within, "*", value, 1)
}

// Output describes one value that later states may use.
type Output struct {
	Name string
	Type Type
	Doc  string
	// Command marks what a command printed: it may be used only where the site's policy allows command_outputs.
	Command bool
}

// Function describes one function of a module, such as file.managed: the one definition that the compiler, the manual
// and the schema are made from.
type Function struct {
	Module  string
	Name    string
	Doc     string
	Params  []Param
	Outputs []Output
	// Reaction is the function that runs in its place when a notifier changed and the state is not lazy, such as
	// "restarted" for service.running; empty: it just applies.
	Reaction string
	// Check, Undo: one sentence each for the manual.
	CheckDoc, UndoDoc string
	// Example is a State or more, as under states:, for the manual. The files that it names need not be there.
	Example string
	// Isolated: its Check looks at nothing of the machine but the thing that it provides and, for its owner, the accounts; and
	// says needed only when that thing is not as wanted. So a run that mends one damaged thing need not ask all the others.
	Isolated bool
	// Irreversible: a run of it cannot be undone unless the state names an undo.
	Irreversible bool
	// Validate finds what single types cannot say, such as two parameters that exclude each other; may be nil.
	Validate func(params map[string]any) error `json:"-"`
}

// FullName is module.function.
func (f Function) FullName() string { return f.Module + "." + f.Name }

// Manual is the description and the example. An example may be written at the end of Doc too, below a line "Example:" and
// indented by two.
func (f Function) Manual() (doc, example string) {
	doc, example, _ = strings.Cut(f.Doc, "\n\nExample:\n")
	if f.Example != "" {
		return doc, f.Example
	}
	return doc, strings.ReplaceAll(strings.TrimPrefix(example, "  "), "\n  ", "\n")
}
