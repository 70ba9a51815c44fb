package bubble

import (
	"context"
	"fmt"
	"time"

	"shoal/membership"
)

// How nodes that start acquainted start.
const (
	// apartAcquainted is between two of those who exchange what they know.
	apartAcquainted = 30 * time.Millisecond
	// quietStep is how long is looked at how much they have to tell.
	quietStep = 10 * time.Second
	quietTime = 15 * time.Minute
	// emptyPacket is more than the bytes of a probe, and much less than those of a packet full of news.
	emptyPacket = 400
)

// startAcquainted starts machines that know each other's grants, as after a restart. All exchange what the gossip knows with the
// first, twice, over streams, while no packet arrives; and then tell nobody what they have learnt, until they have no more of it to
// tell. Left out is that each tells each of all, which is most of the work of a large mesh that meets.
func (w *World) startAcquainted(machines []*Machine, pass func(time.Duration)) error {
	w.met = membership.NewRoster(w.chain)
	for _, m := range machines {
		if err := m.redeem(); err != nil {
			return err
		}
		if _, err := w.met.Add(time.Now(), *m.grant); err != nil {
			return err
		}
	}
	w.Fabric.Mute(true)
	for _, m := range machines {
		if err := m.Start(nil); err != nil {
			return fmt.Errorf("start %s: %w", m.Name, err)
		}
	}
	for range 2 { // after the first time the first knows all
		for _, m := range machines[1:] {
			if err := m.meet(machines[0]); err != nil {
				return err
			}
			pass(apartAcquainted)
		}
	}
	w.Fabric.Quieten(pass)
	w.Fabric.Mute(false)
	return nil
}

func (m *Machine) meet(other *Machine) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := m.run.Load().gossip.Join(ctx, []string{other.addr}); err != nil {
		return fmt.Errorf("%s meets %s: %w", m.Name, other.Name, err)
	}
	return nil
}

// Quieten waits until no node has news to tell: they fill its packets. pass lets time pass.
func (f *Fabric) Quieten(pass func(time.Duration)) {
	for began := time.Now(); time.Since(began) < quietTime; {
		before := f.Traffic()
		pass(quietStep)
		telling := false
		for name, now := range f.Traffic() {
			bytes, packets := now.PacketBytes-before[name].PacketBytes, now.Packets-before[name].Packets
			telling = telling || bytes > packets*emptyPacket
		}
		if !telling {
			return
		}
	}
}
