// Package fuzzcheck holds a test: whatever decodes bytes that a peer or a tree can send is run by a fuzz target.
package fuzzcheck
