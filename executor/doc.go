// Package executor makes one machine match a plan: check everything, write the journal, apply, verify, and roll back in
// reverse when anything fails. It touches the machine only through Host.
package executor
