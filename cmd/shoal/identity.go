package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"shoal/internal/codec"
	"shoal/internal/ownfile"
	"shoal/membership"
)

// identity is who a node is: its own key, and what an operator's ticket made of it.
type identity struct {
	key      ed25519.PrivateKey
	id       membership.NodeID
	standing *standing // nil: a node without a mesh
	fresh    bool      // the ticket was redeemed just now: this node has never voted
	member   membership.Member
}

// standing is what a node keeps of its ticket: after the first start it needs no flags to find its mesh.
type standing struct {
	Chain     []membership.Signed `cbor:"1,keyasint"`
	Grant     membership.Signed   `cbor:"2,keyasint"`
	GossipKey []byte              `cbor:"3,keyasint"` // as the ticket had it; empty without a ticket
}

const (
	nodeKeyFile  = "node.key"
	standingFile = "standing"
)

// openIdentity reads the node's key and standing, or makes them: the key on the first start, the standing with a ticket.
func openIdentity(c agentConfig) (identity, error) {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return identity{}, err
	}
	key, err := nodeKey(filepath.Join(c.DataDir, nodeKeyFile))
	if err != nil {
		return identity{}, err
	}
	id := identity{key: key, id: membership.IDOf(key.Public().(ed25519.PublicKey))}
	if id.standing, id.fresh, err = openStanding(c, key); err != nil {
		return id, err
	}
	if id.standing == nil {
		id.member = membership.Member{ID: id.id, Name: c.Name, Tags: c.Tags, Zone: c.Zone}
		return id, nil
	}
	roster, err := id.roster()
	if err != nil {
		return id, err
	}
	// Whether the grant has expired by now is for the mesh to say; here it only names the node.
	member, ok := roster.Lookup(id.id, time.Unix(0, 0))
	if !ok {
		return id, fmt.Errorf("the grant in %s is not for this node's key", c.DataDir)
	}
	id.member = member
	return id, id.checkClaims(c)
}

// roster is what the node knows of its mesh before it has met anybody.
func (id identity) roster() (*membership.Roster, error) {
	chain, err := membership.OpenChain(id.standing.Chain)
	if err != nil {
		return nil, err
	}
	roster := membership.NewRoster(chain)
	_, err = roster.Add(time.Now(), id.standing.Grant)
	return roster, err
}

// gossipKey is the one of the ticket; nil without one.
func (id identity) gossipKey() []byte {
	if id.standing == nil {
		return nil
	}
	return id.standing.GossipKey
}

// checkClaims refuses tags and a zone that the grant does not hold: in a mesh they are not the machine's to choose.
func (id identity) checkClaims(c agentConfig) error {
	for k, v := range c.Tags {
		if granted, ok := id.member.Tags[k]; !ok || granted != v {
			return &exitError{exitRefused, fmt.Errorf("the tag %s=%s was not granted to this node; it has %s\n    tags come with the ticket", k, v, tagText(id.member.Tags))}
		}
	}
	if c.Zone != "" && c.Zone != id.member.Zone {
		return &exitError{exitRefused, fmt.Errorf("the zone %q was not granted to this node; it has %q\n    the zone comes with the ticket", c.Zone, id.member.Zone)}
	}
	return nil
}

func nodeKey(path string) (ed25519.PrivateKey, error) {
	key, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	_, key, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return key, writeKey(path, key)
}

// openStanding reads what was kept, or redeems the ticket. A ticket that is given again is not redeemed again, so that a
// unit file may name it for ever; one of another mesh is an error.
func openStanding(c agentConfig, key ed25519.PrivateKey) (s *standing, fresh bool, err error) {
	path := filepath.Join(c.DataDir, standingFile)
	kept, err := readStanding(path)
	if err != nil {
		return nil, false, err
	}
	text, err := readTicket(c.Ticket)
	if err != nil {
		return nil, false, err
	}
	if text == "" {
		return kept, false, nil
	}
	if membership.IsAdmission(text) {
		return openAdmission(c, key, text, kept)
	}
	ticket, err := membership.ParseTicket(text)
	if err != nil {
		return nil, false, badInput("%v", err)
	}
	chain, err := ticket.Chain()
	if err != nil {
		return nil, false, badInput("ticket: %v", err)
	}
	if kept != nil {
		return kept, false, sameMesh(kept, chain, c.DataDir)
	}
	if expires := ticket.Spec().Expires; time.Now().After(expires) {
		return nil, false, &exitError{exitRefused, fmt.Errorf("the ticket expired %s ago; make another with: shoal ticket", time.Since(expires).Round(time.Second))}
	}
	grant, err := ticket.Redeem(key, c.Name)
	if err != nil {
		return nil, false, badInput("ticket: %v", err)
	}
	s = &standing{Chain: chain.Statements(), Grant: grant, GossipKey: ticket.GossipKey()}
	data, err := codec.Marshal(s)
	if err != nil {
		return nil, false, err
	}
	return s, true, ownfile.Write(path, data, 0o600)
}

// openAdmission takes a grant that was made for this machine's key. It holds no key of the gossip: that comes with the first peer.
func openAdmission(c agentConfig, key ed25519.PrivateKey, text string, kept *standing) (s *standing, fresh bool, err error) {
	admission, err := membership.ParseAdmission(text)
	if err != nil {
		return nil, false, badInput("%v", err)
	}
	if kept != nil {
		return kept, false, sameMesh(kept, admission.Chain(), c.DataDir)
	}
	signed, grant := admission.Grant()
	if own := membership.IDOf(key.Public().(ed25519.PublicKey)); grant.Node != own {
		return nil, false, refused("the grant is for node %s, this machine is %s", grant.Node, own)
	}
	if len(c.Join) == 0 {
		return nil, false, badInput("a grant needs --join: the machine gets the key of the gossip from whom it joins")
	}
	s = &standing{Chain: admission.Chain().Statements(), Grant: signed}
	data, err := codec.Marshal(s)
	if err != nil {
		return nil, false, err
	}
	return s, true, ownfile.Write(filepath.Join(c.DataDir, standingFile), data, 0o600)
}

func readStanding(path string) (*standing, error) {
	data, err := ownfile.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var s standing
	if err := codec.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &s, nil
}

func sameMesh(kept *standing, chain *membership.Chain, dataDir string) error {
	own, err := membership.OpenChain(kept.Chain)
	if err != nil {
		return err
	}
	if own.Mesh() != chain.Mesh() {
		return badInput("this node belongs to mesh %s; the ticket is for %s\n    to move it, remove %s", own.Mesh(), chain.Mesh(), dataDir)
	}
	return nil
}
