// Package sshdtest runs a real sshd for tests: a process on a loopback address with keys, configuration and, as root, a mount
// namespace of its own, which ends with the test.
package sshdtest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// patience is how long an sshd may take to answer.
const patience = 20 * time.Second

// Options of a Server.
type Options struct {
	// Setup is a script of the shell that runs as root in a mount namespace of the server's own, before the server.
	Setup string
	// Config is added to sshd_config.
	Config string
	// Home is the folder that holds ~/.ssh of this side; empty: one is made. Servers that share one know the same keys.
	Home string
}

// Server is a running sshd.
type Server struct {
	Host string // 127.0.0.1
	Port int
	// Home is what HOME has to be on this side: its .ssh holds a key that the server takes, and knows the server's.
	Home string
	// Dir holds the server's own files; its Authorized is a list of keys.
	Dir     string
	HostKey ssh.PublicKey
	cmd     *exec.Cmd
	log     *bytes.Buffer
	ended   chan struct{}
}

// Need skips the test where there is no sshd, loudly.
func Need(t testing.TB, tools ...string) {
	t.Helper()
	for _, tool := range append([]string{"/usr/sbin/sshd"}, tools...) {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NOT TESTED: no %s on this machine (make prepare installs it)", tool)
		}
	}
}

// Start runs a server until the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	Need(t)
	if o.Setup != "" && os.Geteuid() != 0 {
		t.Skip("NOT TESTED: a server with a mount namespace of its own needs root")
	}
	s := &Server{Host: "127.0.0.1", Home: o.Home, Dir: t.TempDir(), log: &bytes.Buffer{}}
	if s.Home == "" {
		s.Home = t.TempDir()
	}
	var err error
	if s.HostKey, err = WriteKey(filepath.Join(s.Dir, "host_key"), ""); err != nil {
		t.Fatal(err)
	}
	// A server reads the keys of a user as that user.
	if err := errors.Join(s.clientKey(), os.Chmod(filepath.Dir(s.Dir), 0o755), os.MkdirAll("/run/sshd", 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("sshd:\n%s", s.log)
		}
	})
	// The port is free when it is chosen, and may be taken by another before sshd has it.
	for range 5 {
		if err = s.launch(o); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Know(s.HostKey); err != nil {
		t.Fatal(err)
	}
	return s
}

// clientKey makes the key of this side, once for all servers that share it.
func (s *Server) clientKey() error {
	dir := filepath.Join(s.Home, ".ssh")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file := filepath.Join(dir, "id_ed25519")
	if _, err := os.Stat(file); err != nil {
		if _, err := WriteKey(file, ""); err != nil {
			return err
		}
	}
	public, err := os.ReadFile(file + ".pub")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.Dir, "authorized"), public, 0o644)
}

// Authorize lets more keys in.
func (s *Server) Authorize(key ssh.PublicKey) error {
	f, err := os.OpenFile(filepath.Join(s.Dir, "authorized"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(ssh.MarshalAuthorizedKey(key))
	return errors.Join(err, f.Close())
}

// KnownHosts is the file of this side.
func (s *Server) KnownHosts() string { return filepath.Join(s.Home, ".ssh", "known_hosts") }

// Know adds a key for this server to what this side knows.
func (s *Server) Know(key ssh.PublicKey) error {
	f, err := os.OpenFile(s.KnownHosts(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, knownhosts.Line([]string{knownhosts.Normalize(s.Addr())}, key))
	return errors.Join(err, f.Close())
}

// Addr is HOST:PORT.
func (s *Server) Addr() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// Target is what --ssh takes, for the user who runs the test.
func (s *Server) Target() string {
	name := "root"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return name + "@" + s.Addr()
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

func (s *Server) launch(o Options) (err error) {
	if s.Port, err = freePort(); err != nil {
		return err
	}
	config := filepath.Join(s.Dir, "config")
	text := strings.Join([]string{
		"Port " + strconv.Itoa(s.Port), "ListenAddress " + s.Host, "HostKey " + filepath.Join(s.Dir, "host_key"),
		"AuthorizedKeysFile " + filepath.Join(s.Dir, "authorized"), "StrictModes no", "UsePAM no", "PidFile none", "PasswordAuthentication no",
		"KbdInteractiveAuthentication no", "PermitRootLogin yes", "MaxStartups 200", "MaxSessions 100", "LogLevel VERBOSE",
		"Subsystem sftp internal-sftp", o.Config, "",
	}, "\n")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	s.cmd = exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", config)
	if o.Setup != "" {
		s.cmd = exec.Command("unshare", "--mount", "sh", "-ec", o.Setup+"\nexec /usr/sbin/sshd -D -e -f "+config)
	}
	s.cmd.Stderr = s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	s.ended = ended
	go func() {
		defer close(ended)
		_ = s.cmd.Wait() // how it ends is seen by who talks to it
	}()
	return s.await()
}

// await polls until the server speaks.
func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		select {
		case <-s.ended:
			return fmt.Errorf("sshd ended: %s", s.log)
		case <-ctx.Done():
			s.Stop()
			return errors.New("sshd does not answer")
		case <-time.After(10 * time.Millisecond):
		}
		conn, err := net.Dial("tcp", s.Addr())
		if err != nil {
			continue
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		var banner [4]byte
		_, err = conn.Read(banner[:])
		_ = conn.Close()
		if err == nil && string(banner[:]) == "SSH-" {
			return nil
		}
	}
}

// Pid is that of the listening process.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Stop ends the server with all its connections; what runs on them is not touched.
func (s *Server) Stop() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	for _, pid := range s.Sessions() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended meanwhile
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// Sessions are the processes of the server's connections.
func (s *Server) Sessions() []int {
	var all []int
	for _, pid := range children(s.Pid()) {
		all = append(all, pid)
		for _, below := range children(pid) {
			if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", below)); strings.TrimSpace(string(name)) == "sshd" {
				all = append(all, below)
			}
		}
	}
	return all
}

func children(pid int) []int {
	var all []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range tasks {
		data, _ := os.ReadFile(file)
		for _, word := range strings.Fields(string(data)) {
			if child, err := strconv.Atoi(word); err == nil {
				all = append(all, child)
			}
		}
	}
	return all
}

// WriteKey makes a private key in a file, and its public key beside it; with a passphrase it is encrypted.
func WriteKey(file, passphrase string) (ssh.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(private, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	}
	if err != nil {
		return nil, err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	return key, errors.Join(os.WriteFile(file, pem.EncodeToMemory(block), 0o600), os.WriteFile(file+".pub", ssh.MarshalAuthorizedKey(key), 0o644))
}
