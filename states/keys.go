package states

import "slices"

// form is what may be written as the value of a key.
type form uint8

const (
	formText       form = iota // a string
	formBool                   // true or false, and no expression
	formWord                   // one of key.words
	formDuration               // such as 30s
	formCount                  // a number from 1 to 1000
	formNames                  // a list of strings, or one of them
	formExpression             // CEL, with or without ${ }
	formEach                   // a list, a map, or an expression
	formTexts                  // a map of strings
	formFree                   // a map of anything
	formAny                    // anything
	formList                   // a list of anything
	formRecord                 // a map with key.keys
	formRecords                // a list of such maps
	formRecordMap              // a map of such maps, by names that the author gives
	formSteps                  // a list of names and of such maps
)

// key is one key of a document: what the compiler knows by name, what a hint suggests, and what the schema tells an editor.
type key struct {
	name     string
	form     form
	doc      string
	words    []string
	keys     []key
	required bool
}

func keyNames(keys []key) []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return names
}

func typeNames(types []Type) []string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = string(t)
	}
	return names
}

// wordsOf are the values that a key of the list takes.
func wordsOf(keys []key, name string) []string {
	at := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
	if at < 0 {
		return nil
	}
	return keys[at].words
}

// The keys of a state that are not functions: those that relate it to others, and those that say when and how it runs.
var (
	requisiteTable = []key{
		{name: "require", form: formNames, doc: "Run after these, and only if none of them failed."},
		{name: "require_in", form: formNames, doc: "The inverse of require: these run after this state, and only if it did not fail."},
		{name: "after", form: formNames, doc: "Run after these, whatever became of them."},
		{name: "before", form: formNames, doc: "Run before these."},
		{name: "notify", form: formNames, doc: "When this state changed something these react: a lazy one runs, a running service restarts."},
		{name: "listen", form: formNames, doc: "The inverse of notify: this state reacts when one of these changed something."},
		{name: "listen_in", form: formNames, doc: "The same as notify."},
		{name: "notify_failure", form: formNames, doc: "When this state failed, run these."},
		{name: "listen_failure", form: formNames, doc: "Run this state when one of these failed."},
	}
	stateTable = append([]key{
		{name: "lazy", form: formBool, doc: "Run only when notified or invoked."},
		{name: "when", form: formExpression, doc: "A CEL expression over vars, tags, name, zone and each; false: the state is skipped, and shown as skipped."},
		{name: "for_each", form: formEach, doc: "A list, a map or an expression: makes one state id[key] for each entry, with each.key and each.value."},
		{name: "order", form: formWord, words: []string{"first", "last"}, doc: "Before or after everything that does not say so."},
		{name: "retry", form: formRecord, keys: retryTable, doc: "Try a failing part again."},
		{name: "timeout", form: formDuration, doc: "How long each attempt of each part may take."},
		{name: "on_remove", form: formWord, words: []string{"restore", "keep"}, doc: "What becomes of it when the state leaves the tree; overrides the policy."},
		{name: "undo", form: formText, doc: "The state that takes back what this one did, for parts that cannot be undone by themselves."},
	}, requisiteTable...)
	retryTable = []key{
		{name: "attempts", form: formCount, doc: "How often it is tried in all, from 1 to 1000."},
		{name: "delay", form: formDuration, doc: "How long to wait between two attempts."},
	}
	metaTable = []key{
		{name: metaGroup, form: formNames, doc: "One name for many states: who requires, notifies or listens to the group means all of them."},
		{name: metaBlock, form: formRecord, keys: blockTable, doc: "States that run in this order, others that run when one of them failed, and others that run in either case."},
		{name: metaSequence, form: formSteps, keys: stepTable, doc: "States in the order in which they run, the same one more than once, each time with its own variables."},
		{name: metaBarrier, form: formRecord, doc: "Everything written above it in the same file finishes before anything below it starts. Write meta.barrier: {}."},
	}
	blockTable = []key{
		{name: "run", form: formNames, required: true, doc: "The states of the block, in this order."},
		{name: "rescue", form: formNames, doc: "Run when one of them failed; when these succeed the failure counts no more."},
		{name: "always", form: formNames, doc: "Run after them in either case."},
	}
	stepTable = []key{
		{name: "run", form: formText, required: true, doc: "The state that runs."},
		{name: "with", form: formFree, doc: "Variables of this run, merged over the others."},
	}
)

