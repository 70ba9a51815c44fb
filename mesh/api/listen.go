package api

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
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

// Listen opens addr. A Unix socket is for its owner and group; TCP is for loopback addresses, since it asks nobody
// for a key.
func Listen(addr string) (net.Listener, error) {
	network, address := Network(addr)
	if network == "tcp" {
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

func loopbackOnly(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("api address %q: %w", address, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("api address %q: TCP is for loopback addresses only; use the Unix socket, or forward it with ssh -L", address)
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
