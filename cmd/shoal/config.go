package main

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

const (
	defaultDataDir = "/var/lib/shoal"
	defaultBind    = "0.0.0.0:7946"
)

// agentConfig is the agent's configuration file, and its flags: a flag given on the command line wins. The annotated
// sample is docs/agent.yaml.
type agentConfig struct {
	Name    string            `yaml:"name"`
	DataDir string            `yaml:"data_dir"`
	Bind    string            `yaml:"bind"`
	Join    []string          `yaml:"join"`
	Ticket  string            `yaml:"ticket"`
	Tags    map[string]string `yaml:"tags"`
	Zone    string            `yaml:"zone"`
	Root    string            `yaml:"root"`
	API     string            `yaml:"api"`
	Store   string            `yaml:"store"`
	Ring    string            `yaml:"ring"`
	// User is whom the side that is on the network runs as, where the agent is root; OneProcess: nobody else.
	User       string `yaml:"user"`
	OneProcess bool   `yaml:"one_process"`
	// APIGroup may open the socket, beside root.
	APIGroup string `yaml:"api_group"`
	// Files of the API over TCP, beside the tokens: the node's certificate and key, and who signs the certificates of clients.
	APICert    string `yaml:"api_cert"`
	APIKey     string `yaml:"api_key"`
	APIClients string `yaml:"api_clients"`
	// CheckEvery is the time between full checks when nothing happens, jittered.
	CheckEvery time.Duration `yaml:"check_every"`
	// ConfirmWithin is how long a change of this machine may keep it from its mesh before it is rolled back.
	ConfirmWithin time.Duration `yaml:"confirm_within"`
}

// loadConfig reads the file; every key that it does not know is an error with its place.
func loadConfig(path string) (agentConfig, error) {
	var c agentConfig
	if path == "" {
		return c, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return c, badInput("%v", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict())
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) { // EOF: nothing but comments
		return c, badInput("%s: %s", path, yaml.FormatError(err, false, true))
	}
	return c, nil
}

// overruled returns the configuration with what the flags give in its place.
func (c agentConfig) overruled(flags agentConfig) agentConfig {
	for _, f := range []struct{ mine, given *string }{
		{&c.Name, &flags.Name}, {&c.DataDir, &flags.DataDir}, {&c.Bind, &flags.Bind}, {&c.Ticket, &flags.Ticket}, {&c.Zone, &flags.Zone},
		{&c.Root, &flags.Root}, {&c.API, &flags.API}, {&c.Store, &flags.Store}, {&c.Ring, &flags.Ring},
		{&c.User, &flags.User}, {&c.APIGroup, &flags.APIGroup},
		{&c.APICert, &flags.APICert}, {&c.APIKey, &flags.APIKey}, {&c.APIClients, &flags.APIClients},
	} {
		if *f.given != "" {
			*f.mine = *f.given
		}
	}
	c.OneProcess = c.OneProcess || flags.OneProcess
	if len(flags.Join) > 0 {
		c.Join = flags.Join
	}
	if len(flags.Tags) > 0 {
		c.Tags = flags.Tags
	}
	return c
}

// complete fills in the defaults and refuses what cannot be meant.
func (c agentConfig) complete() (agentConfig, error) {
	if c.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return c, badInput("--name is needed: %v", err)
		}
		c.Name = host
	}
	for _, path := range []*string{&c.Root, &c.DataDir} {
		if *path == "" {
			continue
		}
		full, err := filepath.Abs(*path)
		if err != nil {
			return c, err
		}
		*path = full
	}
	c.DataDir = dataDir(c.DataDir, c.Root)
	if c.Bind == "" {
		c.Bind = defaultBind
	}
	if c.CheckEvery == 0 {
		c.CheckEvery = 5 * time.Minute
	}
	if c.CheckEvery < time.Second {
		return c, badInput("check_every: %s is too often; one second at least", c.CheckEvery)
	}
	if c.ConfirmWithin == 0 {
		c.ConfirmWithin = time.Minute
	}
	if c.ConfirmWithin < time.Second {
		return c, badInput("confirm_within: %s is too short; one second at least", c.ConfirmWithin)
	}
	if c.Ring == "" {
		c.Ring = "token"
	}
	if err := oneOf("--ring", c.Ring, "token", "circular"); err != nil {
		return c, err
	}
	if c.Store != "" { // empty: replicated in a mesh, disk without one
		return c, oneOf("--store", c.Store, "memory", "disk", "replicated")
	}
	return c, nil
}

func oneOf(flag, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return badInput("%s %s: it is one of %s", flag, value, strings.Join(allowed, ", "))
}

// dataDir is where a node's key, store, journal and ledger are: below the root where one is given.
func dataDir(flag, root string) string {
	if flag != "" {
		return flag
	}
	return filepath.Join(cmp.Or(root, "/"), defaultDataDir)
}

// readTicket takes the text itself, or @FILE.
func readTicket(flag string) (string, error) {
	if flag == "" || flag[0] != '@' {
		return flag, nil
	}
	data, err := os.ReadFile(flag[1:])
	if err != nil {
		return "", badInput("ticket: %v", err)
	}
	text := string(bytes.TrimSpace(data))
	if text == "" {
		return "", badInput("ticket: %s is empty", flag[1:])
	}
	return text, nil
}
