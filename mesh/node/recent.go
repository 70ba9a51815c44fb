package node

import (
	"sync"

	"shoal/store"
)

// maxRecent bounds the bytes of recent.
const maxRecent = 4 << 20

// recent are the objects that clients brought last. They are about to be sent to their owners, and need not be read from the disk
// again for each; they were hashed as they came.
type recent struct {
	mu      sync.Mutex
	objects map[store.Hash][]byte
	order   []store.Hash // the oldest first
	bytes   int
}

func (r *recent) add(names []store.Hash, objects [][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.objects == nil {
		r.objects = map[store.Hash][]byte{}
	}
	for i, h := range names {
		if _, here := r.objects[h]; here {
			continue
		}
		r.objects[h] = objects[i]
		r.order = append(r.order, h)
		r.bytes += len(objects[i])
	}
	for r.bytes > maxRecent {
		oldest := r.order[0]
		r.order = r.order[1:]
		r.bytes -= len(r.objects[oldest])
		delete(r.objects, oldest)
	}
}

func (r *recent) get(h store.Hash) ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	data, ok := r.objects[h]
	return data, ok
}
