package sshdial

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kevinburke/ssh_config"
)

// maxConfig is the most bytes that a configuration file may have.
const maxConfig = 4 << 20

// Config is what ssh_config(5) says: the user's file, then the system's. The first value counts.
type Config struct {
	files []*ssh_config.Config
	home  string
	user  string
}

// LoadConfig reads the file that is named, which must be there, or the two that ssh(1) reads.
func LoadConfig(file string) (*Config, error) {
	c := &Config{}
	var err error
	if c.home, err = os.UserHomeDir(); err != nil {
		return nil, fmt.Errorf("ssh configuration: %w", err)
	}
	if u, err := user.Current(); err == nil {
		c.user = u.Username
	}
	if file != "" {
		return c, c.load(file, true)
	}
	return c, errors.Join(c.load(filepath.Join(c.home, ".ssh", "config"), false), c.load("/etc/ssh/ssh_config", false))
}

func (c *Config) load(file string, wanted bool) error {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) && !wanted {
		return nil
	}
	if err == nil && info.Size() > maxConfig {
		err = fmt.Errorf("it has more than %d bytes", maxConfig)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(file)
	}
	var parsed *ssh_config.Config
	if err == nil {
		parsed, err = ssh_config.DecodeBytes(data)
	}
	if err != nil {
		return fmt.Errorf("ssh configuration %s: %w", file, err)
	}
	c.files = append(c.files, parsed)
	return nil
}

func (c *Config) all(alias, key string) ([]string, error) {
	var values []string
	for _, f := range c.files {
		more, err := f.GetAll(alias, key)
		if err != nil {
			return nil, fmt.Errorf("ssh configuration of %s: %w", alias, err)
		}
		values = append(values, more...)
	}
	return values, nil
}

// hop is one machine on the way, with all that is known of it.
type hop struct {
	alias      string // as it was written
	host       string
	port       int
	user       string
	identities []string
	// chosen: the configuration names the keys; identitiesOnly: no others may be shown.
	chosen, identitiesOnly bool
	known                  []string // files of known keys
	keyAlias               string   // the name that known_hosts has it under
	jump                   []Target
}

func (h hop) addr() string { return net.JoinHostPort(h.host, strconv.Itoa(h.port)) }

// knownAs is the name under which its key is looked up.
func (h hop) knownAs() string {
	if h.keyAlias != "" {
		return net.JoinHostPort(h.keyAlias, "22")
	}
	return h.addr()
}

// The keys and files that ssh(1) tries where the configuration names none.
var (
	defaultIdentities = []string{"~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"}
	defaultKnown      = []string{"~/.ssh/known_hosts", "~/.ssh/known_hosts2"}
	globalKnown       = []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}
)

// hop looks a target up.
func (c *Config) hop(t Target) (hop, error) {
	h := hop{alias: t.Host, host: t.Host, port: t.Port, user: t.User}
	var errs []error
	values := func(key string) []string {
		all, err := c.all(t.Host, key)
		errs = append(errs, err)
		return all
	}
	first := func(key string) string {
		if all := values(key); len(all) > 0 {
			return all[0]
		}
		return ""
	}
	if name := first("HostName"); name != "" {
		h.host = strings.NewReplacer("%%", "%", "%h", t.Host).Replace(name)
	}
	if port := first("Port"); h.port == 0 && port != "" {
		var err error
		h.port, err = parsePort(port)
		errs = append(errs, err)
	}
	if h.port == 0 {
		h.port = 22
	}
	if h.user == "" {
		h.user = first("User")
	}
	if h.user == "" {
		h.user = c.user
	}
	h.keyAlias = first("HostKeyAlias")
	h.identities = values("IdentityFile")
	h.chosen = len(h.identities) > 0
	h.identitiesOnly = strings.EqualFold(first("IdentitiesOnly"), "yes")
	if !h.chosen {
		h.identities = defaultIdentities
	}
	known := strings.Fields(first("UserKnownHostsFile"))
	if len(known) == 0 {
		known = defaultKnown
	}
	global := strings.Fields(first("GlobalKnownHostsFile"))
	if len(global) == 0 {
		global = globalKnown
	}
	h.known = c.expand(append(append([]string{}, known...), global...), h)
	h.identities = c.expand(h.identities, h)
	errs = append(errs, h.setJump(first("ProxyJump"), first("ProxyCommand")))
	if err := errors.Join(errs...); err != nil {
		return hop{}, fmt.Errorf("%s: %w", t, err)
	}
	return h, nil
}

func (h *hop) setJump(jump, command string) error {
	none := func(s string) bool { return s == "" || strings.EqualFold(s, "none") }
	if none(jump) {
		if !none(command) {
			return errors.New("the ssh configuration has a ProxyCommand, which is not used here: write it as ProxyJump")
		}
		return nil
	}
	for _, one := range strings.Split(jump, ",") {
		t, err := ParseTarget(strings.TrimSpace(one))
		if err != nil {
			return fmt.Errorf("ProxyJump: %w", err)
		}
		h.jump = append(h.jump, t)
	}
	return nil
}

// expand replaces what ssh_config(5) lets stand in the names of files (TOKENS), as far as it makes sense here.
func (c *Config) expand(files []string, h hop) []string {
	tokens := strings.NewReplacer("%%", "%", "%d", c.home, "%h", h.host, "%n", h.alias, "%r", h.user, "%u", c.user, "%p", strconv.Itoa(h.port))
	out := make([]string, 0, len(files))
	for _, f := range files {
		f = tokens.Replace(strings.Trim(f, `"`))
		if rest, ok := strings.CutPrefix(f, "~/"); ok {
			f = filepath.Join(c.home, rest)
		}
		out = append(out, f)
	}
	return out
}
