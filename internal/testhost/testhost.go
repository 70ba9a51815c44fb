// Package testhost makes the machines on which modules are tried: a folder of the test as the root of a real file system, with
// accounts in memory, and a machine that is all in memory.
package testhost

import (
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/local"
)

// Local is a real file system below a folder of the test. Accounts are in memory, so that nobody of this machine is touched.
func Local(t testing.TB) *local.Host {
	t.Helper()
	h, err := local.New(local.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	h.Accounts = fake.NewAccounts()
	return h
}

// Both are a machine in memory and a Local one, by name.
func Both() map[string]func(t *testing.T) executor.Host {
	return map[string]func(t *testing.T) executor.Host{
		"fake":  func(*testing.T) executor.Host { return fake.New() },
		"local": func(t *testing.T) executor.Host { return Local(t) },
	}
}
