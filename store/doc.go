// Package store says what is kept and how it merges: immutable objects named by their hash, manifests and revisions
// made of them, registers with ballots for the few things that change, and the logs that each node writes alone. It is
// pure; the sub-folders memory and badger hold the bytes.
package store
