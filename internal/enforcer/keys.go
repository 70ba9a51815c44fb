package enforcer

import (
	"shoal/membership"
	"shoal/mesh/node"
	"shoal/secrets"
	"shoal/store"
)

var _ node.KeyEnforcer = (*Enforcer)(nil)

// Lacking implements node.KeyEnforcer.
func (e *Enforcer) Lacking() []node.LackingKey {
	if e.Keys == nil {
		return nil
	}
	return e.Keys.Lacking()
}

// TakeKey implements node.KeyEnforcer.
func (e *Enforcer) TakeKey(env string, secret store.Hash, wrapped []byte) error {
	if e.Keys == nil {
		return nil
	}
	return e.Keys.TakeKey(env, secret, wrapped)
}

// WrapKey implements node.KeyEnforcer.
func (e *Enforcer) WrapKey(to membership.Member, env string, secret store.Hash) ([]byte, error) {
	if e.Keys == nil {
		return nil, secrets.ErrLocked
	}
	return e.Keys.WrapKey(to, env, secret)
}
