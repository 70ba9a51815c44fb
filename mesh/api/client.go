package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"shoal/executor"
	"shoal/membership"
	"shoal/mesh"
	"shoal/store"
)

// Client talks to one node.
type Client struct {
	addr  string
	base  string
	token string
	err   error // why nothing can be sent
	http  *http.Client
}

// Credentials are what a client shows over TCP; on a socket nothing is needed.
type Credentials struct {
	Token string
	TLS   *tls.Config // nil: none, and then only a loopback address is sent a token
}

// NewClient returns a client for addr, as Network reads it. It dials on the first request.
func NewClient(addr string) *Client { return NewClientWith(addr, Credentials{}) }

// NewClientWith is NewClient for a node that wants to know who asks.
func NewClientWith(addr string, who Credentials) *Client {
	network, address := Network(addr)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
	transport := &http.Transport{DialContext: dial, MaxIdleConns: 4}
	c := &Client{addr: addr, base: "http://" + host, http: &http.Client{Transport: transport}}
	if network != "tcp" {
		return c
	}
	c.token = who.Token
	if who.TLS != nil {
		c.base, transport.TLSClientConfig = "https://"+host, who.TLS.Clone()
		transport.TLSClientConfig.MinVersion = tls.VersionTLS13
		transport.TLSClientConfig.ServerName, _, _ = net.SplitHostPort(address) // requests call every node by one name
	} else if err := loopbackOnly(address); err != nil && c.token != "" {
		c.err = badInput("a token is not sent to %s in clear: name the certificate that signs for it with SHOAL_CA", address)
	}
	return c
}

// Close gives up idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Self asks who answers.
func (c *Client) Self(ctx context.Context) (out SelfInfo, err error) {
	return out, c.call(ctx, "GET", "/v1/self", nil, &out)
}

// Members lists the roster with what gossip says of each.
func (c *Client) Members(ctx context.Context) (out []mesh.MemberInfo, err error) {
	return out, c.call(ctx, "GET", "/v1/members", nil, &out)
}

// Roster asks for what shows who the members are.
func (c *Client) Roster(ctx context.Context) (out []membership.Signed, err error) {
	return out, c.call(ctx, "GET", "/v1/roster", nil, &out)
}

// Ring tells who owns what.
func (c *Client) Ring(ctx context.Context) (out mesh.RingInfo, err error) {
	return out, c.call(ctx, "GET", "/v1/ring", nil, &out)
}

// Status tells what each node has applied.
func (c *Client) Status(ctx context.Context) (out mesh.StatusInfo, err error) {
	return out, c.call(ctx, "GET", "/v1/status", nil, &out)
}

// Log lists an environment's revisions, the newest last.
func (c *Client) Log(ctx context.Context, env string) (out []mesh.RevisionInfo, err error) {
	return out, c.call(ctx, "GET", "/v1/log?env="+url.QueryEscape(env), nil, &out)
}

// Staged lists the revisions that wait at this node.
func (c *Client) Staged(ctx context.Context) (out []mesh.RevisionInfo, err error) {
	return out, c.call(ctx, "GET", "/v1/staged", nil, &out)
}

// Report returns a node's last run; an empty name is the node that answers.
func (c *Client) Report(ctx context.Context, name string) (executor.Report, error) {
	return c.EarlierReport(ctx, name, 0)
}

// EarlierReport returns the run that an entry of a node's log is about; 0: the last run.
func (c *Client) EarlierReport(ctx context.Context, name string, entry uint64) (out executor.Report, err error) {
	path := "/v1/report?name=" + url.QueryEscape(name)
	if entry > 0 {
		path += fmt.Sprintf("&entry=%d", entry)
	}
	return out, c.call(ctx, "GET", path, nil, &out)
}

// History returns the newest entries of a node's log, of those numbered up to to; 0: of all.
func (c *Client) History(ctx context.Context, name string, to uint64) (out mesh.HistoryInfo, err error) {
	return out, c.call(ctx, "GET", fmt.Sprintf("/v1/history?name=%s&to=%d", url.QueryEscape(name), to), nil, &out)
}

// Head returns what an environment is at; an *Error of kind NotFound when it has no revision.
func (c *Client) Head(ctx context.Context, env string) (out store.Head, err error) {
	return out, c.call(ctx, "GET", "/v1/head?env="+url.QueryEscape(env), nil, &out)
}

// ConfirmedHead is Head as a majority of the acceptors has it now; an *Error of kind Unavailable when too few of them answer.
func (c *Client) ConfirmedHead(ctx context.Context, env string) (out store.Head, err error) {
	return out, c.call(ctx, "GET", "/v1/head?confirmed=1&env="+url.QueryEscape(env), nil, &out)
}

