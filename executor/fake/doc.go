// Package fake is a machine in memory: files, commands, package manager, service manager and user database, for tests and for the
// simulation. Each passes the conformance suite that the real one passes.
package fake
