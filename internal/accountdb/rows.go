package accountdb

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"shoal/executor"
)

// rows is one of the files passwd, group, shadow and gshadow: a row a line, fields divided by colons, the first its name.
// Lines that are no rows (comments, what NIS adds) and rows that make no sense are kept as they are.
type rows []string

func parseRows(data []byte) rows {
	if len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

func (r rows) bytes() []byte {
	if len(r) == 0 {
		return nil
	}
	return []byte(strings.Join(r, "\n") + "\n")
}

// index is where the first row of that name is, as the C library looks it up; -1: nowhere.
func (r rows) index(name string) int {
	return slices.IndexFunc(r, func(line string) bool { return strings.HasPrefix(line, name+":") })
}

// fields of a row, at least n of them; nil when there is none of that name.
func (r rows) fields(name string, n int) []string {
	i := r.index(name)
	if i < 0 {
		return nil
	}
	return pad(strings.Split(r[i], ":"), n)
}

func pad(fields []string, n int) []string {
	for len(fields) < n {
		fields = append(fields, "")
	}
	return fields
}

// put replaces the row of that name, or adds one below the row after; where that is not there, before the first line of NIS,
// which ends the local rows.
func (r rows) put(fields []string, after string) rows {
	line := strings.Join(fields, ":")
	if i := r.index(fields[0]); i >= 0 {
		changed := slices.Clone(r)
		changed[i] = line
		return changed
	}
	end := slices.IndexFunc(r, func(line string) bool { return strings.HasPrefix(line, "+") })
	if end < 0 {
		end = len(r)
	}
	if above := r.index(after); after != "" && above >= 0 {
		end = above + 1
	}
	return slices.Insert(slices.Clone(r), end, line)
}

// remove takes out all rows of that name.
func (r rows) remove(name string) rows {
	return slices.DeleteFunc(slices.Clone(r), func(line string) bool { return strings.HasPrefix(line, name+":") })
}

// setMember puts a user into the member list of each group in which it is to be, and takes it out of the others. list is
// the field of the members.
func (r rows) setMember(user string, groups []string, list int) rows {
	changed := slices.Clone(r)
	for i, line := range changed {
		fields := strings.Split(line, ":")
		if len(fields) <= list {
			continue
		}
		members := splitList(fields[list])
		wanted := slices.Contains(groups, fields[0])
		if slices.Contains(members, user) == wanted {
			continue
		}
		members = slices.DeleteFunc(members, func(m string) bool { return m == user })
		if wanted {
			members = append(members, user)
		}
		fields[list] = strings.Join(members, ",")
		changed[i] = strings.Join(fields, ":")
	}
	return changed
}

func splitList(s string) []string {
	return slices.DeleteFunc(strings.Split(s, ","), func(m string) bool { return m == "" })
}

// The fields of the files that are changed here.
const (
	passwdFields, passwdPassword                                                  = 7, 1
	passwdUID, passwdGID, passwdGecos, passwdHome, passwdShell                    = 2, 3, 4, 5, 6
	groupFields, groupGID, groupMembers                                           = 4, 2, 3
	shadowFields, shadowPassword, shadowChanged, shadowMin, shadowMax, shadowWarn = 9, 1, 2, 3, 4, 5
	gshadowFields, gshadowAdmins, gshadowMembers                                  = 4, 2, 3
)

// users by name. Of two rows with one name the first counts.
func (r rows) users() map[string]executor.User {
	users := map[string]executor.User{}
	above := ""
	for _, line := range r {
		f := strings.Split(line, ":")
		if len(f) < passwdFields || !isRowName(f[0]) {
			continue
		}
		uid, okUID := parseID(f[passwdUID])
		gid, okGID := parseID(f[passwdGID])
		if _, again := users[f[0]]; again || !okUID || !okGID {
			continue
		}
		users[f[0]] = executor.User{
			Name: f[0], UID: uid, GID: gid, Gecos: f[passwdGecos], Home: f[passwdHome], Shell: f[passwdShell], System: isSystemID(uid),
			After: above,
		}
		above = f[0]
	}
	return users
}

// passwords are the rows of shadow or gshadow, of so many fields, without their names. Of two rows with one name the first
// counts.
func (r rows) passwords(fields int) map[string]string {
	rest := map[string]string{}
	for _, line := range r {
		name, values, ok := strings.Cut(line, ":")
		if _, again := rest[name]; ok && !again && strings.Count(values, ":") == fields-2 {
			rest[name] = values
		}
	}
	return rest
}

// groups in the order of the file. Of two rows with one name the first counts.
func (r rows) groups() []executor.Group {
	var groups []executor.Group
	seen, above := map[string]bool{}, ""
	for _, line := range r {
		f := strings.Split(line, ":")
		if len(f) < groupFields || !isRowName(f[0]) || seen[f[0]] {
			continue
		}
		gid, ok := parseID(f[groupGID])
		if !ok {
			continue
		}
		seen[f[0]] = true
		members := splitList(f[groupMembers])
		if len(members) == 0 {
			members = nil
		}
		groups = append(groups, executor.Group{Name: f[0], GID: gid, Members: members, System: isSystemID(gid), After: above})
		above = f[0]
	}
	return groups
}

func isRowName(s string) bool { return s != "" && s[0] != '+' && s[0] != '-' && s[0] != '#' }

func parseID(s string) (uint32, bool) {
	id, err := strconv.ParseUint(s, 10, 32)
	return uint32(id), err == nil
}

func isSystemID(id uint32) bool { return id < firstUserID }

// names that every tool of the system takes: what useradd allows, and capitals.
var accountName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,30}[A-Za-z0-9_.$-]?$`)

func checkName(name string) error {
	if !accountName.MatchString(name) {
		return fmt.Errorf("%q is not a name for a user or a group", name)
	}
	return nil
}

// checkGroup refuses what would break out of its field.
func checkGroup(g executor.Group) error {
	if err := checkName(g.Name); err != nil {
		return err
	}
	if g.Shadow != "" && (strings.Count(g.Shadow, ":") != gshadowFields-3 || strings.ContainsAny(g.Shadow, "\n\r\x00")) {
		return errors.New("what was kept of the password is no row of gshadow")
	}
	return nil
}

// checkUser refuses what would break out of its field.
func checkUser(u executor.User) error {
	if err := checkName(u.Name); err != nil {
		return err
	}
	if strings.ContainsAny(u.Shadow, "\n\r\x00") {
		return errors.New("what was kept of the password holds a line break")
	}
	for field, value := range map[string]string{"gecos": u.Gecos, "home": u.Home, "shell": u.Shell} {
		if strings.ContainsAny(value, ":\n\r\x00") {
			return fmt.Errorf("%s %q holds a colon or a line break", field, value)
		}
	}
	if u.Shadow != "" && strings.Count(u.Shadow, ":") != shadowFields-2 {
		return errors.New("what was kept of the password is no row of shadow")
	}
	if u.Home != "" && !strings.HasPrefix(u.Home, "/") {
		return errors.New("home is not an absolute path")
	}
	return nil
}
