package store

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"shoal/internal/codec"
	"shoal/membership"
)

// DirectoryRegister names the register that decides, once, who the acceptors of an environment's head are. See
// docs/decisions/register-creation.md.
func DirectoryRegister(env string) string { return "dir/" + env }

// Creation shows that an environment's head exists and who its acceptors are: "unknown" is never "empty". Electorate are
// the acceptors of the directory register, nodes of the roster of its time.
type Creation struct {
	Env         string              `cbor:"1,keyasint"`
	Electorate  []membership.NodeID `cbor:"2,keyasint"`
	Certificate Certificate         `cbor:"3,keyasint"`
	// Order is the object of a first revision: its publisher wanted the environment, and named the electorate. Creations of
	// version 0.1 have none.
	Order []byte `cbor:"4,keyasint,omitempty"`
}

// ErrNoOrder is returned for a creation that no publisher is known to have wanted.
var ErrNoOrder = errors.New("no publisher has signed who decides")

// Published tells whether a key could ever publish an environment.
type Published func(key ed25519.PublicKey, env string) bool

// ElectorateHash is what a publisher signs of an electorate.
func ElectorateHash(env string, electorate []membership.NodeID) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00", env)
	for _, id := range electorate {
		fmt.Fprintf(h, "%s\x00", id)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// OpenOrder verifies that a publisher wants env created by electorate. Its right to publish may have ended since: the environment
// does not end with it. named is false when it leaves open who decides.
func OpenOrder(env string, order []byte, electorate []membership.NodeID, published Published) (named bool, err error) {
	if len(order) == 0 {
		return false, fmt.Errorf("creation of %s: %w", env, ErrNoOrder)
	}
	r, err := OpenRevision(order, publishedOnce(published))
	switch {
	case err != nil:
		return false, fmt.Errorf("creation of %s: %w", env, err)
	case r.Env != env || r.Version != 1:
		return false, fmt.Errorf("creation of %s: by version %d of %s: %w", env, r.Version, r.Env, ErrNoOrder)
	case len(r.Electorate) > 0 && r.Electorate != ElectorateHash(env, electorate):
		return true, fmt.Errorf("creation of %s: by others than the publisher has named: %w", env, ErrNoOrder)
	}
	return len(r.Electorate) > 0, nil
}

type publishedOnce Published

// Publishes implements Publishers.
func (p publishedOnce) Publishes(key ed25519.PublicKey, env string) bool { return p(key, env) }

// Agree tells whether any majority of one electorate has a member in common with any majority of the other: an acceptor
// that sees other members than the publisher saw may then go by the publisher's.
func Agree(a, b []membership.NodeID) bool {
	union := len(b)
	for _, id := range a {
		if !slices.Contains(b, id) {
			union++
		}
	}
	return Majority(len(a))+Majority(len(b)) > union
}

// Open verifies the creation and returns the acceptors of the head. granted tells who ever had a grant: those who voted
// must have been members.
func (c Creation) Open(granted func(membership.NodeID) bool) ([]Seat, error) {
	if err := CheckEnv(c.Env); err != nil {
		return nil, fmt.Errorf("creation: %w", err)
	}
	voters, err := c.Certificate.Verify(DirectoryRegister(c.Env), 0, c.Electorate)
	if err != nil {
		return nil, fmt.Errorf("creation of %s: %w", c.Env, err)
	}
	for _, id := range voters {
		if !granted(id) {
			return nil, fmt.Errorf("creation of %s: %w: %s never was a member", c.Env, ErrCertificate, id.Short())
		}
	}
	return OpenDirectoryValue(c.Env, c.Certificate.Value, c.Electorate)
}

type directoryValue struct {
	Acceptors []membership.NodeID `cbor:"1,keyasint"`
	Disks     []uint64            `cbor:"2,keyasint,omitempty"` // of each; none in creations of version 0.1
}

// OpenDirectoryValue decodes the value of a directory register: acceptors from among the electorate.
func OpenDirectoryValue(env string, value []byte, electorate []membership.NodeID) ([]Seat, error) {
	var v directoryValue
	if err := codec.Unmarshal(value, &v); err != nil {
		return nil, fmt.Errorf("creation of %s: %w", env, err)
	}
	if err := checkAcceptors(HeadRegister(env), v.Acceptors); err != nil {
		return nil, err
	}
	if least := fewestAcceptors(len(electorate)); len(v.Acceptors) < least {
		return nil, fmt.Errorf("creation of %s: %d acceptors, less than %d", env, len(v.Acceptors), least)
	}
	for _, id := range v.Acceptors {
		if !slices.Contains(electorate, id) {
			return nil, fmt.Errorf("creation of %s: acceptor %s is not of the electorate", env, id.Short())
		}
	}
	if len(v.Disks) > 0 && len(v.Disks) != len(v.Acceptors) {
		return nil, fmt.Errorf("creation of %s: %d disks of %d acceptors", env, len(v.Disks), len(v.Acceptors))
	}
	seats := make([]Seat, len(v.Acceptors))
	for i, id := range v.Acceptors {
		if seats[i].Node = id; len(v.Disks) > 0 {
			seats[i].Disk = v.Disks[i]
		}
	}
	return seats, nil
}

// CreateHead is the transition of a directory register: the first value stays for ever. create is false for a push that
// does not begin an environment: it reads, and creates nothing.
func CreateHead(acceptors []Seat, create bool) Transition {
	return func(current []byte) []byte {
		if current != nil || !create {
			return current
		}
		sorted := slices.SortedFunc(slices.Values(acceptors), func(a, b Seat) int { return strings.Compare(string(a.Node), string(b.Node)) })
		v := directoryValue{Acceptors: NodesOf(sorted)}
		for _, s := range sorted {
			v.Disks = append(v.Disks, s.Disk)
		}
		data, err := codec.Marshal(v)
		if err != nil {
			return nil
		}
		return data
	}
}

// Electorate chooses the acceptors of a directory register from the roster: all members, or the MaxAcceptors of the
// highest rank in a larger mesh. It is a function of the roster, so equal rosters choose alike.
func Electorate(env string, members []membership.NodeID) []membership.NodeID {
	return highest(DirectoryRegister(env), members, MaxAcceptors)
}

// ChooseAcceptors chooses the acceptors of a head: 5 of the live members where there are as many, else 3. Where not even
// those are live, members that are not fill up, for a head that one node alone keeps would be lost with that node: only in a
// mesh of less than three are there fewer.
func ChooseAcceptors(env string, live, electorate []membership.NodeID) []membership.NodeID {
	n := 5
	if len(live) < n {
		n = fewestAcceptors(len(electorate))
	}
	out := highest(HeadRegister(env), live, n)
	absent := slices.DeleteFunc(slices.Clone(electorate), func(id membership.NodeID) bool { return slices.Contains(live, id) })
	out = append(out, highest(HeadRegister(env), absent, n-len(out))...)
	slices.Sort(out)
	return out
}

// ChooseSeats chooses the acceptors of a head from those who are there: 5, or 3, or whoever there is.
func ChooseSeats(env string, candidates []Seat) []Seat {
	n := len(candidates)
	switch {
	case n >= MaxSeats:
		n = MaxSeats
	case n >= 3:
		n = 3
	}
	disks, ids := map[membership.NodeID]uint64{}, NodesOf(candidates)
	for _, c := range candidates {
		disks[c.Node] = c.Disk
	}
	var seats []Seat
	for _, id := range highest(HeadRegister(env), ids, n) {
		seats = append(seats, Seat{Node: id, Disk: disks[id]})
	}
	return seats
}

// fewestAcceptors is the least number of acceptors of a head whose directory has an electorate of that size.
func fewestAcceptors(electorate int) int { return min(3, electorate) }

// highest ranks by rendezvous hashing (Thaler and Ravishankar, 1998) and returns the first n, sorted by id.
func highest(key string, ids []membership.NodeID, n int) []membership.NodeID {
	type ranked struct {
		id   membership.NodeID
		rank [32]byte
	}
	all := make([]ranked, len(ids))
	for i, id := range ids {
		all[i] = ranked{id, sha256.Sum256([]byte(key + "\x00" + string(id)))}
	}
	slices.SortFunc(all, func(a, b ranked) int { return bytes.Compare(b.rank[:], a.rank[:]) })
	out := make([]membership.NodeID, 0, min(n, len(all)))
	for _, r := range all[:min(n, len(all))] {
		out = append(out, r.id)
	}
	slices.Sort(out)
	return out
}
