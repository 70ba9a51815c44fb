// Package hosttest holds the conformance suites of the parts of executor.Host, which every implementation passes.
package hosttest
