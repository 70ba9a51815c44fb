package states

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
)

// builtinFilters are gonja's that are pure. "random" is not; "lipsum" and "now" are no filters, and not there either.
var builtinFilters = strings.Fields(`abs attr batch capitalize center default d dictsort e escape filesizeformat first float
	forceescape format groupby indent int join items last length count list lower map max min pprint rejectattr reject
	replace reverse round safe selectattr select slice sort string striptags sum title tojson trim truncate unique upper
	urlencode urlize wordcount wordwrap xmlattr`)

// ownFilters are those that people know from Salt and Ansible.
var ownFilters = map[string]exec.FilterFunction{
	"to_json":       func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value { return toJSON(in, "") },
	"to_nice_json":  func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value { return toJSON(in, "    ") },
	"to_yaml":       toYAML,
	"to_nice_yaml":  toYAML,
	"yaml":          toYAML,
	"json":          func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value { return toJSON(in, "") },
	"regex_replace": regexReplace,
	"regex_search":  regexSearch,
	"quote":         quoteShell,
	"bool":          toBool,
	"b64encode": func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
		return exec.AsValue(base64.StdEncoding.EncodeToString([]byte(in.String())))
	},
	"b64decode": func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
		data, err := base64.StdEncoding.DecodeString(in.String())
		if err != nil {
			return exec.AsValue(errors.New("b64decode: not base64"))
		}
		return exec.AsValue(string(data))
	},
	"basename": func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
		return exec.AsValue(in.String()[strings.LastIndexByte(in.String(), '/')+1:])
	},
	"dirname": func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
		return exec.AsValue(in.String()[:max(0, strings.LastIndexByte(in.String(), '/'))])
	},
	"mandatory": func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value { return in },
}

func jinjaFilterNames() []string {
	return append(slices.Clone(builtinFilters), keysOf(ownFilters)...)
}

// jinjaFilters are all filters, each wrapped so that none makes something huge out of something small.
func jinjaFilters(b *budget) *exec.FilterSet {
	all := map[string]exec.FilterFunction{}
	for _, name := range builtinFilters {
		if f, ok := builtins.Filters.Get(name); ok {
			all[name] = f
			if name != "default" && name != "d" { // these pass on one of two values
				all[name] = b.limit(f)
			}
		}
	}
	for name, f := range ownFilters {
		all[name] = b.limit(strictInput(f))
	}
	b.guards(all)
	all[chargeFilter] = func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
		if !in.IsError() {
			if err := b.spend(in.Len()); err != nil {
				return exec.AsValue(err)
			}
		}
		return in
	}
	all[strictFilter] = func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
		if in.IsError() && b.err == nil {
			b.err = in
		}
		return in
	}
	return exec.NewFilterSet(all)
}

func strictInput(f exec.FilterFunction) exec.FilterFunction {
	return func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		if in.IsError() {
			return in
		}
		return f(e, in, params)
	}
}

func (b *budget) limit(f exec.FilterFunction) exec.FilterFunction {
	return func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		if err := b.spendOn(in, params); err != nil {
			return exec.AsValue(err)
		}
		out := f(e, in, params)
		if out.IsString() && out.Len() > MaxRenderedBytes {
			return exec.AsValue(tooLong())
		}
		return out
	}
}

func tooLong() error { return fmt.Errorf("a string of more than %s", sizeText(MaxRenderedBytes)) }

func (b *budget) spendOn(in *exec.Value, params *exec.VarArgs) error {
	largest, second, cost := 1, 1, 1
	weigh := func(v *exec.Value) error {
		n := textOf(v)
		cost += n / bytesPerStep
		if v != nil && v.IsInteger() {
			if n = v.Integer(); n > maxNumber {
				return fmt.Errorf("the number %d is too large here", n)
			}
		}
		if n > largest {
			largest, second = n, largest
		} else if n > second {
			second = n
		}
		return nil
	}
	for _, v := range append(append([]*exec.Value{in}, params.Args...), slices.Collect(maps.Values(params.KwArgs))...) {
		if err := weigh(v); err != nil {
			return err
		}
	}
	// What a replace, join or indent makes is at most the product of two of these.
	if largest > MaxRenderedBytes || second > 1 && largest*second > maxProduct {
		return tooLong()
	}
	return b.spend(cost)
}

