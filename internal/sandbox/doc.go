// Package sandbox takes the rights of a process away for good: another user, no capability, no new privileges, and a seccomp filter.
package sandbox

// Supported tells whether there is a filter for this architecture.
const Supported = arch != 0
