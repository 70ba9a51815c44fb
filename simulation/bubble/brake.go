package bubble

import "sync"

// brake stops a machine, as SIGSTOP does a process: whoever comes to its network, its disk or its host waits there until it goes on. Of
// a stopped process nobody sees anything but what it does there; so that its timers are late shows as it would, though those
// of its goroutines that have nothing to do with the world go on by the one clock that all in a bubble share.
type brake struct {
	mu    sync.Mutex
	going chan struct{} // closed: it goes on; nil: it goes
	late  []func()      // what it wanted to do without waiting
	dead  bool
}

// stop returns false when it is stopped already.
func (b *brake) stop() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.going != nil || b.dead {
		return false
	}
	b.going = make(chan struct{})
	return true
}

// release lets it go on; after the end of the process nothing is done any more of what was begun.
func (b *brake) release(dead bool) bool {
	b.mu.Lock()
	going, late := b.going, b.late
	b.going, b.late, b.dead = nil, nil, b.dead || dead
	b.mu.Unlock()
	if going == nil {
		return false
	}
	close(going)
	if !dead {
		for _, do := range late {
			do()
		}
	}
	return true
}

// pass waits while the machine is stopped, and returns false when its process has ended meanwhile.
func (b *brake) pass() bool {
	for {
		b.mu.Lock()
		going, dead := b.going, b.dead
		b.mu.Unlock()
		if going == nil {
			return !dead
		}
		<-going
	}
}

// then does something now, or when the machine goes on, for those who must not wait.
func (b *brake) then(do func()) {
	b.mu.Lock()
	stopped := b.going != nil
	if stopped {
		b.late = append(b.late, do)
	}
	b.mu.Unlock()
	if !stopped {
		do()
	}
}

func (b *brake) stopped() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.going != nil
}
