// Package fake is the executor's package manager, service manager and user database in memory, for tests and for the
// simulation. Each passes the conformance suite that the real one passes.
package fake
