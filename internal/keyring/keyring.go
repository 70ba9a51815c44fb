// Package keyring is what a machine knows of secrets: which of those in the tree that it enforces it may have, their values, and
// the keys that peers wrapped for it, which it keeps on its disk as they came. Values are in memory alone.
package keyring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/node"
	"shoal/secrets"
	"shoal/secrets/agebox"
	"shoal/states"
	"shoal/store"
)

// Keyring may be used by several goroutines.
type Keyring struct {
	dir string
	by  agebox.Opener

	mu sync.Mutex
	// Of the tree that was read last:
	current map[store.Hash]held
	lacking []node.LackingKey
}

// held is a secret of the tree, with its value where that is here.
type held struct {
	secrets.Sealed
	value string
	open  bool
	may   bool // this machine have it
}

// New keeps keys in dir, which it makes when there is one to keep.
func New(dir string, by agebox.Opener) *Keyring { return &Keyring{dir: dir, by: by} }

// Read is what secret() answers from on this machine, whose grant is member, in a tree of env. Fleet are all members: those that may
// have what is lacking here are asked for it.
func (k *Keyring) Read(tree fs.FS, env string, member membership.Member, fleet []mesh.MemberInfo) (*states.Secrets, error) {
	all, err := secrets.Read(tree, env)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	before := k.current
	k.current, k.lacking = map[store.Hash]held{}, nil
	named := map[string]states.Secret{}
	for _, s := range all {
		h, said := k.read(s, before[s.Hash], member)
		k.current[s.Hash] = h
		if named[s.Name] = said; said.Lacking == states.Locked {
			k.lacking = append(k.lacking, node.LackingKey{Env: env, Secret: s.Hash, From: holders(s, fleet)})
		}
	}
	return &states.Secrets{Named: named}, k.prune()
}

// Look is Read for somebody who only looks: nothing on the disk changes.
func (k *Keyring) Look(tree fs.FS, env string, member membership.Member) (*states.Secrets, error) {
	all, err := secrets.Read(tree, env)
	if err != nil {
		return nil, err
	}
	named := map[string]states.Secret{}
	for _, s := range all {
		_, named[s.Name] = k.read(s, held{}, member)
	}
	return &states.Secrets{Named: named}, nil
}

func (k *Keyring) read(s secrets.Sealed, before held, member membership.Member) (held, states.Secret) {
	h, said := held{Sealed: s}, states.Secret{On: s.On}
	if !s.Grants(member) {
		said.Lacking = states.Denied
		return h, said
	}
	h.may = true
	if before.open {
		h.value, h.open = before.value, true
	} else if key, err := k.key(s); err == nil {
		if value, err := agebox.Reveal(s, key); err == nil {
			h.value, h.open = string(value), true
		}
	}
	if said.Value = h.value; !h.open {
		said.Lacking = states.Locked
	}
	return h, said
}

func holders(s secrets.Sealed, fleet []mesh.MemberInfo) (ids []membership.NodeID) {
	for _, m := range fleet {
		if s.Grants(membership.Member{ID: m.ID, Name: m.Name, Zone: m.Zone, Tags: m.Tags}) {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// key opens the key of a secret: that which came with it, or that which a peer wrapped.
func (k *Keyring) key(s secrets.Sealed) (secrets.Key, error) {
	key, err := agebox.OpenKey(s, s.Keys, k.by)
	if err == nil {
		return key, nil
	}
	wrapped, readErr := os.ReadFile(k.file(s.Hash))
	if readErr != nil {
		return key, err
	}
	return agebox.OpenKey(s, wrapped, k.by)
}

const fileSuffix = ".age"

func (k *Keyring) file(h store.Hash) string {
	return filepath.Join(k.dir, strings.TrimPrefix(h.String(), "sha256:")+fileSuffix)
}

// prune removes keys that nothing in the tree needs any more, or that this machine may have no more.
func (k *Keyring) prune() error {
	entries, err := os.ReadDir(k.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keys of secrets: %w", err)
	}
	needed := map[string]bool{}
	for h := range k.current {
		if s := k.current[h]; s.may {
			needed[filepath.Base(k.file(h))] = true
		}
	}
	for _, e := range entries {
		if !needed[e.Name()] {
			if err := os.Remove(filepath.Join(k.dir, e.Name())); err != nil {
				return fmt.Errorf("keys of secrets: %w", err)
			}
		}
	}
	return nil
}

// Lacking implements node.KeyEnforcer.
func (k *Keyring) Lacking() []node.LackingKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]node.LackingKey(nil), k.lacking...)
}

// TakeKey implements node.KeyEnforcer.
func (k *Keyring) TakeKey(env string, secret store.Hash, wrapped []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	h, ok := k.current[secret]
	if !ok || h.Env != env || h.open {
		return nil // it is not asked for any more
	}
	key, err := agebox.OpenKey(h.Sealed, wrapped, k.by)
	if err != nil {
		return fmt.Errorf("secret %s: %w", h.Name, err)
	}
	value, err := agebox.Reveal(h.Sealed, key)
	if err != nil {
		return fmt.Errorf("secret %s: %w", h.Name, err)
	}
	if err := k.save(secret, wrapped); err != nil {
		return fmt.Errorf("secret %s: %w", h.Name, err)
	}
	h.value, h.open = string(value), true
	k.current[secret] = h
	for i, l := range k.lacking {
		if l.Secret == secret {
			k.lacking = append(k.lacking[:i:i], k.lacking[i+1:]...)
			break
		}
	}
	return nil
}

// save makes the file whole or not at all.
func (k *Keyring) save(secret store.Hash, wrapped []byte) error {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(k.dir, ".new-") // for its owner alone
	if err != nil {
		return err
	}
	_, err = f.Write(wrapped)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), k.file(secret))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(k.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// WrapKey implements node.KeyEnforcer.
func (k *Keyring) WrapKey(to membership.Member, env string, secret store.Hash) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h, ok := k.current[secret]
	if !ok || h.Env != env || !h.open {
		return nil, secrets.ErrLocked
	}
	if !h.Grants(to) {
		return nil, fmt.Errorf("secret %s: %w", h.Name, secrets.ErrDenied)
	}
	key, err := k.key(h.Sealed)
	if err != nil {
		return nil, err
	}
	return agebox.Wrap(key, to.ID)
}
