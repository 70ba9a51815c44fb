package bubble

import (
	"os"
	"testing"
)

// Alone gives do what a bubble needs of package testing, outside of go test, and ends the process with the status that it returns.
func Alone(do func(t *testing.T) int) {
	os.Args = os.Args[:1] // the flags of package testing are not for users
	every := func(string, string) (bool, error) { return true, nil }
	testing.Main(every, []testing.InternalTest{{Name: "simulate", F: func(t *testing.T) { os.Exit(do(t)) }}}, nil, nil)
}
