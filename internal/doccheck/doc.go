// Package doccheck compiles what the users' documentation shows, so that it cannot rot. There are tests only.
package doccheck
