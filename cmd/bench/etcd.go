package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"shoal/internal/fleet"
)

const etcdMembers = 3

// etcdLoad puts values of objectSize into a three-member etcd on the same disk: the nearest to a head's advance that others have.
// Its API is gRPC, of which one kind of request needs no more than net/http.
type etcdLoad struct {
	members []etcdMember
	clients [manyPeople]etcdClient
	made    [manyPeople]int
}

func newEtcdLoad(ctx context.Context, binary, dir string) (*etcdLoad, error) {
	members, err := startEtcd(ctx, binary, dir)
	e := &etcdLoad{members: members}
	if err == nil {
		for i := range e.clients {
			e.clients[i] = newEtcdClient(members[i%len(members)].addr)
		}
		err = fleet.Eventually(ctx, 30*time.Second, func() error { return e.put(ctx, 0) })
	}
	if err != nil {
		stopEtcd(members)
		return nil, err
	}
	return e, nil
}

func (e *etcdLoad) put(ctx context.Context, client int) error {
	e.made[client]++
	return e.clients[client].put(ctx, fmt.Sprintf("key-%d-%d", client, e.made[client]), make([]byte, objectSize))
}

func (e *etcdLoad) pids() (out []int) {
	for _, m := range e.members {
		out = append(out, m.cmd.Process.Pid)
	}
	return out
}

type etcdMember struct {
	cmd  *exec.Cmd
	addr string // of clients
}

func startEtcd(ctx context.Context, binary, dir string) (members []etcdMember, err error) {
	var cluster, peers, addrs []string
	for i := range etcdMembers {
		for _, list := range []*[]string{&peers, &addrs} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			*list = append(*list, l.Addr().String())
			l.Close()
		}
		cluster = append(cluster, fmt.Sprintf("m%d=http://%s", i, peers[i]))
	}
	for i := range etcdMembers {
		cmd := exec.CommandContext(ctx, binary, "--name", fmt.Sprintf("m%d", i), "--data-dir", filepath.Join(dir, fmt.Sprint(i)),
			"--listen-peer-urls", "http://"+peers[i], "--initial-advertise-peer-urls", "http://"+peers[i],
			"--listen-client-urls", "http://"+addrs[i], "--advertise-client-urls", "http://"+addrs[i],
			"--initial-cluster", strings.Join(cluster, ","), "--initial-cluster-state", "new", "--log-level", "error")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			return members, err
		}
		members = append(members, etcdMember{cmd, addrs[i]})
	}
	return members, nil
}

func stopEtcd(members []etcdMember) {
	for _, m := range members {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait() // killed
	}
}

type etcdClient struct {
	url  string
	http *http.Client
}

// newEtcdClient speaks HTTP/2 without TLS from the first byte, as gRPC does.
func newEtcdClient(addr string) etcdClient {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return etcdClient{"http://" + addr + "/etcdserverpb.KV/Put", &http.Client{Transport: &http.Transport{Protocols: &protocols}}}
}

// put is one unary call: a message is a zero, its length in four bytes, and its fields (1: key, 2: value), all of them bytes.
func (c etcdClient) put(ctx context.Context, key string, value []byte) error {
	var m []byte
	for i, field := range [][]byte{[]byte(key), value} {
		m = append(m, byte(i+1)<<3|2)
		m = binary.AppendUvarint(m, uint64(len(field)))
		m = append(m, field...)
	}
	body := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m)))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(append(body, m...)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	status := resp.Trailer.Get("Grpc-Status") + resp.Header.Get("Grpc-Status")
	if status != "0" {
		return errors.New("etcd: " + status + " " + resp.Trailer.Get("Grpc-Message") + resp.Header.Get("Grpc-Message"))
	}
	return nil
}
