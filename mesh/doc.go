// Package mesh is the node's protocol: how a push becomes a head, how a head reaches every machine, and how objects come
// back to N copies. It is a function, Step(now, Event) []Action, of what has happened; sub-folders do the actions.
package mesh
