package replay

import (
	"context"
	"runtime"
	"slices"
	"sort"
	"sync"

	"github.com/cistern-archive/cistern/segmentlog"
	"golang.org/x/sync/semaphore"
)

const (
	// maxFetches bounds how many blocks are on their way from the archive at a time.
	maxFetches = 8
	// minBlockBytes is the least budget of a Blocks: the largest block and its neighbour.
	minBlockBytes = 2 * segmentlog.MaxBlock
	// aheadBytes is about what a reader has of the budget when the block after its own is
	// prepared too.
	aheadBytes = 5 << 19
)

// Blocks prepares blocks of the log's files for sending and keeps them, within a budget of
// bytes, for all readers of the same region. A block is prepared once however many ask
// for it. Few are decoded at a time, in the order they were asked for, so that the live path
// keeps a processor, and nobody holds one of those places while it writes. Besides the
// budget it needs up to 2 MiB for each block that is being decoded or fetched.
type Blocks struct {
	log     *segmentlog.Log
	budget  int
	decodes *semaphore.Weighted
	fetches *semaphore.Weighted
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	bytes   int              // of ready, and of loads that have room
	ready   []*block         // by through; they overlap where a hot file grew
	loads   map[uint64]*load // by their block's through
	opening map[uint64]*load // by position: their file is not open yet
	waiting []*load          // for room, the oldest first
	views   []*view          // open files
	spare   []room           // to use again
	scratch []*segmentlog.BlockBuffer
	clock   uint64             // counts uses
	readers map[*Reader]uint64 // that read from files now: the position each asked for last
	stats   BlockStats
}

// BlockStats are figures of a Blocks.
type BlockStats struct {
	Bytes          int    // of prepared blocks, now
	Prepared, Hits uint64 // blocks that were decoded, and that were there when asked for
}

// block is a prepared block in the cache, which has a share of it.
type block struct {
	*run
	through uint64
	size    int    // bytes of the budget
	used    uint64 // the clock when it was last asked for
}

// NewBlocks returns a cache of about budget bytes of blocks of a log. Close it.
func NewBlocks(log *segmentlog.Log, budget int) *Blocks {
	ctx, cancel := context.WithCancel(context.Background())
	return &Blocks{
		log: log, budget: max(budget, minBlockBytes), ctx: ctx, cancel: cancel,
		decodes: semaphore.NewWeighted(int64(max(1, runtime.GOMAXPROCS(0)-1))), fetches: semaphore.NewWeighted(maxFetches),
		loads: map[uint64]*load{}, opening: map[uint64]*load{}, readers: map[*Reader]uint64{},
	}
}

// Stats returns them.
func (b *Blocks) Stats() BlockStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Bytes = b.bytes
	return s
}

// Close waits for what is being prepared and closes the files. No reader may be open.
func (b *Blocks) Close() {
	b.cancel()
	b.running.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closeViews(0)
}

// get returns the block with the first record above a reader's position, with a share
// taken, if it is ready. Otherwise the load that prepares it, which wakes the reader when it
// has ended.
func (b *Blocks) get(r *Reader) (*run, *load) {
	b.mu.Lock()
	defer b.mu.Unlock()
	pos := r.pos
	b.readers[r] = pos
	if k := b.find(pos); k != nil {
		b.stats.Hits++
		k.hold()
		return k.run, nil
	}
	l := b.load(pos)
	l.wakes = append(l.wakes, r.wake)
	return nil, l
}

// ahead prepares the block after a position too, if there is room for every reader's.
func (b *Blocks) ahead(pos uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 && len(b.readers)*aheadBytes <= b.budget && pos < b.log.Tip() && b.find(pos) == nil {
		b.load(pos)
	}
}

// find returns a ready block that holds the first record above pos.
func (b *Blocks) find(pos uint64) *block {
	i := sort.Search(len(b.ready), func(i int) bool { return b.ready[i].through > pos })
	if i == len(b.ready) || b.ready[i].after > pos {
		return nil
	}
	b.clock++
	b.ready[i].used = b.clock
	return b.ready[i]
}

// put takes a block into the cache.
func (b *Blocks) put(k *block) {
	b.clock++
	k.used = b.clock
	b.stats.Prepared++
	i := sort.Search(len(b.ready), func(i int) bool { return b.ready[i].through >= k.through })
	b.ready = slices.Insert(b.ready, i, k)
}

// leave says that a reader no longer reads from files.
func (b *Blocks) leave(r *Reader) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.readers, r)
	if len(b.readers) == 0 {
		b.closeViews(0)
	}
}

// release gives a reader's share of a block back. Unless another reader is behind the block,
// nobody is likely to want it: then its memory is used for the next one, while it is in the
// processor's cache.
func (b *Blocks) release(r *Reader, k *run) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k.release()
	if !b.awaited(r, k) {
		for i, have := range b.ready {
			if have.run == k && k.refs.Load() == 1 {
				b.forget(i)
				break
			}
		}
	}
	b.admit()
}

// awaited says whether another reader than r is behind the end of a block.
func (b *Blocks) awaited(r *Reader, k *run) bool {
	for other, pos := range b.readers {
		if other != r && pos < k.last() {
			return true
		}
	}
	return false
}
