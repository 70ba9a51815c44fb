package pair

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Contact implements node.Site: the other side asks its peers. Its word can keep a change from being made final, or let one stand
// that cuts the machine off; it cannot make one.
func (s *RootSide) Contact(ctx context.Context) func(context.Context) error {
	asked, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if s.ask(asked, false) != nil {
		return nil
	}
	return s.confirmed
}

// confirmed waits until a peer answers. The change may have ended the process on the other side, which then comes again.
func (s *RootSide) confirmed(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, s.confirm+askTime)
	defer cancel()
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		err := s.ask(within, true)
		if err == nil || !errors.Is(err, errAway) {
			return err
		}
		select {
		case <-changed:
		case <-within.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%w since the change", err)
		}
	}
}

func (s *RootSide) ask(ctx context.Context, confirm bool) error {
	s.mu.Lock()
	conn := s.conn
	s.asked++
	id, answer := s.asked, make(chan Told, 1)
	if conn != nil {
		s.asks[id] = answer
	}
	s.mu.Unlock()
	if conn == nil || conn.Send(&Ask{ID: id, Confirm: confirm}) != nil {
		return errAway
	}
	select {
	case t := <-answer:
		if t.Err == errAway.Error() {
			return errAway
		}
		if t.Err != "" {
			return fmt.Errorf("%.300s", t.Err)
		}
		return nil
	case <-ctx.Done():
		s.mu.Lock()
		delete(s.asks, id)
		s.mu.Unlock()
		return context.Cause(ctx)
	}
}

// Stop asks the process on the other side to say goodbye, and gives it some time.
func (s *RootSide) Stop(within time.Duration) {
	s.mu.Lock()
	conn, changed := s.conn, s.changed
	s.mu.Unlock()
	if conn == nil || conn.Send(&Stop{}) != nil {
		return
	}
	select {
	case <-changed:
	case <-time.After(within):
	}
}