// The keys of the other documents.
var (
	siteTable = []key{
		{name: "groups", form: formTexts, doc: "Named selectors, used as group.NAME."},
		{name: "targets", form: formRecords, keys: targetTable, doc: "Who gets what, in order: where variables clash, the later target wins."},
		{name: "policy", form: formRecord, keys: policyTable, doc: "How runs behave."},
		{name: "modules", form: formRecordMap, keys: moduleTable, doc: "Extension modules by name."},
	}
	targetTable = []key{
		{name: "on", form: formText, required: true, doc: `Who: "*" for every node, key=value,key!=value (a comma is AND), or a CEL expression over tags, name, zone and group.NAME.`},
		{name: "components", form: formNames, doc: "The components that they get."},
		{name: "roles", form: formNames, doc: "The roles that they get: roles/NAME.yaml."},
		{name: "variables", form: formFree, doc: "Variables that they get, over those of the roles."},
		{name: "variables_from", form: formNames, doc: "Files of variables, variables/NAME.yaml or a path in the tree; they win over all else."},
	}
	policyTable = []key{
		{name: "order", form: formWord, words: []string{string(JustDoIt), string(Ansible), string(Genius)}, doc: "The ordering mode."},
		{name: "on_failure", form: formWord, words: []string{"rollback", "stop", "continue"}, doc: "When a state fails: undo the run; stop and keep what was done; go on with what does not require it."},
		{name: "on_remove", form: formWord, words: []string{"restore", "keep"}, doc: "A state left the tree: put back what was there before, or leave it and forget it."},
		{name: "drift", form: formWord, words: []string{"enforce", "report"}, doc: "Somebody else changed a managed thing: put it back, or only report it."},
		{name: "command_outputs", form: formWord, words: []string{"deny", "allow"}, doc: "Whether the standard output of cmd.run may be used as an output."},
	}
	moduleTable = []key{
		{name: "source", form: formText, required: true, doc: "The module's path in the tree."},
		{name: "sha256", form: formText, required: true, doc: "Its SHA-256, 64 hexadecimal digits."},
		{name: "allow", form: formRecord, keys: allowTable, doc: "What it may touch; what is not named here it may not."},
		{name: "limits", form: formRecord, keys: limitsTable, doc: "The limits of each of its calls."},
	}
	allowTable = []key{
		{name: "read", form: formNames, doc: "Paths that it may read, with all below them."},
		{name: "write", form: formNames, doc: "Paths that it may change, and read, with all below them."},
		{name: "queries", form: formNames, doc: "Commands that only look, by path, with their first arguments where these matter. A plan runs them too."},
		{name: "commands", form: formNames, doc: "Commands that it may run when it changes something, by path, with their first arguments where these matter."},
		{name: "hosts", form: formNames, doc: "Hosts that it may fetch from; *.DOMAIN for all below a domain."},
		{name: "env", form: formTexts, doc: "The variables of its environment; it sees no others."},
		{name: "clock", form: formBool, doc: "Whether it sees the time. Else its clock always says the same."},
		{name: "random", form: formBool, doc: "Whether its random numbers are random. Else they are always the same."},
	}
	limitsTable = []key{
		{name: "time", form: formDuration, doc: "How long one call may take, with the commands that it runs; 1m."},
		{name: "memory_mb", form: formCount, doc: "How many MiB of memory it may have; 256."},
		{name: "output_mb", form: formCount, doc: "How many MiB one of its answers or requests may have; 16."},
	}
	extensionTable = []key{
		{name: "abi", form: formAny, required: true, doc: "The version of the interface that it is made for: 1."},
		{name: "description", form: formText, doc: "What the module is for."},
		{name: "functions", form: formRecordMap, keys: functionTable, required: true, doc: "Its functions by name."},
	}
	functionTable = []key{
		{name: "doc", form: formText, required: true, doc: "What a state says by it."},
		{name: "parameters", form: formRecordMap, keys: functionParameterTable, doc: "Its parameters by name."},
		{name: "outputs", form: formRecordMap, keys: functionOutputTable, doc: "What later states may use, by name."},
		{name: "check", form: formText, doc: "For the manual: how it finds out whether the machine is as asked."},
		{name: "undo", form: formText, doc: "For the manual: what it puts back."},
		{name: "example", form: formText, doc: "For the manual: a state or more."},
		{name: "reaction", form: formText, doc: "The function that runs in its place when a notifier changed."},
		{name: "irreversible", form: formBool, doc: "Whether it cannot be undone."},
	}
	functionParameterTable = []key{
		{name: "type", form: formWord, words: typeNames(extensionParamTypes), required: true, doc: "What its value must be."},
		{name: "default", form: formAny, doc: "Its value where nobody gives one."},
		{name: "description", form: formText, doc: "What it is for."},
		{name: "required", form: formBool, doc: "Whether it must be given."},
		{name: "one_of", form: formNames, doc: "The strings that are allowed."},
		{name: "provides", form: formWord, words: resourceNames, doc: "What its value names on the machine, and the function makes. Two states that make one path are an error."},
		{name: "needs", form: formWord, words: resourceNames, doc: "What its value names on the machine, and the function needs."},
		{name: "within", form: formText, doc: "What that is called, with * for the value, such as /etc/acme/*.conf."},
	}
	functionOutputTable = []key{
		{name: "type", form: formWord, words: typeNames(extensionOutputTypes), required: true, doc: "What it is."},
		{name: "description", form: formText, doc: "What it says."},
	}
	roleTable = []key{
		{name: "description", form: formText, doc: "What the role is for."},
		{name: "needs", form: formNames, doc: "Roles that are selected with it, before it."},
		{name: "components", form: formNames, doc: "The components of the role."},
		{name: "variables", form: formFree, doc: "Its variables, over the components' defaults."},
	}
	componentTable = []key{
		{name: "description", form: formText, doc: "What the component is for."},
		{name: "needs", form: formNames, doc: "Components that are selected with it, before it."},
		{name: "parameters", form: formRecordMap, keys: parameterTable, doc: "The variables that it takes, by name."},
	}
	parameterTable = []key{
		{name: "type", form: formWord, words: typeNames(ParameterTypes), doc: "What its value must be."},
		{name: "default", form: formAny, doc: "Its value where nobody gives one."},
		{name: "description", form: formText, doc: "What it is for."},
		{name: "required", form: formBool, doc: "Whether somebody must give one."},
		{name: "one_of", form: formList, doc: "The values that are allowed."},
		{name: "secret", form: formBool, doc: "Whether its value is masked wherever it goes."},
	}
	inventoryTable = []key{
		{name: "nodes", form: formRecordMap, keys: nodeTable, doc: "All nodes by name, for a fleet without a mesh."},
	}
	nodeTable = []key{
		{name: "zone", form: formText, doc: "The node's zone."},
		{name: "tags", form: formTexts, doc: "The node's tags."},
	}
)

var (
	requisiteKeys = keyNames(requisiteTable)
	stateKeys     = keyNames(stateTable)
	metaFunctions = keyNames(metaTable)
	siteKeys      = keyNames(siteTable)
	targetKeys    = keyNames(targetTable)
	policyKeys    = keyNames(policyTable)
	roleKeys      = keyNames(roleTable)
	manifestKeys  = keyNames(componentTable)
	parameterKeys = keyNames(parameterTable)
	inventoryKeys = keyNames(inventoryTable)
	nodeKeys      = keyNames(nodeTable)
	blockKeys     = keyNames(blockTable)
	stepKeys      = keyNames(stepTable)
)
