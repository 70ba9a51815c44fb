package pair

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"shoal/internal/bounded"
	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/node"
	"shoal/store"
)

// written is a connection over which all has come already.
type written struct{ io.Reader }

func (written) Write([]byte) (int, error)        { return 0, io.ErrClosedPipe }
func (written) Close() error                     { return nil }
func (written) LocalAddr() net.Addr              { return nil }
func (written) RemoteAddr() net.Addr             { return nil }
func (written) SetDeadline(time.Time) error      { return nil }
func (written) SetReadDeadline(time.Time) error  { return nil }
func (written) SetWriteDeadline(time.Time) error { return nil }

// FuzzFrame: lengths and bytes as the mesh's side writes them, one frame after another.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 1, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		c := NewConn(written{bytes.NewReader(data)})
		bounded.Run(t, MaxFrame+bounded.MiB+100*uint64(len(data)), func() { // one that is announced and cut off, and what else there is
			for err := error(nil); err == nil; {
				_, err = c.Receive()
			}
		})
	})
}

// FuzzDecode: the mesh's side is not believed, so whatever it writes must be refused or be a message within its limits.
func FuzzDecode(f *testing.F) {
	for _, m := range []Message{
		&Start{Body: []byte("x")}, &Up{}, &Left{}, &Records{Records: []membership.Signed{{Domain: membership.DomainGrant, Body: []byte("x")}}},
		&Offer{Proof: mesh.Proof{Head: store.HeadRecord{Env: "production"}}}, &Get{Hashes: make([]store.Hash, 2)},
		&Object{Data: []byte("x")}, &Ask{ID: 1, Confirm: true}, &Told{ID: 1, Err: "nobody"}, &Done{}, &Stop{},
		&Keys{ID: 1}, &Keys{ID: 2, Env: "production", Secret: store.HashOf([]byte("x")), Wrapped: []byte("wrapped")},
		&Keys{ID: 3, Env: "production", Secret: store.HashOf([]byte("x")), To: "somebody"},
		&KeysTold{ID: 1, Lacking: []node.LackingKey{{Env: "production", Secret: store.HashOf([]byte("x"))}}}, &KeysTold{ID: 2, Wrapped: []byte("x"), Err: "no"},
	} {
		data, err := Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := NewConn(written{bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...))}).Receive()
		if _, plain := Decode(data); (err == nil) != (plain == nil) {
			t.Fatalf("in a frame: %v; without: %v", err, plain)
		}
		if err != nil {
			return
		}
		if err := m.check(); err != nil {
			t.Fatalf("%T over its limits: %v", m, err)
		}
		again, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		// Not data itself: null is read as a message without fields.
		back, err := Decode(again)
		if err != nil {
			t.Fatalf("%T as it is written is refused: %v", m, err)
		}
		if twice, err := Encode(back); err != nil || !bytes.Equal(twice, again) {
			t.Fatalf("%T is read as another: %v", m, err)
		}
		if offer, ok := m.(*Offer); ok {
			genesis, _ := membership.NewGenesis(make([]byte, 32), 1, ed25519.NewKeyFromSeed(make([]byte, 32)))
			chain, err := membership.OpenChain([]membership.Signed{genesis})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := offer.Proof.Open("production", mesh.Witness{Roster: membership.NewRoster(chain), Chain: chain}); err == nil {
				t.Fatal("something that nobody signed holds")
			}
		}
	})
}

func TestLimits(t *testing.T) {
	for name, m := range map[string]Message{
		"an object":  &Object{Data: make([]byte, store.MaxObject+1)},
		"hashes":     &Get{Hashes: make([]store.Hash, maxHashes+1)},
		"records":    &Records{Records: make([]membership.Signed, maxRecords+1)},
		"a report":   &Done{Reported: mesh.Reported{Report: make([]byte, mesh.MaxReport+1)}},
		"an error":   &Told{Err: string(make([]byte, maxText+1))},
		"seals":      &Offer{Proof: mesh.Proof{Seals: make([]membership.Signed, mesh.MaxSeals+1)}},
		"of a start": &Start{Body: make([]byte, maxStart+1)},
		"a key":      &Keys{Wrapped: make([]byte, maxText+1)},
		"a name":     &Keys{Env: string(make([]byte, store.MaxEnv+1))},
		"a told key": &KeysTold{Wrapped: make([]byte, maxText+1)},
	} {
		body, err := codec.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(append([]byte{m.kind()}, body...)); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		_, _ = there.Write(binary.BigEndian.AppendUint32(nil, MaxFrame+1))
		there.Close()
	}()
	if _, err := NewConn(here).Receive(); !errors.Is(err, ErrFrame) {
		t.Errorf("a frame that is too long: %v", err)
	}
}

// A frame that has begun must end in time, and one that is sent be taken; between frames there may be any time.
func TestASlowSide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer here.Close()
		defer there.Close()
		go func() { _, _ = there.Write([]byte{0, 0, 0, 9, 2}) }()
		if _, err := NewConn(here).Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a frame that does not end: %v", err)
		}
		if err := NewConn(here).Send(&Stop{}); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a side that reads nothing: %v", err)
		}
	})
}
