package states

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// SchemaDialect is the version of JSON Schema that Schema writes.
const SchemaDialect = "https://json-schema.org/draft/2020-12/schema"

// schemaDocuments are the documents that have a schema, and their keys; a states file has its own form.
var schemaDocuments = map[string][]key{
	"site": siteTable, "role": roleTable, "component": componentTable, "inventory": inventoryTable, "module": extensionTable,
	"states": {{name: "states", form: formAny}},
}

// SchemaNames are the documents that Schema knows, sorted.
func SchemaNames() []string { return keysOf(schemaDocuments) }

// object is one JSON Schema.
type object = map[string]any

// Schema describes a document as JSON Schema, for editors: "site", "role", "states", "component", "module" or "inventory"; an empty
// name gives all of them at once. It is made from what the compiler itself goes by. What one value alone cannot show it
// accepts: names that do not exist, expressions, and what a function's Validate finds.
func Schema(document string, functions []Function) (map[string]any, error) {
	defs := schemaDefs(functions)
	out := object{"$schema": SchemaDialect, "title": "shoal " + document, "$defs": defs}
	if document == "" {
		out["title"] = "shoal"
		var all []any
		for _, name := range SchemaNames() {
			all = append(all, defRef(name))
		}
		out["anyOf"] = all
		return out, nil
	}
	if _, ok := schemaDocuments[document]; !ok {
		return nil, fmt.Errorf("no schema for %q; there are %s", document, strings.Join(SchemaNames(), ", "))
	}
	out["$ref"] = "#/$defs/" + document
	used := map[string]bool{}
	reachable(defs, document, used)
	maps.DeleteFunc(defs, func(name string, _ any) bool { return !used[name] })
	return out, nil
}

// reachable marks the definitions that one needs, itself included.
func reachable(defs object, name string, used map[string]bool) {
	if used[name] {
		return
	}
	used[name] = true
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case object:
			if to, ok := v["$ref"].(string); ok {
				reachable(defs, strings.TrimPrefix(to, "#/$defs/"), used)
			}
			for _, child := range v {
				walk(child)
			}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	walk(defs[name])
}

func schemaDefs(functions []Function) object {
	defs := object{
		"names":    object{"anyOf": []any{typed("string"), object{"type": "array", "items": typed("string")}, typed("null")}},
		"duration": object{"type": "string", "pattern": `^(?:\d+(?:\.\d*)?(?:ns|us|µs|ms|s|m|h))+$|^0$`, "examples": []any{"30s", "5m"}},
		"value":    object{"type": "string", "pattern": wholeExpression, "description": "${ … }: a CEL expression that gives the value."},
		"secret": object{
			"type": "object", "required": []any{secretKey}, "properties": object{secretKey: object{}}, "additionalProperties": false,
			"description": "A secret: no report, diff or log shows the value. In YAML it may be written " + secretTag + " before the value.",
		},
		"state": stateSchema(functions),
	}
	for name, keys := range schemaDocuments {
		defs[name] = record(keys)
	}
	defs["states"] = object{
		"type": []any{"object", "null"}, "additionalProperties": false,
		"properties": object{"states": object{
			"description": "The states by their ids, in the order written.", "type": []any{"object", "null"},
			"propertyNames": object{"pattern": validNamePattern}, "additionalProperties": defRef("state"),
		}},
	}
	for i := range functions {
		defs[functions[i].FullName()] = functionSchema(&functions[i])
	}
	return defs
}

const (
	wholeExpression  = `^\s*\$\{[\s\S]*\}\s*$`
	validNamePattern = `^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$` // as validName
	anyExpression    = `\$\{`
)

func typed(name string) object { return object{"type": name} }

func defRef(name string) object { return object{"$ref": "#/$defs/" + name} }

func described(s object, doc string) object {
	if doc != "" {
		s["description"] = doc
	}
	return s
}

// record is the schema of a map with known keys; nothing stands for an empty one.
func record(keys []key) object {
	properties, required := object{}, []any{}
	for i := range keys {
		properties[keys[i].name] = described(keys[i].schema(), keys[i].doc)
		if keys[i].required {
			required = append(required, keys[i].name)
		}
	}
	s := object{"type": []any{"object", "null"}, "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["type"], s["required"] = "object", required
	}
	return s
}

