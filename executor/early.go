package executor

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"shoal/states"
)

const (
	// manyFiles is from how many parts on a second goroutine pays for its start.
	manyFiles = 128
	// fileBatch is how many parts are taken at a time.
	fileBatch = 16
)

// answer is what a Check said ahead of the walk.
type answer struct {
	change Change
	err    error
	took   time.Duration
}

// askFiles begins to check the parts that look after paths, beside each other and while the ledger is still being read; the
// returned function takes part and returns when all are answered. The survey's walk then takes the answers in its order.
// Such a Check reads the machine and changes nothing, so that its turn does not matter: what it would see later in the
// survey is what it sees now. What runs commands, as a guard may, is left to the walk, and so is every check once something
// has changed.
func (r *run) askFiles(ctx context.Context) (finish func()) {
	files := r.files()
	if len(files) < manyFiles {
		return func() {}
	}
	r.answers.early = make([]answer, len(files))
	var next atomic.Int64
	work := func() {
		for {
			end := int(next.Add(fileBatch))
			if end-fileBatch >= len(files) {
				return
			}
			began := r.e.Clock.Now()
			for i := end - fileBatch; i < min(end, len(files)); i++ {
				t, a := files[i], &r.answers.early[i]
				a.change, a.err = t.module.Check(ctx, r.host, r.contents, t.params)
				ended := r.e.Clock.Now()
				a.took, began = ended.Sub(began), ended
				t.found.early = a
			}
		}
	}
	var second sync.WaitGroup
	second.Go(work)
	return func() {
		work()
		second.Wait()
	}
}

// files lists the tasks that look after a path and that nothing but a failure keeps from being asked. What waits for outputs
// of others is asked in its turn, and so is what is needed only perhaps; so are extension modules, which may run commands.
func (r *run) files() []*task {
	files := make([]*task, 0, len(r.tasks))
	for _, tasks := range r.tasks {
		for _, t := range tasks {
			if t.kind == states.ResourcePath && t.inv.Skip == "" && !t.inv.Lazy && !t.reaction && t.written == nil && t.extension == nil && t.inv.SupersededBy == 0 {
				files = append(files, t)
			}
		}
	}
	return files
}

// check asks a part for the survey, unless it was asked ahead.
func (r *run) check(ctx context.Context, t *task) (Change, error) {
	if a := t.found.early; a != nil {
		return a.change, a.err
	}
	return t.module.Check(ctx, r.host, r.contents, t.params)
}
