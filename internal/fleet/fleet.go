// Package fleet runs real agents of the built binary on loopback addresses, each with its own data folder and its own
// root, for the demonstration and for the end-to-end tests. It knows the command line alone, as a user would.
package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"shoal/internal/lineage"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Fleet is a folder with an operator's home and the nodes that run from it.
type Fleet struct {
	Binary string
	Dir    string
	Home   string // the operator's
	Nodes  []*Node
	More   []string // of the environment of commands and agents
	net    int      // the third byte of its loopback addresses
	port   int
}

// UserVariable, where it is set, divides every agent: it is the UID:GID of the side that is on the network.
const UserVariable = "SHOAL_FLEET_USER"

// Node is one agent and the folder that it keeps in shape.
type Node struct {
	Name string
	Addr string // IP:port, of gossip and streams
	Root string
	Tags []string
	Args []string // more flags for the agent

	fleet *Fleet
	cmd   *exec.Cmd
	done  chan struct{} // closed when the process has ended
}

// New makes a fleet in dir whose nodes are 127.0.0.1, 127.0.0.2 and so on.
func New(binary, dir string) (*Fleet, error) { return NewAt(0, binary, dir) }

// NewAt makes a fleet whose nodes are 127.0.NET.1, 127.0.NET.2 and so on, so that several run at the same time.
func NewAt(net int, binary, dir string) (*Fleet, error) {
	f := &Fleet{Binary: binary, Dir: dir, Home: filepath.Join(dir, "home"), net: net}
	var err error
	f.port, err = freePort(f.host(1))
	return f, err
}

func (f *Fleet) host(i int) string { return fmt.Sprintf("127.0.%d.%d", f.net, i) }

// freePort is one that nobody uses on host; on the fleet's other addresses there is nobody else.
func freePort(host string) (int, error) {
	for range 50 {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			return 0, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenPacket("udp", fmt.Sprintf("%s:%d", host, port))
		l.Close()
		if err == nil {
			u.Close()
			return port, nil
		}
	}
	return 0, errors.New("no port is free for both TCP and UDP")
}

// Add describes a node on the next loopback address; it is not started.
func (f *Fleet) Add(name string, tags ...string) *Node {
	n := &Node{
		Name: name, Tags: tags, fleet: f,
		Addr: fmt.Sprintf("%s:%d", f.host(len(f.Nodes)+1), f.port),
		Root: filepath.Join(f.Dir, name),
	}
	f.Nodes = append(f.Nodes, n)
	return n
}

// Result of one command.
type Result struct {
	Stdout, Stderr string
	Status         int
	MaxRSS         int64 // bytes resident at its largest
}

// Shoal runs the binary with the fleet's home.
func (f *Fleet) Shoal(ctx context.Context, args ...string) (Result, error) {
	cmd := exec.CommandContext(ctx, f.Binary, args...)
	cmd.Env, cmd.Dir = f.Env(), f.Dir
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return Result{}, err
	}
	res := Result{Stdout: out.String(), Stderr: diag.String(), Status: cmd.ProcessState.ExitCode()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		res.MaxRSS = usage.Maxrss << 10
	}
	return res, nil
}

// JSON runs the binary with --json and decodes what it prints; a status other than 0 is an error.
func (f *Fleet) JSON(ctx context.Context, v any, args ...string) error {
	res, err := f.Shoal(ctx, append(args, "--json")...)
	if err != nil {
		return err
	}
	if res.Status != 0 {
		return fmt.Errorf("shoal %s: exit status %d: %s", strings.Join(args, " "), res.Status, res.Stderr)
	}
	return json.Unmarshal([]byte(res.Stdout), v)
}

// Env is the environment that commands of this fleet run in.
func (f *Fleet) Env() []string {
	return append(append(os.Environ(), "SHOAL_HOME="+f.Home), f.More...)
}

// Close ends every agent, and fails if one had to be killed.
func (f *Fleet) Close() error {
	var errs []error
	for _, n := range f.Nodes {
		errs = append(errs, n.Stop(), lineage.Forget(n.Path("var/lib/shoal")))
	}
	return errors.Join(errs...)
}

// Socket is where the node's API listens, seen from the fleet's folder.
func (n *Node) Socket() string { return filepath.Join(n.Name, "var/lib/shoal/api.sock") }

// API is an address for --api on the node's own loopback address.
func (n *Node) API() string {
	host, _, _ := net.SplitHostPort(n.Addr)
	return net.JoinHostPort(host, strconv.Itoa(n.fleet.port+1))
}

// Path is a file of the machine that the node keeps.
func (n *Node) Path(path string) string { return filepath.Join(n.Root, path) }

// Log is what the agent wrote.
func (n *Node) Log() string { return n.Root + ".log" }

