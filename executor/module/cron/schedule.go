package cron

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"shoal/executor"
)

// field is one of the five of a crontab line (crontab(5)).
type field struct {
	name     string
	min, max int
	names    []string // of the values from min on
}

var fields = []field{
	{"minute", 0, 59, nil}, {"hour", 0, 23, nil}, {"day", 1, 31, nil},
	{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{"weekday", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

var specials = []string{"@reboot", "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}

// scheduleOf reads schedule, or the five parameters that stand for it.
func scheduleOf(p executor.Params) (string, error) {
	parts, apart := make([]string, len(fields)), false
	for i, f := range fields {
		if parts[i] = p.String(f.name); parts[i] == "" {
			parts[i] = "*"
		} else {
			apart = true
		}
	}
	if whole := p.String("schedule"); whole != "" {
		if apart {
			return "", errors.New("schedule and its single fields exclude each other")
		}
		if slices.Contains(specials, whole) {
			return whole, nil
		}
		if parts = strings.Fields(whole); len(parts) != len(fields) {
			return "", fmt.Errorf("schedule: %q has not five fields, and is none of %s", whole, strings.Join(specials, ", "))
		}
	} else if !apart {
		return "", errors.New("needs a schedule")
	}
	for i, f := range fields {
		if err := f.check(parts[i]); err != nil {
			return "", err
		}
	}
	return strings.Join(parts, " "), nil
}

// check reads a list of values, ranges and steps.
func (f field) check(text string) error {
	for _, item := range strings.Split(text, ",") {
		span, step, stepped := strings.Cut(item, "/")
		if n, err := strconv.Atoi(step); stepped && (err != nil || n < 1 || n > f.max) {
			return fmt.Errorf("%s: %q is no step", f.name, step)
		}
		if span == "*" {
			continue
		}
		from, to, ranged := strings.Cut(span, "-")
		first, err := f.value(from)
		if err != nil {
			return err
		}
		if !ranged {
			continue
		}
		last, err := f.value(to)
		if err != nil {
			return err
		}
		if last < first {
			return fmt.Errorf("%s: the range %q ends before it begins", f.name, span)
		}
	}
	return nil
}

func (f field) value(text string) (int, error) {
	if i := slices.Index(f.names, strings.ToLower(text)); i >= 0 {
		return f.min + i, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < f.min || n > f.max {
		return 0, fmt.Errorf("%s: %q is not in %d to %d", f.name, text, f.min, f.max)
	}
	return n, nil
}
