package gossip

import (
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"shoal/membership"
)

// maxRelayed is how many hints a node passes on at a time; those that were told most often make room.
const maxRelayed = 64

// What a compound packet needs besides its messages.
const (
	compoundHead = 2
	compoundEach = 2
)

// relay tells hints to others beside serf, in packets of their own. serf's events get what memberlist's news leave of a packet, and
// who has just learnt of n others has n × retransmit × log10(n) messages about them to pass on, which all go first: on 1,000
// nodes that is minutes, in which no hint leaves it. What comes both ways serf knows to be one.
type relay struct {
	every time.Duration // a round
	nodes int           // told in a round
	room  int           // bytes of a packet
	size  atomic.Int64  // of the mesh; the queue must not ask for it, under locks that may wait for the pump
	queue memberlist.TransmitLimitedQueue
	wake  chan struct{}
}

// newRelay takes rounds and retransmissions from memberlist's, so that hints are told as often as other news.
func newRelay(ml *memberlist.Config) *relay {
	r := &relay{
		every: ml.GossipInterval, nodes: ml.GossipNodes, room: ml.UDPBufferSize - compoundHead, wake: make(chan struct{}, 1),
	}
	r.queue.RetransmitMult, r.queue.NumNodes = ml.RetransmitMult, func() int { return int(r.size.Load()) }
	return r
}

// rumour is one hint, as it is in packets.
type rumour []byte

func (rumour) Invalidates(memberlist.Broadcast) bool { return false }
func (r rumour) Message() []byte                     { return r }
func (rumour) Finished()                             {}
func (rumour) UniqueBroadcast()                      {}

// pass takes a hint that is new here, from elsewhere or from this node.
func (r *relay) pass(e serf.UserEvent) {
	data, err := pack(serfEvent, event{LTime: uint64(e.LTime), Name: e.Name, Payload: e.Payload, CC: e.Coalesce})
	if err != nil {
		return // serf tells of it all the same
	}
	r.queue.QueueBroadcast(rumour(append([]byte{kindUser}, data...)))
	r.queue.Prune(maxRelayed)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run has a round as soon as there is something to tell, and another each so often until there is nothing. some draws whom to tell.
func (r *relay) run(done <-chan struct{}, some func(k int) (drawn []membership.Event, size int), send func(packet []byte, to membership.Event)) {
	for {
		select {
		case <-done:
			return
		case <-r.wake:
		}
		for r.queue.NumQueued() > 0 {
			others, size := some(r.nodes)
			r.size.Store(int64(size))
			if len(others) == 0 {
				r.queue.Prune(0) // serf keeps it for who comes
			}
			for _, to := range others {
				if packet := join(r.queue.GetBroadcasts(compoundEach, r.room)); packet != nil {
					send(packet, to)
				}
			}
			select {
			case <-done:
				return
			case <-time.After(r.every):
			}
		}
	}
}
