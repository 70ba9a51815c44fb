package states

import (
	"fmt"
	"regexp"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/nikolalohinski/gonja/v2/exec"
	"go.starlark.net/starlark"
)

// secretFunction is the function that gives the value of a secret which is not in the tree, but sealed for the nodes that may
// have it (package secrets).
const secretFunction = "secret"

// Secrets is what secret(name) answers from.
type Secrets struct {
	Named map[string]Secret
	// Assumed: nobody knows here which secrets there are, and any name has one. A tree can be validated by that, and no plan
	// that is applied may be made with it.
	Assumed bool
}

// Secret is one of them.
type Secret struct {
	Value string
	// On is the selector of the nodes that may have it, for messages.
	On string
	// Lacking is why there is no Value; empty: there is one.
	Lacking Lacking
}

// Lacking says why a node does not have the value of a secret.
type Lacking string

// The reasons.
const (
	Denied Lacking = "denied" // the selector does not select the node
	Locked Lacking = "locked" // it may have it, and nobody has handed it the key yet
	Unread Lacking = "unread" // it may have it, and whoever compiles cannot read the machine's key
)

// StandInSecret is what stands for the value of a secret where a tree is only validated.
func StandInSecret(name string) string { return "value-of-" + name }

// secretOf answers secret(name). The twin of a Catalogue gets another value, by which what the secret flows into is found.
func (l *Catalogue) secretOf(name string) (string, error) {
	l.noting.reads.everything = true
	l.secrets.found = true
	value, problem := l.sealed(name)
	if problem != nil {
		l.secrets.refused = problem
		return "", problem
	}
	l.secrets.note(value)
	if l.secrets.twin {
		value = standInText(value)
	}
	return value, nil
}

func (l *Catalogue) sealed(name string) (string, *expressionError) {
	given := l.secrets.given
	refuse := func(hint, format string, args ...any) (string, *expressionError) {
		said := fmt.Sprintf("%s(%q): ", secretFunction, name) + fmt.Sprintf(format, args...)
		return "", &expressionError{message: said, hint: hint, offset: -1}
	}
	if given == nil {
		return refuse("secrets are kept by the nodes of a mesh: shoal secret set", "there is no mesh here")
	}
	s, known := given.Named[name]
	switch {
	case !known && given.Assumed:
		return StandInSecret(name), nil
	case !known:
		hint := suggest(name, keysOf(given.Named))
		if hint == "" {
			hint = "make it with: shoal secret set " + name + " --on SELECTOR"
		}
		return refuse(hint, "there is no secret of this name")
	case s.Lacking == Denied:
		return refuse(fmt.Sprintf("it is for the nodes that %s selects; to change that: shoal secret set %s --on SELECTOR", s.On, name),
			"this node, %s, may not have it", l.secrets.node)
	case s.Lacking == Unread:
		return refuse("run this on the machine itself, as root", "the key of this node, %s, cannot be read here", l.secrets.node)
	case s.Lacking != "":
		return refuse(fmt.Sprintf("a node that has it hands it on: one that %s selects must be up, and within reach", s.On),
			"this node, %s, may have it, and has no key to it yet", l.secrets.node)
	}
	return s.Value, nil
}

// refusedSecret finds in an error of any engine that a secret was refused, and what to say then.
func (l *Catalogue) refusedSecret(text string) *expressionError {
	if e := l.secrets.refused; e != nil && strings.Contains(text, e.message) {
		return e
	}
	return nil
}

// give says what secret() answers from, for one compilation.
func (l *Catalogue) give(given *Secrets, node string) {
	l.secrets.given, l.secrets.node, l.secrets.refused = given, node, nil
}

// secretCall finds calls of secret() with a name that is written out, in any of the engines.
var secretCall = regexp.MustCompile(`\b` + secretFunction + `\s*\(?\s*["']([^"']+)["']`)

// anySecretCall finds any call.
var anySecretCall = regexp.MustCompile(`\b` + secretFunction + `\b`)

// asksForSecrets is true where d might call secret(). What a template includes is not looked into, and counts as if it did.
func (c *compilation) asksForSecrets(d Deferred) bool {
	text := []byte(d.Text)
	if d.Template {
		data, err := c.lib.tree.read(d.Text, MaxTemplateBytes)
		if err != nil {
			return false
		}
		text = data
		if includes.Match(data) {
			return c.lib.secrets.given != nil
		}
	}
	return anySecretCall.Match(text)
}

// includes finds a template that takes others in.
var includes = regexp.MustCompile(`\b(include|import|extends|from|template|block)\b`)

// promises checks the secrets that a deferred text names, long before it is evaluated, and marks the twin's text as one that is
// evaluated with stand-ins.
func (c *compilation) promises(d *Deferred) bool {
	if !c.asksForSecrets(*d) {
		return true
	}
	l := c.lib
	l.secrets.found = true
	d.StandIns = l.secrets.twin
	text := d.Text
	if d.Template {
		data, err := l.tree.read(d.Text, MaxTemplateBytes)
		if err != nil {
			return true // whoever renders it says so
		}
		text = string(data)
	}
	for _, m := range secretCall.FindAllStringSubmatch(text, -1) {
		if _, problem := l.sealed(m[1]); problem != nil {
			c.problems.add(d.Place, problem.hint, "%s", problem.message)
			return false
		}
	}
	return true
}

// secretInCEL is secret() in expressions.
func secretInCEL(get func(string) (string, error)) cel.EnvOption {
	return cel.Function(secretFunction, cel.Overload("secret_string", []*cel.Type{cel.StringType}, cel.StringType,
		cel.UnaryBinding(func(v ref.Val) ref.Val {
			value, err := get(string(v.(types.String)))
			if err != nil {
				return types.NewErrFromString(err.Error())
			}
			return types.String(value)
		})))
}

// secretInJinja is secret() in Jinja2.
func (j *jinja) secretInJinja(_ *exec.Evaluator, params *exec.VarArgs) *exec.Value {
	if len(params.Args) != 1 || len(params.KwArgs) > 0 || !params.Args[0].IsString() {
		return exec.AsValue(fmt.Errorf("secret takes one name, such as secret(\"db/password\")"))
	}
	value, err := j.lib.secretOf(params.Args[0].String())
	if err == nil {
		err = j.budget.spend(1 + len(value)/1024)
	}
	if err != nil {
		return exec.AsValue(err)
	}
	return exec.AsValue(value)
}

// secretInGo is secret in Go templates.
func (g *goTemplates) secretInGo(name string) (string, error) {
	value, err := g.lib.secretOf(name)
	if err == nil {
		err = g.budget.spend(1 + len(value)/1024)
	}
	return value, err
}

func starSecret(t *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name string
	if err := starlark.UnpackPositionalArgs(b.Name(), args, kwargs, 1, &name); err != nil {
		return nil, err
	}
	l, ok := t.Local(starFleetKey).(*Catalogue)
	if !ok {
		return nil, fmt.Errorf("secret() can be called from states() only: a file itself is run once for all nodes")
	}
	value, err := l.secretOf(name)
	if err != nil {
		return nil, err
	}
	return starlark.String(value), budgetOf(t).spend(1 + len(value)/1024)
}
