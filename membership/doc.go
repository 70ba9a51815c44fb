// Package membership says who is here and what each may be: identities, the trust chain, grants and tickets, and the
// roster, which is the set of grants less revocations. Everything in it is a function of its input: time is an
// argument, randomness is a reader, and the network lives in the sub-folder gossip.
package membership
