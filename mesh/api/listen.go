package api

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Network splits an address of the command line into what net wants: unix:PATH, a plain path, or HOST:PORT.
func Network(addr string) (network, address string) {
	switch {
	case strings.HasPrefix(addr, "unix:"):
		return "unix", strings.TrimPrefix(addr, "unix:")
	case strings.Contains(addr, "/") || !strings.Contains(addr, ":"):
		return "unix", addr
	}
	return "tcp", addr
}

// Listen opens addr. A Unix socket is for its owner and group; TCP without TLS is for loopback addresses, or tokens would be read on
// the way. secured is what Serve is then given.
func Listen(addr string, secured *tls.Config) (net.Listener, error) {
	network, address := Network(addr)
	if network == "tcp" {
		if secured != nil {
			return net.Listen(network, address)
		}
		if err := loopbackOnly(address); err != nil {
			return nil, err
		}
		return net.Listen(network, address)
	}
	if err := removeStale(address); err != nil {
		return nil, err
	}
	old := syscall.Umask(0o117)
	l, err := net.Listen(network, address)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}

// ServerTLS is for Serve on TCP: the node's certificate and key, and the certificates of those who sign for clients; all PEM, and
// clients may be empty: then a token is the only way in.
func ServerTLS(cert, key, clients []byte) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("certificate of the api: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}}
	if len(clients) > 0 {
		config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
		if !config.ClientCAs.AppendCertsFromPEM(clients) {
			return nil, errors.New("certificates of the api's clients: there is none in the file")
		}
	}
	return config, nil
}

// maxConns bounds the connections of one listener; who comes on top waits.
const maxConns = 256

// fewListener accepts only so many connections at a time.
type fewListener struct {
	net.Listener
	room   chan struct{}
	closed chan struct{}
	once   sync.Once
}

func few(l net.Listener) *fewListener {
	return &fewListener{Listener: l, room: make(chan struct{}, maxConns), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *fewListener) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &fewConn{Conn: c, leave: func() { <-l.room }}, nil
}

// Close implements net.Listener.
func (l *fewListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type fewConn struct {
	net.Conn
	once  sync.Once
	leave func()
}

// Close implements net.Conn.
func (c *fewConn) Close() error {
	c.once.Do(c.leave)
	return c.Conn.Close()
}

func loopbackOnly(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("api address %q: %w", address, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("api address %q: without a certificate TCP is for loopback addresses only; name one with --api-cert, or use the Unix socket and forward it with ssh -L", address)
	}
	return nil
}

// removeStale deletes a socket that nobody answers on, as a killed agent leaves it.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("listen on %s: something that is no socket is there", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
		return fmt.Errorf("listen on %s: another agent answers there", path)
	}
	return os.Remove(path)
}
