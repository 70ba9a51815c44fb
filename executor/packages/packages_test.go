package packages

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"shoal/executor"
)

var _ = []executor.Packages{(*Dnf)(nil), (*Zypper)(nil), (*Pacman)(nil), (*Apk)(nil)}

// recorded answers a command line with what a real tool wrote; the last answer of a line is repeated.
type recorded struct {
	t       *testing.T
	answers map[string][]executor.Exit
	asked   []string
}

func (r *recorded) Run(_ context.Context, cmd executor.Command) (executor.Exit, error) {
	line := strings.Join(cmd.Argv, " ")
	r.asked = append(r.asked, line)
	all := r.answers[line]
	if len(all) == 0 {
		r.t.Errorf("asked %q", line)
		return executor.Exit{Status: 127}, nil
	}
	if len(all) > 1 {
		r.answers[line] = all[1:]
	}
	return all[0], nil
}

func says(text string) []executor.Exit { return []executor.Exit{{Stdout: []byte(text)}} }

// clock sleeps at once.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.now = c.now.Add(d)
	return ctx.Err()
}

const (
	apkOptions = "apk --no-progress "
	apkInfo    = "musl-1.2.4-r2\nbusybox-1.36.1-r5\nnginx-1.24.0-r7\nlibcrypto3-3.1.4-r5\npy3-foo-bar-2.0_rc1-r0\n"
	apkPolicy  = "nginx policy:\n  1.24.0-r8:\n    http://mirror.example/alpine/v3.18/main\n  1.24.0-r7:\n    lib/apk/db/installed\n"
	apkUpgrade = "(1/3) Upgrading nginx (1.24.0-r7 -> 1.24.0-r8)\n(2/3) Installing pcre (8.45-r3)\n(3/3) Purging old-thing (1.0-r0)\nOK: 12 MiB in 20 packages\n"
)

func TestApk(t *testing.T) {
	r := &recorded{t: t, answers: map[string][]executor.Exit{
		apkOptions + "info -v": says(apkInfo), "cat /etc/apk/world": says("busybox=1.36.1-r5\nnginx\n"),
		apkOptions + "policy nginx": says(apkPolicy), apkOptions + "policy none": says(""),
		apkOptions + "add --simulate nginx=1.24.0-r8": says(apkUpgrade), apkOptions + "add nginx=1.24.0-r8": says(apkUpgrade),
		apkOptions + "add nginx": says("OK: 12 MiB in 20 packages\n"), apkOptions + "update": says("OK: 20 distinct packages available\n"),
	}}
	a, ctx := NewApk(r, &clock{now: time.Unix(1, 0)}, nil), t.Context()
	list, err := a.Installed(ctx, []string{"busybox", "py3-foo-bar", "none", "nginx"})
	want := []executor.Package{{Name: "busybox", Version: "1.36.1-r5", Hold: true}, {Name: "py3-foo-bar", Version: "2.0_rc1-r0"}, {Name: "nginx", Version: "1.24.0-r7"}}
	if err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("%+v, %v", list, err)
	}
	for _, c := range []struct {
		name, version, candidate string
		ok                       bool
	}{{"nginx", "", "1.24.0-r8", true}, {"nginx", "1.24.0-r7", "1.24.0-r8", false}, {"none", "", "", false}} {
		if candidate, ok, err := a.Available(ctx, c.name, c.version); err != nil || ok != c.ok || candidate != c.candidate {
			t.Errorf("%s=%s: %s, %v, %v", c.name, c.version, candidate, ok, err)
		}
	}
	newer := []executor.Package{{Name: "nginx", Version: "1.24.0-r8"}}
	changes, err := a.SimulatePackages(ctx, newer, nil)
	if want := []executor.PackageChange{{Name: "nginx", Before: "1.24.0-r7", After: "1.24.0-r8"}, {Name: "pcre", After: "8.45-r3"}}; err != nil || !reflect.DeepEqual(changes, want) {
		t.Errorf("%+v, %v", changes, err)
	}
	if err := a.ChangePackages(ctx, newer, nil); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := a.RefreshPackages(ctx, "", time.Hour); err != nil {
			t.Error(err)
		}
	}
	if n := len(slices.DeleteFunc(r.asked, func(s string) bool { return s != apkOptions+"update" })); n != 1 {
		t.Errorf("fetched lists %d times within an hour", n)
	}
}

