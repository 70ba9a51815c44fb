package packages

import (
	"context"
	"strings"

	"shoal/executor"
)

// rpmFormat gives a row for each package: name, epoch, version-release, architecture.
const rpmFormat = `%{NAME}\t%{EPOCHNUM}\t%{VERSION}-%{RELEASE}\t%{ARCH}\n`

// readRPM reads the database that dnf and zypper share. Of several versions of one package, as of a kernel, the last installed
// counts. Keys, which rpm keeps as packages, are none.
func readRPM(ctx context.Context, t *tool) (database, error) {
	out, err := t.command(ctx, "", "rpm", "-qa", "--queryformat", rpmFormat)
	if err != nil {
		return nil, err
	}
	return parseRPM(out), nil
}

func parseRPM(out string) database {
	db := database{}
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) != 4 || f[0] == "gpg-pubkey" {
			continue
		}
		db[f[0]] = executor.Package{Name: f[0], Version: withEpoch(f[1], f[2])}
	}
	return db
}

// withEpoch writes a version as the tools do: an epoch of 0 is left out.
func withEpoch(epoch, version string) string {
	if epoch == "" || epoch == "0" || epoch == "(none)" {
		return version
	}
	return epoch + ":" + version
}
