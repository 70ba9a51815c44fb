package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"shoal/mesh/api"
)

// The API over TCP: a folder of tokens, which the agent reads at each request and does not write, and certificates.

const (
	accessDir  = "access" // in the data folder
	tokensFile = "tokens"
	maxPEM     = 1 << 20
)

// apiTLS is what the files of the configuration hold.
type apiTLS struct{ Cert, Key, Clients []byte }

// socket is where commands of this machine reach the node, whatever else is.
func (c agentConfig) socket() string {
	if network, path := api.Network(c.API); c.API != "" && network == "unix" {
		return path
	}
	return filepath.Join(c.DataDir, "api.sock")
}

// readTLS reads the certificates, which the side that is on the network cannot.
func (c agentConfig) readTLS() (*apiTLS, error) {
	if c.APICert == "" && c.APIKey == "" && c.APIClients == "" {
		return nil, nil
	}
	if network, _ := api.Network(c.API); network != "tcp" || c.APICert == "" || c.APIKey == "" {
		return nil, badInput("--api-cert, --api-key and --api-clients are for --api HOST:PORT, and the first two go together")
	}
	var s apiTLS
	for _, f := range []struct {
		name string
		into *[]byte
	}{{c.APICert, &s.Cert}, {c.APIKey, &s.Key}, {c.APIClients, &s.Clients}} {
		if f.name == "" {
			continue
		}
		data, err := os.ReadFile(f.name)
		if err == nil && len(data) > maxPEM {
			err = fmt.Errorf("%s: %d bytes", f.name, len(data))
		}
		if err != nil {
			return nil, badInput("certificate of the api: %v", err)
		}
		*f.into = data
	}
	_, err := s.config()
	return &s, err
}

func (s *apiTLS) config() (*tls.Config, error) {
	if s == nil {
		return nil, nil
	}
	config, err := api.ServerTLS(s.Cert, s.Key, s.Clients)
	if err != nil {
		return nil, badInput("%v", err)
	}
	return config, nil
}

// openAccess makes the folder of the tokens, which the side that is on the network may read.
func (a *agent) openAccess() (err error) {
	dir := filepath.Join(a.config.DataDir, accessDir)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if a.who.gid != 0 {
		if err := errors.Join(os.Lchown(dir, 0, a.who.gid), os.Chmod(dir, 0o750)); err != nil {
			return err
		}
		if err := readableBelow(dir); err != nil {
			return err
		}
	}
	a.access, err = os.Open(dir)
	if err == nil {
		a.closers = append(a.closers, a.access.Close)
	}
	return err
}

// readableBelow lets the group of the folder read the list of tokens.
func readableBelow(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	path := filepath.Join(dir, tokensFile)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) || !ok || os.Getuid() != 0 {
		return nil
	}
	return errors.Join(os.Lchown(path, 0, int(st.Gid)), os.Chmod(path, 0o640))
}

// openTCP listens beside the socket, where the configuration says so.
func (a *agent) openTCP() error {
	if network, _ := api.Network(a.config.API); network != "tcp" || a.config.API == "" {
		return nil
	}
	config, err := a.secured.config()
	if err != nil {
		return err
	}
	if a.tcp, err = api.Listen(a.config.API, config); err != nil {
		return badInput("%v", err)
	}
	a.closers = append(a.closers, func() error {
		_ = a.tcp.Close() // Serve has closed it, unless the start failed
		return nil
	})
	return nil
}

func (a *agent) serveTCP(ctx context.Context) error {
	config, err := a.secured.config()
	if err != nil {
		return err
	}
	gate := &api.Gate{Tokens: func() ([]api.Token, error) {
		return readTokens(fmt.Sprintf("/proc/self/fd/%d", a.access.Fd()))
	}}
	return api.Serve(ctx, a.tcp, api.NewHandler(backend{a.node, a}, a.log, gate), config)
}

func readTokens(dir string) ([]api.Token, error) {
	data, err := os.ReadFile(filepath.Join(dir, tokensFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return api.ParseTokens(data)
}

// newClient shows a node over TCP what the environment names: SHOAL_TOKEN or SHOAL_TOKEN_FILE; SHOAL_CA, who signs for the node; and
// SHOAL_CERT with SHOAL_CERT_KEY, the caller's own certificate.
func newClient(addr string) *api.Client {
	who, err := credentials()
	if network, _ := api.Network(addr); err != nil && network == "tcp" {
		return api.Refusing(addr, err)
	}
	return api.NewClientWith(addr, who)
}

func credentials() (who api.Credentials, err error) {
	who.Token = os.Getenv("SHOAL_TOKEN")
	if name := os.Getenv("SHOAL_TOKEN_FILE"); name != "" && who.Token == "" {
		data, err := os.ReadFile(name)
		if err != nil {
			return who, fmt.Errorf("SHOAL_TOKEN_FILE: %w", err)
		}
		who.Token = strings.TrimSpace(string(data))
	}
	if strings.ContainsFunc(who.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return who, errors.New("SHOAL_TOKEN or SHOAL_TOKEN_FILE: a token is one word, as shoal token create prints it")
	}
	ca, cert := os.Getenv("SHOAL_CA"), os.Getenv("SHOAL_CERT")
	if ca == "" && cert == "" {
		return who, nil
	}
	who.TLS = &tls.Config{}
	if ca != "" {
		data, err := os.ReadFile(ca)
		if err != nil {
			return who, fmt.Errorf("SHOAL_CA: %w", err)
		}
		if who.TLS.RootCAs = x509.NewCertPool(); !who.TLS.RootCAs.AppendCertsFromPEM(data) {
			return who, errors.New("SHOAL_CA: there is no certificate in it")
		}
	}
	if cert != "" {
		own, err := tls.LoadX509KeyPair(cert, os.Getenv("SHOAL_CERT_KEY"))
		if err != nil {
			return who, fmt.Errorf("SHOAL_CERT: %w", err)
		}
		who.TLS.Certificates = []tls.Certificate{own}
	}
	return who, nil
}