// Missing returns those of hashes that the mesh does not have.
func (c *Client) Missing(ctx context.Context, hashes []store.Hash) ([]store.Hash, error) {
	var missing []store.Hash
	for len(hashes) > 0 {
		n := min(len(hashes), MaxHashes)
		var out listOf
		if err := c.call(ctx, "POST", "/v1/missing", listOf{Hashes: hashes[:n]}, &out); err != nil {
			return nil, err
		}
		missing, hashes = append(missing, out.Hashes...), hashes[n:]
	}
	return missing, nil
}

// Put stores at most MaxBatch objects; when it returns nil they are on the disk of the node that was asked, and a push that
// names them may follow.
func (c *Client) Put(ctx context.Context, objects [][]byte) error {
	return c.put(ctx, "/v1/objects", objects)
}

// PutCopies is Put, but returns when the objects are on the disks of the write quorum.
func (c *Client) PutCopies(ctx context.Context, objects [][]byte) error {
	return c.put(ctx, "/v1/objects?copies=1", objects)
}

func (c *Client) put(ctx context.Context, path string, objects [][]byte) error {
	var body bytes.Buffer
	for _, o := range objects {
		var size [4]byte
		binary.BigEndian.PutUint32(size[:], uint32(len(o)))
		body.Write(size[:])
		body.Write(o)
	}
	return c.send(ctx, "POST", path, &body, nil)
}

// Get returns one object, verified against its hash.
func (c *Client) Get(ctx context.Context, hash store.Hash) ([]byte, error) {
	var body bytes.Buffer
	if err := c.send(ctx, "GET", "/v1/objects/"+hash.String(), nil, &body); err != nil {
		return nil, err
	}
	if store.HashOf(body.Bytes()) != hash {
		return nil, fmt.Errorf("object %s: %w", hash.Short(), store.ErrCorrupt)
	}
	return body.Bytes(), nil
}

// Push asks to make a revision the head of its environment.
func (c *Client) Push(ctx context.Context, req PushRequest) (out mesh.PushResult, err error) {
	return out, c.call(ctx, "POST", "/v1/push", req, &out)
}

// Submit hands in signed membership records.
func (c *Client) Submit(ctx context.Context, records []membership.Signed) error {
	return c.call(ctx, "POST", "/v1/records", records, &struct{}{})
}

// Standing asks what is left of an environment's acceptors, and how it could go on without them.
func (c *Client) Standing(ctx context.Context, env string) (out mesh.StandingInfo, err error) {
	return out, c.call(ctx, "GET", "/v1/recovery?env="+url.QueryEscape(env), nil, &out)
}

// Recover hands in what the operators have signed.
func (c *Client) Recover(ctx context.Context, signed membership.Signed) error {
	return c.call(ctx, "POST", "/v1/recovery", signed, &struct{}{})
}

// Leave asks the node to leave the mesh for good.
func (c *Client) Leave(ctx context.Context) error {
	return c.call(ctx, "POST", "/v1/leave", struct{}{}, &struct{}{})
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	var answer bytes.Buffer
	if err := c.send(ctx, method, path, body, &answer); err != nil {
		return err
	}
	if err := json.Unmarshal(answer.Bytes(), out); err != nil {
		return fmt.Errorf("answer of %s: %w", c.addr, err)
	}
	return nil
}

// send does one request and copies the answer's body to out; an answer that is not a success becomes an *Error.
func (c *Client) send(ctx context.Context, method, path string, body io.Reader, out *bytes.Buffer) error {
	if c.err != nil {
		return c.err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	req.Header.Set(header, "1")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", jsonType)
		if strings.HasPrefix(path, "/v1/objects") {
			req.Header.Set("Content-Type", bytesType)
		}
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	if out == nil {
		out = &bytes.Buffer{}
	}
	if _, err := io.Copy(out, io.LimitReader(resp.Body, MaxBody*4)); err != nil {
		return c.unreachable(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	e := &Error{Kind: Internal}
	if json.Unmarshal(out.Bytes(), e) != nil || e.Message == "" {
		e.Message = fmt.Sprintf("%s answered %s", c.addr, resp.Status)
		if bytes.Contains(out.Bytes(), []byte("HTTPS server")) { // what net/http says to who talks in clear
			e.Kind, e.Message = BadInput, fmt.Sprintf("%s talks TLS alone: name the certificate that signs for it with SHOAL_CA", c.addr)
		}
	}
	return e
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &Error{Unavailable, fmt.Sprintf("no node answers at %s: %v\n    is the agent running? name another node with --node ADDR or SHOAL_NODE", c.addr, rootCause(err))}
}

// rootCause leaves out the made-up URL that net/http puts before the reason.
func rootCause(err error) error {
	if u, ok := err.(*url.Error); ok {
		return u.Err
	}
	return err
}

// Refusing is a client that answers all with why it cannot ask.
func Refusing(addr string, why error) *Client {
	c := NewClient(addr)
	c.err = badInput("%v", why)
	return c
}
