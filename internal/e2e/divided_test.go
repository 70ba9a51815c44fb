package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"shoal/internal/fleet"
)

// meshSideUser is whom the side that is on the network runs as: nobody has these numbers.
const meshSideUser = "64321:64321"

// An agent that is root is two processes, and each goes on without the other as far as it should.
func TestDivided(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can run a part of itself as somebody else")
	}
	w := newWorld(t)
	w.mesh(2, "--user", meshSideUser, "--api-group", "64322")
	n1, n2 := w.Nodes[0], w.Nodes[1]
	w.ok("push", w.motd("one", "one\n"), "--wait", "--node", n1.Socket())
	w.holds("etc/motd", "one\n", n1, n2)

	w.part(t, "it has no rights", (*world).withoutRights)
	w.part(t, "a download", (*world).download)
	w.part(t, "the mesh side is killed", (*world).meshSideKilled)
	w.part(t, "the executor side is killed", (*world).rootSideKilled)
	w.part(t, "one process and back", (*world).oneProcessAndBack)
	w.part(t, "a goodbye", func(w *world) {
		w.together(n1, n2) // n1 has just started: who is not in its gossip yet cannot say goodbye to it
		if err := n2.Stop(); err != nil {
			w.t.Fatal(err)
		}
		log, err := os.ReadFile(n2.Log())
		// Both sides say that they went by themselves: the one that is on the network has told the others.
		if lines := strings.Split(strings.TrimSpace(string(log)), "\n"); err != nil || len(lines) < 2 ||
			!strings.Contains(lines[len(lines)-1], "msg=down") || !strings.Contains(lines[len(lines)-2], "msg=down") {
			w.t.Errorf("one side was ended: %v\n%s", err, log)
		}
		w.sees(n1, "n2", "left")
		w.start(n2)
		w.answers(n2)
		w.together(n1, n2)
		w.ok("leave", "--node", n2.Socket())
		if status, err := n2.Ended(w.ctx); err != nil || status != 0 {
			w.t.Errorf("after leave: exit status %d, %v", status, err)
		}
	})
}

func (w *world) meshSide(n *fleet.Node) (pid int) {
	w.t.Helper()
	w.eventually(n.Name+" has a side on the network", func() error {
		var ok bool
		if pid, ok = n.MeshSide(); !ok {
			return errors.New("it has none")
		}
		return nil
	})
	return pid
}

// withoutRights looks at what the kernel says of both processes.
func (w *world) withoutRights() {
	n1 := w.Nodes[0]
	pid := w.meshSide(n1)
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		w.t.Fatal(err)
	}
	is := map[string]string{}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		is[key] = strings.Join(strings.Fields(value), " ")
	}
	for key, want := range map[string]string{
		"Uid": "64321 64321 64321 64321", "Gid": "64321 64321 64321 64321", "Groups": "", "NoNewPrivs": "1", "Seccomp": "2",
		"CapInh": none, "CapPrm": none, "CapEff": none, "CapBnd": none, "CapAmb": none,
	} {
		if is[key] != want {
			w.t.Errorf("%s is %q, not %q", key, is[key], want)
		}
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) < 2 {
		w.t.Fatalf("%d threads: %v", len(threads), err)
	}
	for _, file := range threads {
		data, err := os.ReadFile(file)
		if err == nil && !containsAll(string(data), []string{"NoNewPrivs:\t1\n", "Seccomp:\t2\n", "CapEff:\t" + none + "\n"}) {
			w.t.Errorf("a thread has more rights:\n%s", data)
		}
	}
	if sockets := w.networkSockets(n1.PID()); len(sockets) > 0 {
		w.t.Errorf("the executor side is on the network: %q", sockets)
	}
	if sockets := w.networkSockets(pid); len(sockets) == 0 {
		w.t.Error("the mesh side is seen to have no socket: this test sees nothing")
	}
	for path, mode := range map[string]os.FileMode{"var/lib/shoal": 0o710, "var/lib/shoal/api.sock": 0o660} {
		info, err := os.Stat(n1.Path(path))
		if err != nil || info.Mode().Perm() != mode || info.Sys().(*syscall.Stat_t).Gid != 64322 || info.Sys().(*syscall.Stat_t).Uid != 0 {
			w.t.Errorf("%s: %v %v", path, info, err)
		}
	}
	for _, name := range []string{"node.key", "anchor", "tree", "agent.lock"} {
		info, err := os.Stat(n1.Path("var/lib/shoal/" + name))
		if err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 || info.Mode().Perm()&0o077 != 0 {
			w.t.Errorf("%s: %v %v", name, info, err)
		}
	}
}

const none = "0000000000000000"

