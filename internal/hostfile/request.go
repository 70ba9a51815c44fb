package hostfile

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"shoal/executor"
	"shoal/states"
)

// FetchParams are the parameters of what is fetched.
func FetchParams(required bool) []states.Param {
	return []states.Param{
		{Name: "url", Type: states.String, Required: required, Doc: "where it is, http or https; proxies are those of shoal's environment"},
		{Name: "sha256", Type: states.String, Required: required, Doc: "hash of its bytes, in hexadecimal; nothing else is taken"},
		{Name: "headers", Type: states.Map, Doc: "headers of the request, such as Authorization"},
	}
}

// RequestOf reads FetchParams; limit is the most bytes it may have.
func RequestOf(p executor.Params, limit int64) (*executor.Request, error) {
	hash, err := ParseHash(p.String("sha256"))
	if err != nil {
		return nil, err
	}
	r := &executor.Request{URL: p.String("url"), Hash: hash, Limit: limit}
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("url: must begin with http:// or https:// and a host")
	}
	headers, _ := p["headers"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		value := fmt.Sprint(headers[name])
		if name == "" || strings.ContainsAny(name, ": \t\r\n") || strings.ContainsAny(value, "\r\n") {
			return nil, fmt.Errorf("headers: %q is no header", name)
		}
		if r.Headers == nil {
			r.Headers = map[string]string{}
		}
		r.Headers[name] = value
	}
	return r, nil
}

// ParseHash reads 64 hexadecimal digits, with or without "sha256:" before them.
func ParseHash(text string) (string, error) {
	digits := strings.ToLower(strings.TrimPrefix(text, "sha256:"))
	if len(digits) != 64 || strings.Trim(digits, "0123456789abcdef") != "" {
		return "", fmt.Errorf("sha256: %q is not 64 hexadecimal digits", text)
	}
	return "sha256:" + digits, nil
}
