package packages

import (
	"testing"

	"shoal/internal/bounded"
)

// FuzzOutputs: what the package managers print has names and versions in it that whoever made a package chose.
func FuzzOutputs(f *testing.F) {
	for _, text := range []string{
		"P:musl\nV:1.2.4-r2\nA:x86_64\n\n", "musl policy:\n  1.2.4-r2:\n    lib/apk/db/installed\n", "(1/2) Installing a (1.0-r0)\n(2/2) Upgrading b (1-r0 -> 2-r0)\n",
		"bash-0:5.2-1.fc39.*\n", "nginx 0 1.24 1.fc39\n", "Installing:\n nginx x86_64 1:1.24 fedora 40 k\n", "bash\t0\t5.2\t1\tx86_64\n",
		`<?xml version="1.0"?><stream><install-summary><to-install><solvable name="a" edition="1"/></to-install></install-summary></stream>`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		bounded.Run(t, 8*bounded.MiB+1000*uint64(len(text)), func() {
			parseApk(text)
			parseApkPolicy(text)
			parseApkSteps(text)
			parseVersionlock(text)
			parseRepoquery(text, "nginx")
			parseDnfTable(text)
			parseRPM(text)
			_, _ = parseZypper(text)
			parseKitID(1, text)
		})
	})
}
