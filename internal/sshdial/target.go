package sshdial

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Target is a machine as a person writes it: [USER@]HOST[:PORT] or ssh://[USER@]HOST[:PORT]. What is left out comes from the
// configuration.
type Target struct {
	User string
	Host string // a name of the configuration, a name of the network, or an address
	Port int    // 0: not said
}

// ParseTarget reads a target. Nothing in it can be taken for an option.
func ParseTarget(s string) (Target, error) {
	t, err := parseTarget(strings.TrimSuffix(strings.TrimPrefix(s, "ssh://"), "/"))
	if err != nil {
		return Target{}, fmt.Errorf("%q is not [user@]host[:port]: %w", s, err)
	}
	return t, nil
}

func parseTarget(s string) (t Target, err error) {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		t.User, s = s[:at], s[at+1:]
		if t.User == "" {
			return t, errors.New("the user is empty")
		}
	}
	t.Host = s
	if strings.HasPrefix(s, "[") || strings.Count(s, ":") == 1 {
		host, port, err := net.SplitHostPort(s)
		if err != nil {
			return t, err
		}
		if t.Port, err = parsePort(port); err != nil {
			return t, err
		}
		t.Host = host
	}
	switch {
	case t.Host == "":
		return t, errors.New("the host is empty")
	case strings.HasPrefix(t.Host, "-"), strings.HasPrefix(t.User, "-"):
		return t, errors.New("it begins with a dash")
	case strings.ContainsAny(t.User+t.Host, " \t\r\n\x00/'\"`$\\"):
		return t, errors.New("it holds a character that no name has")
	}
	return t, nil
}

func parsePort(s string) (int, error) {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%q is no port", s)
	}
	return int(port), nil
}

// String is the target as it can be parsed again.
func (t Target) String() string {
	host := t.Host
	switch {
	case t.Port != 0:
		host = net.JoinHostPort(t.Host, strconv.Itoa(t.Port))
	case strings.Contains(host, ":"):
		host = net.JoinHostPort(host, "22")
	}
	if t.User != "" {
		return t.User + "@" + host
	}
	return host
}