// networkSockets are the lines of the kernel's tables about sockets that a process has open.
func (w *world) networkSockets(pid int) (lines []string) {
	inodes := map[string]bool{}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, link := range links {
		name, _ := os.Readlink(link) // it may be closed by now
		if inode, ok := strings.CutPrefix(name, "socket:["); ok {
			inodes[strings.TrimSuffix(inode, "]")] = true
		}
	}
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet"} {
		data, err := os.ReadFile("/proc/net/" + table)
		if err != nil {
			continue // not in this kernel
		}
		for line := range strings.Lines(string(data)) {
			fields := strings.Fields(line)
			if len(fields) > 8 && (inodes[fields[9%len(fields)]] || inodes[fields[8]]) {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// download: what a tree fetches is fetched by somebody without rights.
func (w *world) download() {
	n1 := w.Nodes[0]
	users := make(chan string, 64)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		users <- userOf(r.RemoteAddr)
		if r.URL.Path != "/text" {
			http.NotFound(rw, r)
			return
		}
		_, _ = io.WriteString(rw, "fetched") // who hangs up has had enough
	}))
	defer server.Close()
	tree := func(name, path, content string) string {
		return w.tree(name, "site.yaml", everywhere, "components/c/states.yaml", fmt.Sprintf(
			"states:\n  motd:\n    file.managed: {path: /etc/motd, content: \"one\\n\"}\n  text:\n    download.fetched: {path: /etc/text, url: %q, sha256: %x}\n",
			server.URL+path, sha256.Sum256([]byte(content))))
	}
	w.ok("push", tree("fetched", "/text", "fetched"), "--wait", "--node", n1.Socket())
	w.holds("etc/text", "fetched", w.Nodes...)
	w.ok("push", tree("missing", "/missing", "missing"), "--node", n1.Socket())
	w.says(n1, "enforced", "404 Not Found")
	w.ok("push", tree("other", "/text", "something else"), "--node", n1.Socket())
	w.says(n1, "enforced", "its hash is")
	w.holds("etc/text", "fetched", w.Nodes...)
	w.ok("push", w.motd("one-again", "one\n"), "--wait", "--node", n1.Socket())
	close(users)
	for user := range users {
		if user != "64321" {
			w.t.Errorf("user %q is on the network", user)
		}
	}
}

// userOf is whom the kernel says that a connection of this machine belongs to.
func userOf(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	n, errNumber := strconv.Atoi(port)
	data, errRead := os.ReadFile("/proc/net/tcp")
	if err := errors.Join(err, errNumber, errRead); err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 7 && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", n)) {
			return fields[7]
		}
	}
	return "nobody"
}

// meshSideKilled: enforcement and drift go on while it is stopped, and when it is killed it comes back.
func (w *world) meshSideKilled() {
	n1, n2 := w.Nodes[0], w.Nodes[1]
	pid := w.meshSide(n1)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		w.t.Fatal(err)
	}
	for range 2 {
		if err := os.Remove(n1.Path("etc/motd")); err != nil {
			w.t.Fatal(err)
		}
		w.holds("etc/motd", "one\n", n1)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("another one comes", func() error {
		if now, ok := n1.MeshSide(); !ok || now == pid {
			return fmt.Errorf("it is %d", now)
		}
		return nil
	})
	if err := os.WriteFile(n1.Path("etc/motd"), []byte("mine\n"), 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.holds("etc/motd", "one\n", n1)
	w.answers(n1)
	w.together(n1, n2)
	w.ok("push", w.motd("two", "two\n"), "--wait", "--node", n2.Socket())
	w.holds("etc/motd", "two\n", n1, n2)
}

// rootSideKilled: nobody is on the network for an agent that is gone.
func (w *world) rootSideKilled() {
	n1 := w.Nodes[0]
	pid := w.meshSide(n1)
	n1.Kill()
	w.eventually("the mesh side ends", func() error {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && len(data) > 0 {
			return errors.New("it is still there")
		}
		return nil
	})
	if err := os.Remove(n1.Path("etc/motd")); err != nil {
		w.t.Fatal(err)
	}
	w.start(n1)
	w.holds("etc/motd", "two\n", n1)
	w.answers(n1)
	w.together(w.Nodes...)
}

// oneProcessAndBack: the store changes its owner with the way the agent runs.
func (w *world) oneProcessAndBack() {
	n1 := w.Nodes[0]
	if err := n1.Stop(); err != nil {
		w.t.Fatal(err)
	}
	divided := n1.Args
	n1.Args = []string{"--one-process"}
	w.start(n1)
	w.answers(n1)
	w.says(n1, "one process", "--one-process")
	w.together(w.Nodes...)
	w.ok("push", w.motd("three", "three\n"), "--wait", "--node", n1.Socket())
	w.holds("etc/motd", "three\n", n1)
	if err := n1.Stop(); err != nil {
		w.t.Fatal(err)
	}
	n1.Args = divided
	w.start(n1)
	w.answers(n1)
	w.meshSide(n1)
	w.ok("push", w.motd("four", "four\n"), "--wait", "--node", n1.Socket())
	w.holds("etc/motd", "four\n", n1)
}
