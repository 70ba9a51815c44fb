package user

import (
	"fmt"
	"slices"
	"strings"

	"shoal/executor"
)

// rowDiff says what differs, one field a line; empty when the rows are equal.
func rowDiff(old, want executor.User, existed bool, p executor.Params) string {
	var b strings.Builder
	line := func(field string, from, to any) {
		if from != to {
			fmt.Fprintf(&b, "%s: %v -> %v\n", field, from, to)
		}
	}
	if !existed {
		fmt.Fprintf(&b, "user %s: absent -> present\n", want.Name)
		old = executor.User{}
	}
	line("uid", old.UID, want.UID)
	line("gid", old.GID, want.GID)
	if name := p.String("group"); name != "" && (!existed || old.GID != want.GID) {
		fmt.Fprintf(&b, "group: %s\n", name)
	}
	line("gecos", old.Gecos, want.Gecos)
	line("home", old.Home, want.Home)
	line("shell", old.Shell, want.Shell)
	if !slices.Equal(old.Groups, want.Groups) {
		line("groups", strings.Join(old.Groups, ","), strings.Join(want.Groups, ","))
	}
	return b.String()
}