// dnfTable is what dnf 4.14 writes.
const dnfTable = `Dependencies resolved.
================================================================================
 Package                 Architecture  Version              Repository     Size
================================================================================
Installing:
 shoal-leaf              noarch        2-1                  shoal-test    6.0 k
Upgrading:
 a-package-with-a-name-that-is-long
                         x86_64        1:2.0-3.fc38         updates        10 M
     replacing  older.x86_64 1-1
Installing dependencies:
 shoal-lib               noarch        1-1                  shoal-test    5.9 k
Removing dependent packages:
 gone                    noarch        0:4-1                @shoal-test     0

Transaction Summary
================================================================================
Install  2 Packages
`

func TestParseDnfTable(t *testing.T) {
	after, known := parseDnfTable(dnfTable)
	want := map[string]string{"shoal-leaf": "2-1", "a-package-with-a-name-that-is-long": "1:2.0-3.fc38", "shoal-lib": "1-1", "gone": ""}
	if !known || !reflect.DeepEqual(after, want) {
		t.Errorf("%v, %v", after, known)
	}
	if _, known := parseDnfTable("Error: Unable to find a match: nope\n"); known {
		t.Error("took an error for a table")
	}
	if got := parseVersionlock("# Added lock\nbash-0:5.2.15-1.fc38.*\n!vim-2:9-1.*\nPackage name: acl\n"); !slices.Equal(got, []string{"bash", "acl"}) {
		t.Errorf("held %q", got)
	}
	if db := parseRPM("bash\t0\t5.2-1\tx86_64\ngpg-pubkey\t0\t1-2\t(none)\nvim\t2\t9-1\tnoarch\n"); len(db) != 2 || db["vim"].Version != "2:9-1" {
		t.Errorf("%+v", db)
	}
}

// zypperDry is what zypper 1.14 writes.
const zypperDry = `<?xml version='1.0'?>
<stream>
<message type="info">Resolving package dependencies...</message>
<install-summary download-size="11026" space-usage-diff="0" packages-to-change="2">
<to-upgrade>
<solvable type="package" name="leaf" edition="2-1" arch="noarch" edition-old="1-1" arch-old="noarch" summary="t">
<description>t</description></solvable>
</to-upgrade>
<to-remove>
<solvable type="package" name="lib" edition="1-1" arch="noarch" summary="t"/>
</to-remove>
</install-summary>
</stream>
`

func TestZypperSummary(t *testing.T) {
	answer, err := parseZypper(zypperDry)
	if after := zypperAfter(answer); err != nil || !reflect.DeepEqual(after, map[string]string{"leaf": "2-1", "lib": ""}) {
		t.Errorf("%v, %v", after, err)
	}
	if _, err := parseZypper("no xml"); err == nil {
		t.Error("read what is no XML")
	}
}

func TestNamesThatToolsWouldMistake(t *testing.T) {
	for _, name := range []string{"", "-y", "a b", "a*", "../x", "a;b", "!a", "a=1"} {
		if checkNames(nil, []string{name}) == nil {
			t.Errorf("takes the name %q", name)
		}
	}
	if checkNames([]executor.Package{{Name: "a", Version: "1 2"}}, nil) == nil {
		t.Error("takes a version of two words")
	}
	if _, err := (database{"a": {Name: "a", Version: "1", Hold: true}}).changes(map[string]string{"a": "2"}, nil, nil); err == nil {
		t.Error("would change what is held")
	}
}
