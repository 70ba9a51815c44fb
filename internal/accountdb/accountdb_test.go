package accountdb

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"shoal/executor"
)

func TestFreeID(t *testing.T) {
	all := map[uint32]bool{}
	for id := uint32(firstSystemID); id <= lastUserID; id++ {
		all[id] = true
	}
	for _, system := range []bool{true, false} {
		if id, err := freeID(system, all); err == nil {
			t.Errorf("found %d", id)
		}
	}
	delete(all, 1500)
	if id, err := freeID(false, all); err != nil || id != 1500 {
		t.Errorf("the only free one: %d, %v", id, err)
	}
	if id, err := freeID(false, map[uint32]bool{1000: true, 65534: true}, map[uint32]bool{1001: true}); err != nil || id != 1002 {
		t.Errorf("the next: %d, %v", id, err)
	}
}

func FuzzPasswd(f *testing.F) {
	for _, text := range []string{
		"root:x:0:0:root:/root:/bin/bash\n# local\nbroken line\nann:x:1000:1000:Ann,,,:/home/ann:/bin/bash\n+::::::\n",
		"root:x:0:\nsudo:x:27:ann\n+:::\n", "root:*:19000:0:99999:7:::\nann:$y$secret:19000:0:99999:7:::\n", "sudo:*::ann\nann:!::\n",
	} {
		f.Add([]byte(text), "bob")
	}
	f.Add([]byte("::::\n\n+"), "x")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		r := parseRows(data)
		if again := parseRows(r.bytes()); !slices.Equal(r, again) && len(data) > 1 {
			t.Fatalf("%q reads back as %q", r, again)
		}
		newAccountIndex(r, r, r, r)
		if checkName(name) != nil {
			return
		}
		d := accountTables{passwd: r, group: r, shadow: r, gshadow: r, hasShadow: true, hasGshadow: true}
		u := executor.User{Name: name, UID: 77, GID: 88, Gecos: "g", Home: "/h", Shell: "/s"}
		if err := d.putUser(u); err != nil {
			return
		}
		got, ok := d.index().users[name]
		if u.GID = got.GID; !ok || got.UID != 77 || got.Home != "/h" || got.Shell != "/s" {
			t.Fatalf("put %+v into %q, found %+v", u, data, got)
		}
		for _, line := range r {
			if !strings.HasPrefix(line, name+":") && !bytes.Contains(d.passwd.bytes(), []byte(line)) {
				t.Fatalf("lost the line %q", line)
			}
		}
	})
}
