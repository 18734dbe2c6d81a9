package replay

import (
	"sync"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
)

// How the ring's memory is cut.
const (
	// chunkBytes is a chunk's room for frames; a larger frame has one of its own.
	chunkBytes = 1 << 20
	// chunkEvents is its room for events: frames of less than 512 bytes fill that first.
	chunkEvents = chunkBytes / 512
	eventBytes  = 32
)

// Ring holds the newest durable events in memory, ready to send: each with its
// WebSocket header, one after the other. It begins empty, at the tip of the log, and
// forgets the oldest chunk when it is over its budget. Readers walk from chunk to chunk
// without a lock; the ring's is for finding the first one.
type Ring struct {
	budget int
	memory memory
	wakeup wakeup

	mu     sync.Mutex
	chunks []*run
	bytes  int
	low    uint64 // it holds every event with a seq in (low, high]
	high   uint64
}

// NewRing returns a ring of about budget bytes that follows a log whose last
// durable seq is tip.
func NewRing(budget int, tip uint64) *Ring {
	r := &Ring{budget: budget, low: tip, high: tip}
	r.wakeup.init()
	return r
}

// Publish adds a group commit; it is meant for segmentlog.Options.OnCommit.
func (r *Ring) Publish(b segmentlog.Batch) {
	now := time.Now().UnixNano()
	r.mu.Lock()
	for i := range b.Len() {
		r.add(b.Seq(i), b.DID(i), b.Frame(i), now)
	}
	if n := len(r.chunks); n > 0 {
		r.chunks[n-1].publish()
	}
	for r.bytes > r.budget && len(r.chunks) > 1 {
		r.forget()
	}
	r.mu.Unlock()
	r.wakeup.signal()
}

func (r *Ring) add(seq uint64, did, frame []byte, at int64) {
	need := maxFrameHead + len(frame)
	var last *run
	if n := len(r.chunks); n > 0 {
		last = r.chunks[n-1]
	}
	if c := last; c == nil || c.full(need) {
		c = r.memory.chunk(need)
		c.after = r.high
		r.bytes += chunkCost(c)
		r.chunks = append(r.chunks, c)
		if last != nil {
			last.publish()
			last.next.Store(c)
		}
		last = c
	}
	last.add(seq, did, frame, at)
	r.high = seq
}

func chunkCost(c *run) int { return len(c.buf) + eventBytes*len(c.events) }

// forget gives the oldest chunk up.
func (r *Ring) forget() {
	c := r.chunks[0]
	r.bytes -= chunkCost(c)
	r.chunks[0] = nil
	r.chunks = r.chunks[1:]
	r.low = r.chunks[0].after
	c.dropped.Store(true)
	c.release()
}

// at returns the chunk that holds the first event above a position, or will hold it,
// with a share taken. reaches says whether the ring reaches back that far; the chunk is nil
// where it does not, or is empty.
func (r *Ring) at(pos uint64) (c *run, reaches bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.chunks)
	if pos < r.low || n == 0 {
		return nil, pos >= r.low
	}
	i := n - 1
	for i > 0 && r.chunks[i].after > pos {
		i--
	}
	c = r.chunks[i]
	c.hold() // the ring has one
	return c, true
}

// Holds returns what can be read from memory: every event with a seq in (after, through], and
// the bytes of memory that takes.
func (r *Ring) Holds() (after, through uint64, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.low, r.high, r.bytes
}

// reaches says whether the ring holds what follows a position.
func (r *Ring) reaches(pos uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return pos >= r.low
}

// Close gives the ring's memory up, each chunk's once its last reader has left it.
// Nothing may be published any more.
func (r *Ring) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.memory.close()
	for _, c := range r.chunks {
		c.dropped.Store(true)
		c.release()
	}
	r.chunks, r.low = nil, r.high
	r.wakeup.stop()
}
