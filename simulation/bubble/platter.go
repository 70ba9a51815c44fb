package bubble

import (
	"sync"

	"shoal/executor/fake"
	"shoal/store/memory"
)

// platter is what of a machine's disk survives a power cut. What is written is seen at once, by the machine itself; it is there after a
// power cut when a sync that began later has ended. While syncs hang none does.
type platter struct {
	mu    sync.Mutex
	hangs chan struct{} // closed when syncs go on; nil: they do
	store *memory.KV    // without what is not synced; nil: all is
	files *fake.Image
}

// hang has no sync end until mend.
func (p *platter) hang() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hangs == nil {
		p.hangs = make(chan struct{})
	}
}

func (p *platter) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hangs != nil {
		close(p.hangs)
		p.hangs, p.store = nil, nil
	}
}

func (p *platter) hanging() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hangs != nil
}

// sync waits for the disk; false: the power went meanwhile.
func (p *platter) sync(gone <-chan struct{}) bool {
	p.mu.Lock()
	hangs := p.hangs
	p.mu.Unlock()
	if hangs == nil {
		return true
	}
	select {
	case <-hangs:
		return true
	case <-gone:
		return false
	}
}

// writes is called before something is written to the store.
func (p *platter) writes(kv *memory.KV) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hangs != nil && p.store == nil {
		p.store = kv.Clone()
	}
}

// synced notes the files as they are.
func (p *platter) synced(f *fake.Files) {
	image := f.Image()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files = image
}

// cut is the power cut: what is left of the store, and of the files.
func (p *platter) cut(kv *memory.KV, files *fake.Files, data *fake.Data) *memory.KV {
	p.mu.Lock()
	defer p.mu.Unlock()
	data.PowerCut()
	if p.files != nil {
		files.Restore(p.files)
	}
	if p.store != nil {
		kv, p.store = p.store, nil
	}
	if kv == nil {
		return nil
	}
	return kv.Clone()
}
