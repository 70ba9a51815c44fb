package sshdial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

// Limits of a connection. A machine that is silent for aliveEvery times aliveMissed is given up: one that is
// overloaded is not gone.
const (
	connectTimeout = 20 * time.Second
	askTimeout     = 3 * time.Minute // where a person may be asked for a passphrase in between
	aliveEvery     = 15 * time.Second
	aliveMissed    = 7
	maxHops        = 8
)

// Dialer opens connections.
type Dialer struct {
	Config *Config
	Keys   *Keyring
}

// Conn is a connection to one machine, with those to the machines on the way.
type Conn struct {
	*ssh.Client
	User string
	via  []*ssh.Client
	stop chan struct{}
}

// Close ends the connection, and then those on the way.
func (c *Conn) Close() error {
	close(c.stop)
	err := c.Client.Close()
	for i := len(c.via) - 1; i >= 0; i-- {
		err = errors.Join(err, c.via[i].Close())
	}
	if errors.Is(err, net.ErrClosed) {
		return nil // the other side was first
	}
	return err
}

// Dial connects to a target, over its jumps.
func (d *Dialer) Dial(ctx context.Context, t Target) (*Conn, error) {
	way, err := d.route(t, 0)
	if err != nil {
		return nil, err
	}
	c := &Conn{stop: make(chan struct{})}
	for i, h := range way {
		client, err := d.connect(ctx, h, c.Client)
		if err != nil {
			if c.Client != nil {
				_ = c.Close()
			}
			if i < len(way)-1 {
				return nil, fmt.Errorf("jump %s: %w", h.alias, err)
			}
			return nil, err
		}
		if c.Client != nil {
			c.via = append(c.via, c.Client)
		}
		c.Client, c.User = client, h.user
	}
	go c.keepAlive()
	return c, nil
}

// route is the target with all jumps before it, each with its own configuration.
func (d *Dialer) route(t Target, depth int) ([]hop, error) {
	h, err := d.Config.hop(t)
	if err != nil {
		return nil, err
	}
	if depth >= maxHops {
		return nil, fmt.Errorf("%s: more than %d jumps, or they lead in a circle", t, maxHops)
	}
	var way []hop
	for i, jump := range h.jump {
		if i == 0 { // its own jumps come before it; the others are reached through the one before
			before, err := d.route(jump, depth+1)
			if err != nil {
				return nil, err
			}
			way = append(way, before...)
			continue
		}
		next, err := d.Config.hop(jump)
		if err != nil {
			return nil, err
		}
		way = append(way, next)
	}
	if way = append(way, h); len(way) > maxHops {
		return nil, fmt.Errorf("%s: more than %d jumps", t, maxHops)
	}
	return way, nil
}

// connect opens one hop, through another machine where there is one.
func (d *Dialer) connect(ctx context.Context, h hop, through *ssh.Client) (*ssh.Client, error) {
	known, err := newHostKeys(h)
	if err != nil {
		return nil, err
	}
	dialCtx, cancel := context.WithTimeoutCause(ctx, connectTimeout, fmt.Errorf("no answer within %s", connectTimeout))
	defer cancel()
	var conn net.Conn
	if through != nil {
		conn, err = through.DialContext(dialCtx, "tcp", h.addr())
	} else {
		conn, err = (&net.Dialer{}).DialContext(dialCtx, "tcp", h.addr())
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s (%s): %w", h.alias, h.addr(), causeOf(dialCtx, err))
	}
	client, err := d.handshake(ctx, conn, h, known)
	if err != nil {
		_ = conn.Close() // what failed is the handshake
		return nil, err
	}
	return client, nil
}

func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// handshake is limited in time by closing the connection: one through a jump knows no deadlines.
func (d *Dialer) handshake(ctx context.Context, conn net.Conn, h hop, known *hostKeys) (*ssh.Client, error) {
	limit := connectTimeout
	if d.Keys.Ask != nil {
		limit = askTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not logged in within %s", limit))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	var used *keys
	defer func() {
		if used != nil {
			used.close()
		}
	}()
	var refused error // what the callback said: the handshake's own error does not keep it
	config := &ssh.ClientConfig{
		User: h.user,
		HostKeyCallback: func(name string, remote net.Addr, key ssh.PublicKey) error {
			refused = known.verify(name, remote, key)
			return refused
		},
		HostKeyAlgorithms: known.algorithms(),
		Auth: []ssh.AuthMethod{ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
			used = d.Keys.keysFor(h)
			return used.signers, nil
		})},
	}
	peer, channels, requests, err := ssh.NewClientConn(conn, h.addr(), config)
	var unlike *ssh.AlgorithmNegotiationError
	switch {
	case err == nil:
		return ssh.NewClient(peer, channels, requests), nil
	case refused != nil:
		return nil, refused
	case ctx.Err() != nil:
		return nil, fmt.Errorf("connect to %s (%s): %w", h.alias, h.addr(), context.Cause(ctx))
	case errors.As(err, &unlike) && len(known.known) > 0:
		return nil, known.changed("it has no key of the kind that is known")
	case used != nil:
		return nil, fmt.Errorf("%w: log in to %s as %s: %w%s", ErrRefused, h.alias, h.user, err, used.told())
	}
	return nil, fmt.Errorf("connect to %s (%s): %w", h.alias, h.addr(), err)
}

// told says which keys were shown, and what was wrong with others.
func (k *keys) told() string {
	text := "\n    no key was shown: name one with IdentityFile, or start an agent"
	if len(k.signers) > 0 {
		text = "\n    keys that were shown:"
		for _, s := range k.signers {
			text += " " + ssh.FingerprintSHA256(s.PublicKey())
		}
	}
	for _, note := range k.notes {
		text += "\n    " + note.Error()
	}
	return text
}

// keepAlive closes a connection whose other side has gone without a word.
func (c *Conn) keepAlive() {
	answered := make(chan struct{}, 1)
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	asking, missed := false, 0
	for {
		select {
		case <-c.stop:
			return
		case <-answered:
			asking, missed = false, 0
		case <-tick.C:
			if asking {
				if missed++; missed >= aliveMissed {
					_ = c.Client.Close()
					return
				}
				continue
			}
			asking = true
			go func() {
				if _, _, err := c.SendRequest("keepalive@openssh.com", true, nil); err == nil {
					answered <- struct{}{}
				}
			}()
		}
	}
}
