//go:build fastverify

package simulation

import "shoal/membership"

// useRealSignatures lets each signature be made and verified, also those that are known in this process.
func useRealSignatures(on bool) { membership.RealSignatures.Store(on) }
