//go:build !fastverify

package simulation

// useRealSignatures: without the tag fastverify there are no others.
func useRealSignatures(bool) {}