func (k *key) schema() object {
	nullable := func(name string) []any { return []any{name, "null"} }
	switch k.form {
	case formBool:
		return typed("boolean")
	case formWord:
		return object{"enum": anyList(k.words)}
	case formDuration:
		return defRef("duration")
	case formCount:
		return object{"type": "integer", "minimum": 1, "maximum": 1000}
	case formNames:
		return defRef("names")
	case formExpression:
		return object{"type": []any{"string", "boolean"}}
	case formEach:
		return object{"type": []any{"string", "array", "object"}}
	case formTexts:
		return object{"type": nullable("object"), "additionalProperties": typed("string")}
	case formFree:
		return object{"type": nullable("object")}
	case formAny:
		return object{}
	case formList:
		return typed("array")
	case formRecord:
		return record(k.keys)
	case formRecords:
		return object{"type": nullable("array"), "items": record(k.keys)}
	case formRecordMap:
		return object{"type": nullable("object"), "additionalProperties": record(k.keys)}
	case formSteps:
		return object{"type": "array", "items": object{"anyOf": []any{typed("string"), record(k.keys)}}}
	}
	return typed("string")
}

// stateSchema allows the keys of a state and every function, and wants one function at least.
func stateSchema(functions []Function) object {
	s := record(append(slices.Clone(stateTable), metaTable...))
	properties := s["properties"].(object)
	for i := range functions {
		properties[functions[i].FullName()] = defRef(functions[i].FullName())
	}
	s["type"] = "object"
	// Not only keys that are no functions: a state must do something.
	s["not"] = object{"propertyNames": object{"enum": anyList(stateKeys)}}
	return s
}

func functionSchema(f *Function) object {
	properties, required := object{}, []any{}
	s := object{"type": "object", "description": f.Doc, "properties": properties, "additionalProperties": false}
	for i := range f.Params {
		p := &f.Params[i]
		needed := p.Required && p.Default == nil
		if p.Type == Contents {
			contentsSchema(s, properties, p, needed)
			continue
		}
		properties[p.Name] = paramSchema(p, needed)
		if needed {
			required = append(required, p.Name)
		}
	}
	if len(required) > 0 {
		s["required"] = required
	} else if s["oneOf"] == nil {
		s["type"] = []any{"object", "null"}
	}
	return s
}

// contentsSchema adds template, source and content, of which at most one may be given.
func contentsSchema(s, properties object, p *Param, needed bool) {
	docs := map[string]string{
		"template": "A file of the component that is rendered, .j2 or .tmpl: ",
		"source":   "A file of the component that is copied as it is: ",
		"content":  "The text itself: ",
	}
	var one []any
	for _, name := range contentKeys {
		text := typed("string")
		if name == "content" {
			text = orSecret(text)
		}
		properties[name] = described(text, docs[name]+p.Doc)
		one = append(one, object{"required": []any{name}})
	}
	if !needed {
		one = append(one, object{"not": object{"anyOf": slices.Clone(one)}})
	}
	s["oneOf"] = one
}

// paramSchema is what may be written for a parameter: its own type, or a string with ${ … }.
func paramSchema(p *Param, needed bool) object {
	alternatives := []any{typeSchema(p)}
	switch p.Type {
	case String:
		if len(p.OneOf) > 0 {
			alternatives = append(alternatives, object{"type": "string", "pattern": anyExpression})
		}
	case Bool, Int, Strings, Map:
		alternatives = append(alternatives, defRef("value"))
	}
	if !needed {
		alternatives = append(alternatives, typed("null"))
	}
	s := object{"anyOf": append(alternatives, defRef("secret"))}
	if p.Default != nil {
		s["default"] = normal(p.Default)
	}
	return described(s, p.Doc)
}

func typeSchema(p *Param) object {
	switch p.Type {
	case Bool:
		return typed("boolean")
	case Int:
		return typed("integer")
	case Mode:
		return object{"type": "string", "pattern": modeText.String() + "|" + anyExpression}
	case Duration:
		return object{"anyOf": []any{defRef("duration"), object{"type": "string", "pattern": anyExpression}}}
	case Folder:
		return object{"type": "string", "minLength": 1}
	case Path:
		return object{"type": "string", "pattern": "^/|" + anyExpression}
	case Strings:
		return object{"type": "array", "items": orSecret(typed("string"))}
	case Map:
		return typed("object")
	case Any:
		return object{}
	}
	if len(p.OneOf) > 0 {
		return object{"enum": anyList(p.OneOf)}
	}
	return typed("string")
}

func orSecret(s object) object { return object{"anyOf": []any{s, defRef("secret")}} }

func anyList(words []string) []any {
	list := make([]any, len(words))
	for i, w := range words {
		list[i] = w
	}
	return list
}
