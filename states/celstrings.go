package states

import (
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// stringFunctions are those of cel-go's ext.Strings that people use most, under the same names. They are our own since
// ext's replace and join build a result of any size before its cost is counted.
func stringFunctions() []cel.EnvOption {
	s, n, list := cel.StringType, cel.IntType, cel.ListType(cel.StringType)
	return []cel.EnvOption{
		member("lowerAscii", s, func(a []ref.Val) ref.Val { return types.String(strings.ToLower(celText(a[0]))) }, s),
		member("upperAscii", s, func(a []ref.Val) ref.Val { return types.String(strings.ToUpper(celText(a[0]))) }, s),
		member("trim", s, func(a []ref.Val) ref.Val { return types.String(strings.TrimSpace(celText(a[0]))) }, s),
		member("split", list, func(a []ref.Val) ref.Val {
			return types.NewStringList(types.DefaultTypeAdapter, strings.Split(celText(a[0]), celText(a[1])))
		}, s, s),
		member("indexOf", n, func(a []ref.Val) ref.Val { return types.Int(strings.Index(celText(a[0]), celText(a[1]))) }, s, s),
		member("lastIndexOf", n, func(a []ref.Val) ref.Val { return types.Int(strings.LastIndex(celText(a[0]), celText(a[1]))) }, s, s),
		member("replace", s, replaceText, s, s, s),
		member("substring", s, substring, s, n),
		member("substring", s, substring, s, n, n),
		member("join", s, joinList, list),
		member("join", s, joinList, list, s),
	}
}

// member declares a method; its first argument is the receiver.
func member(name string, result *cel.Type, f func([]ref.Val) ref.Val, args ...*cel.Type) cel.EnvOption {
	id := "shoal_" + name + "_" + string(rune('0'+len(args)))
	return cel.Function(name, cel.MemberOverload(id, args, result, cel.FunctionBinding(func(a ...ref.Val) ref.Val { return f(a) })))
}

func celText(v ref.Val) string {
	s, _ := v.(types.String)
	return string(s)
}

func replaceText(a []ref.Val) ref.Val {
	s, old, with := celText(a[0]), celText(a[1]), celText(a[2])
	if len(s)+strings.Count(s, old)*len(with) > MaxRenderedBytes {
		return types.WrapErr(tooLong())
	}
	return types.String(strings.ReplaceAll(s, old, with))
}

func substring(a []ref.Val) ref.Val {
	runes := []rune(celText(a[0]))
	from, to := a[1].(types.Int), types.Int(len(runes))
	if len(a) == 3 {
		to = a[2].(types.Int)
	}
	if from < 0 || to < from || to > types.Int(len(runes)) {
		return types.NewErr("substring from %d to %d of %d characters", from, to, len(runes))
	}
	return types.String(runes[from:to])
}

func joinList(a []ref.Val) ref.Val {
	separator := ""
	if len(a) == 2 {
		separator = celText(a[1])
	}
	var b strings.Builder
	for it := a[0].(traits.Lister).Iterator(); it.HasNext() == types.True; {
		item, ok := it.Next().(types.String)
		if !ok {
			return types.NewErr("join takes a list of strings")
		}
		if b.Len() > 0 {
			b.WriteString(separator)
		}
		if b.WriteString(string(item)); b.Len() > MaxRenderedBytes {
			return types.WrapErr(tooLong())
		}
	}
	return types.String(b.String())
}
