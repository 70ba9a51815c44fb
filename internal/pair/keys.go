package pair

import (
	"context"
	"errors"

	"shoal/membership"
	"shoal/mesh/node"
	"shoal/store"
)

// The keys of secrets stay on the executor's side, which decides by the grants that it knows itself.

// LackingKeys implements node.KeyKeeper.
func (s *MeshSide) LackingKeys(ctx context.Context) []node.LackingKey {
	told, err := s.keys(ctx, Keys{})
	if err != nil {
		return nil
	}
	return told.Lacking
}

// TakeKey implements node.KeyKeeper.
func (s *MeshSide) TakeKey(ctx context.Context, env string, secret store.Hash, wrapped []byte) error {
	_, err := s.keys(ctx, Keys{Env: env, Secret: secret, Wrapped: wrapped})
	return err
}

// WrapKey implements node.KeyKeeper.
func (s *MeshSide) WrapKey(ctx context.Context, to membership.NodeID, env string, secret store.Hash) ([]byte, error) {
	told, err := s.keys(ctx, Keys{Env: env, Secret: secret, To: to})
	return told.Wrapped, err
}

func (s *MeshSide) keys(ctx context.Context, m Keys) (told KeysTold, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answer := make(chan KeysTold, 1)
	s.mu.Lock()
	s.asked++
	m.ID = s.asked
	s.asks[m.ID] = answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.asks, m.ID)
		s.mu.Unlock()
	}()
	if err := s.conn.Send(&m); err != nil {
		return told, err
	}
	select {
	case told = <-answer:
	case <-ctx.Done():
		return told, context.Cause(ctx)
	}
	if told.Err != "" {
		err = errors.New(told.Err)
	}
	return told, err
}

func (s *MeshSide) keysTold(told KeysTold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if answer := s.asks[told.ID]; answer != nil {
		answer <- told
		delete(s.asks, told.ID)
	}
}

// keyed answers the other side about keys.
func (s *RootSide) keyed(ctx context.Context, conn *Conn, m Keys) {
	s.believe.Lock()
	exec := s.exec
	s.believe.Unlock()
	if exec == nil {
		return // it asks again
	}
	told, err := KeysTold{ID: m.ID}, error(nil)
	switch {
	case len(m.Wrapped) > 0:
		err = exec.TakeKey(ctx, m.Env, m.Secret, m.Wrapped)
	case m.To != "":
		told.Wrapped, err = exec.WrapKey(ctx, m.To, m.Env, m.Secret)
	default:
		told.Lacking = exec.LackingKeys(ctx)
	}
	if err != nil {
		told.Err = cut(err)
	}
	_ = conn.Send(&told) // Serve finds out
}