// maxProduct bounds what a filter or method can make of two arguments.
const maxProduct = 256 << 20

// textOf is the length of a string, or of all the strings of a list.
func textOf(v *exec.Value) int {
	n := sizeOf(v)
	if v == nil || v.IsError() || !v.IsList() {
		return n
	}
	v.Iterate(func(_, _ int, item, _ *exec.Value) bool {
		n += sizeOf(item)
		return n <= MaxRenderedBytes
	}, func() {})
	return n
}

// jinjaMethods are gonja's; those of strings are limited as the filters are.
func jinjaMethods(b *budget) exec.Methods {
	methods := builtins.Methods
	limited := map[string]exec.Method[string]{}
	for _, name := range strings.Fields(`capitalize capwords casefold center count encode endswith expandtabs find format
		format_map isalnum isalpha isascii isdecimal isdigit islower isnumeric isprintable isspace istitle isupper join ljust
		lower lstrip partition removeprefix removesuffix replace rfind rjust rpartition rsplit rstrip split splitlines
		startswith strip swapcase title translate upper zfill`) {
		m, ok := builtins.Methods.Str.Get(name)
		if !ok {
			continue
		}
		limited[name] = func(self string, v *exec.Value, params *exec.VarArgs) (any, error) {
			if err := b.spendOn(exec.AsValue(self), params); err != nil {
				return nil, err
			}
			out, err := m(self, v, params)
			if s, ok := out.(string); ok && len(s) > MaxRenderedBytes {
				return nil, tooLong()
			}
			return out, err
		}
	}
	methods.Dict = dictMethods(b)
	methods.Str = exec.NewMethodSet(limited)
	return methods
}

func toJSON(in *exec.Value, indent string) *exec.Value {
	v := in.ToGoSimpleType(false)
	if err, ok := v.(error); ok {
		return exec.AsValue(fmt.Errorf("to_json: %w", err))
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return exec.AsValue(fmt.Errorf("to_json: %w", err))
	}
	return exec.AsSafeValue(strings.TrimSuffix(b.String(), "\n"))
}

// toYAML writes block style with sorted keys.
func toYAML(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
	v := in.ToGoSimpleType(false)
	if err, ok := v.(error); ok {
		return exec.AsValue(fmt.Errorf("to_yaml: %w", err))
	}
	text, err := yamlText(v)
	if err != nil {
		return exec.AsValue(fmt.Errorf("to_yaml: %w", err))
	}
	return exec.AsSafeValue(text)
}

func yamlText(v any) (string, error) {
	data, err := yaml.MarshalWithOptions(v, yaml.IndentSequence(false))
	return string(data), err
}

// regexReplace takes a pattern in Go's syntax (RE2) and a replacement with \1 or \g<name> as Python writes it.
func regexReplace(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	args := stringArgs(params, "pattern", "replacement")
	re, err := regexp.Compile(args[0])
	if err != nil {
		return exec.AsValue(fmt.Errorf("regex_replace: %s", err))
	}
	return exec.AsValue(re.ReplaceAllString(in.String(), goReplacement(args[1])))
}

var pythonReference = regexp.MustCompile(`\\(\d)|\\g<(\w+)>`)

func goReplacement(s string) string {
	return pythonReference.ReplaceAllString(strings.ReplaceAll(s, "$", "$$"), "$${$1$2}")
}

func regexSearch(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	re, err := regexp.Compile(stringArgs(params, "pattern")[0])
	if err != nil {
		return exec.AsValue(fmt.Errorf("regex_search: %s", err))
	}
	return exec.AsValue(re.FindString(in.String()))
}

// stringArgs takes arguments by position or name; one that is missing is empty.
func stringArgs(params *exec.VarArgs, names ...string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		if i < len(params.Args) {
			out[i] = params.Args[i].String()
		} else if v, ok := params.KwArgs[name]; ok {
			out[i] = v.String()
		}
	}
	return out
}

// quoteShell quotes for a POSIX shell.
func quoteShell(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
	return exec.AsValue("'" + strings.ReplaceAll(in.String(), "'", `'"'"'`) + "'")
}

func toBool(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
	switch strings.ToLower(in.String()) {
	case "yes", "true", "on", "1":
		return exec.AsValue(true)
	}
	return exec.AsValue(false)
}