// Ticket makes the ticket of the node, in a file of the fleet's folder, and returns what would be typed for it.
func (n *Node) Ticket(ctx context.Context) (typed string, err error) {
	args := []string{"ticket", "--ttl", "10m"}
	for _, tag := range n.Tags {
		args = append(args, "--tag", tag)
	}
	res, err := n.fleet.Shoal(ctx, args...)
	if err == nil && res.Status != 0 {
		err = errors.New(res.Stderr)
	}
	if err != nil {
		return "", fmt.Errorf("ticket for %s: %w", n.Name, err)
	}
	file := n.Name + ".ticket"
	return Typed(args) + " > " + file, os.WriteFile(filepath.Join(n.fleet.Dir, file), []byte(res.Stdout), 0o600)
}

// Join starts the node for the first time, with its ticket, through peer; nil for the first of all.
func (n *Node) Join(ctx context.Context, peer *Node) (typed string, err error) {
	flags := []string{"--ticket", "@" + n.Name + ".ticket"}
	if peer != nil {
		flags = append(flags, "--join", peer.Addr)
	}
	return n.Start(flags...)
}

// Start runs the agent, and returns what would be typed for it; after the first time it needs no flags to find its mesh.
func (n *Node) Start(flags ...string) (typed string, err error) {
	if err := os.MkdirAll(n.Root, 0o755); err != nil {
		return "", err
	}
	log, err := os.OpenFile(n.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return "", err
	}
	defer log.Close() // the child has its own
	args := append([]string{"agent", "--name", n.Name, "--root", n.Name, "--bind", n.Addr}, n.Args...)
	args = append(args, flags...)
	if user := os.Getenv(UserVariable); user != "" && !slices.Contains(args, "--user") && !slices.Contains(args, "--one-process") {
		args = append(args, "--user", user)
	}
	n.cmd = exec.Command(n.fleet.Binary, args...)
	n.cmd.Env, n.cmd.Dir = n.fleet.Env(), n.fleet.Dir
	n.cmd.Stdout, n.cmd.Stderr = log, log
	// An own process group, so that an interrupt of the demonstration reaches it before it reaches its agents.
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.cmd.Start(); err != nil {
		return "", err
	}
	n.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait() // Stop and Kill look at the state
		close(done)
	}(n.cmd, n.done)
	return Typed(args), nil
}

// Typed is a command of the binary as a person would type it.
func Typed(args []string) string {
	words := []string{"shoal"}
	for _, arg := range args {
		if strings.ContainsAny(arg, " '") {
			arg = strconv.Quote(arg)
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

// Sees asks the node for its members, and wants at least count of them alive.
func (n *Node) Sees(ctx context.Context, count int) error {
	var members []struct{ Status string }
	if err := n.fleet.JSON(ctx, &members, "members", "--node", n.Socket()); err != nil {
		return err
	}
	alive := 0
	for _, m := range members {
		if m.Status == "alive" {
			alive++
		}
	}
	if alive < count {
		return fmt.Errorf("%s sees %d of %d", n.Name, alive, count)
	}
	return nil
}

// PID is the agent's process id.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Signal sends a signal to the agent, both of its processes where it is divided.
func (n *Node) Signal(sig syscall.Signal) error {
	err := n.cmd.Process.Signal(sig)
	if pid, ok := n.MeshSide(); ok && err == nil {
		err = syscall.Kill(pid, sig)
	}
	return err
}

// MeshSide is the process id of the agent's side that is on the network; ok is false where it has none now.
func (n *Node) MeshSide() (pid int, ok bool) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", n.PID()))
	if err != nil {
		return 0, false
	}
	for _, file := range threads {
		data, _ := os.ReadFile(file) // a thread that has ended has no children
		for _, child := range strings.Fields(string(data)) {
			command, _ := os.ReadFile("/proc/" + child + "/cmdline")
			if pid, err = strconv.Atoi(child); err == nil && bytes.Contains(command, []byte("\x00mesh-side")) {
				return pid, true
			}
		}
	}
	return 0, false
}

// Ended waits until the agent has ended by itself and returns its exit status.
func (n *Node) Ended(ctx context.Context) (int, error) {
	select {
	case <-n.done:
	case <-ctx.Done():
		return 0, fmt.Errorf("%s still runs: %w", n.Name, ctx.Err())
	}
	status := n.cmd.ProcessState.ExitCode()
	n.cmd = nil
	return status, nil
}

// Kill ends the agent with SIGKILL, as a power cut would.
func (n *Node) Kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill() // it may have ended by itself
	<-n.done
	n.cmd = nil
}

// Stop asks the agent to leave cleanly and waits the five seconds that it may take.
func (n *Node) Stop() error {
	if n.cmd == nil {
		return nil
	}
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.done:
	case <-time.After(5 * time.Second):
		n.Kill()
		return fmt.Errorf("%s did not leave within 5 s; its log is %s", n.Name, n.Log())
	}
	state := n.cmd.ProcessState
	n.cmd = nil
	if !state.Success() {
		return fmt.Errorf("%s ended with %s; its log is %s", n.Name, state, n.Log())
	}
	return nil
}

// Eventually tries until it succeeds or the time is over, and then returns its last error.
func Eventually(ctx context.Context, limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %s: %w", limit, err)
		case <-time.After(25 * time.Millisecond):
		}
	}
}
