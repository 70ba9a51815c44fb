package timer

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"shoal/executor"
)

// mark is the first line of what is made, by which absent knows the service that belongs to a timer.
const mark = "# kept by shoal: timer.present\n"

var unitName = regexp.MustCompile(`^[A-Za-z0-9:_.@-]{1,200}$`)

// unitFiles writes the timer and the service that it starts; no service where unit: names another.
func unitFiles(p executor.Params) (timer, service string, err error) {
	name := p.String("name")
	if !unitName.MatchString(name) || strings.HasSuffix(name, ".timer") || strings.HasSuffix(name, ".service") {
		return "", "", fmt.Errorf("name: %q is not the name of a timer without its ending", name)
	}
	description := p.String("description")
	if description == "" {
		description = name
	}
	if timer, err = timerFile(p, description); err != nil {
		return "", "", err
	}
	command, err := commandLine(p)
	if err != nil {
		return "", "", err
	}
	if unit := p.String("unit"); unit != "" {
		if command != "" {
			return "", "", errors.New("unit excludes command, argv and shell")
		}
		return timer, "", nil
	}
	if command == "" {
		return "", "", errors.New("needs one of command, argv, shell and unit")
	}
	service, err = serviceFile(p, description, command)
	return timer, service, err
}

// section writes one section of a unit file, and refuses what would not stay on its line.
type section struct {
	b   strings.Builder
	err error
}

func (s *section) heading(name string) { fmt.Fprintf(&s.b, "\n[%s]\n", name) }

func (s *section) set(key, value string) {
	if value == "" {
		return
	}
	if strings.ContainsAny(value, "\n\r\x00") || strings.HasSuffix(value, `\`) {
		s.err = fmt.Errorf("%s: is not of one line", key)
	}
	fmt.Fprintf(&s.b, "%s=%s\n", key, value)
}

func timerFile(p executor.Params, description string) (string, error) {
	var s section
	s.b.WriteString(mark + "[Unit]\n")
	s.set("Description", strings.ReplaceAll(description, "%", "%%"))
	s.heading("Timer")
	whens := 0
	calendars, err := calendarsOf(p)
	if err != nil {
		return "", err
	}
	for _, when := range calendars {
		s.set("OnCalendar", when)
		whens++
	}
	for _, when := range [][2]string{{"on_boot", "OnBootSec"}, {"on_active", "OnActiveSec"}, {"on_unit_active", "OnUnitActiveSec"}, {"on_unit_inactive", "OnUnitInactiveSec"}} {
		if v := p.String(when[0]); v != "" {
			s.set(when[1], v)
			whens++
		}
	}
	if whens == 0 {
		return "", errors.New("needs one of on_calendar, on_boot, on_active, on_unit_active and on_unit_inactive")
	}
	s.set("RandomizedDelaySec", p.String("randomized_delay"))
	s.set("AccuracySec", p.String("accuracy"))
	if persistent, _ := p.Bool("persistent"); persistent {
		s.set("Persistent", "true")
	}
	if unit := p.String("unit"); unit != "" {
		s.set("Unit", executor.UnitName(unit))
	}
	s.heading("Install")
	s.set("WantedBy", "timers.target")
	return s.b.String(), s.err
}

func calendarsOf(p executor.Params) ([]string, error) {
	switch v := p["on_calendar"].(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		var all []string
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, errors.New("on_calendar: must be a string or a list of them")
			}
			all = append(all, s)
		}
		return all, nil
	}
	return nil, errors.New("on_calendar: must be a string or a list of them")
}

func serviceFile(p executor.Params, description, command string) (string, error) {
	var s section
	s.b.WriteString(mark + "[Unit]\n")
	s.set("Description", strings.ReplaceAll(description, "%", "%%"))
	s.heading("Service")
	s.set("Type", "oneshot")
	s.set("User", p.String("user"))
	s.set("Group", p.String("group"))
	s.set("WorkingDirectory", strings.ReplaceAll(p.String("cwd"), "%", "%%"))
	env, _ := p["env"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if name == "" || strings.ContainsAny(name, "= \t\n\"") {
			return "", fmt.Errorf("env: %q is no name of a variable", name)
		}
		s.set("Environment", strings.ReplaceAll(quote(name+"="+fmt.Sprint(env[name])), "$$", "$"))
	}
	s.set("ExecStart", command)
	return s.b.String(), s.err
}

// commandLine is ExecStart: a command as systemd reads it, or one made of arguments or of a script.
func commandLine(p executor.Params) (string, error) {
	var given []string
	argv, _ := p.Strings("argv")
	if c := p.String("command"); c != "" {
		given = append(given, c)
	}
	if len(argv) > 0 {
		given = append(given, quoteAll(argv))
	}
	if script := p.String("shell"); script != "" {
		given = append(given, quoteAll([]string{"/bin/sh", "-c", script}))
	}
	switch len(given) {
	case 0:
		return "", nil
	case 1:
		return given[0], nil
	}
	return "", errors.New("command, argv and shell exclude each other")
}

func quoteAll(argv []string) string {
	out := make([]string, len(argv))
	for i, arg := range argv {
		out[i] = quote(arg)
	}
	return strings.Join(out, " ")
}

// quote makes one word of systemd's syntax that stands for itself (systemd.service(5), "Command lines", and systemd.unit(5),
// "Specifiers").
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`, "%", "%%", "$", "$$").Replace(s) + `"`
}
