package replay

import (
	"sort"
	"sync"

	"github.com/cistern-archive/cistern/segmentlog"
)

const (
	// chunkSize is how much memory the ring takes at once, in bytes.
	chunkSize = 1 << 20
	// maxWrite bounds what a consumer is handed for one write, in bytes; a larger
	// frame stands alone.
	maxWrite = 256 << 10
)

// Ring holds the newest durable events in memory, ready to send: each with its
// WebSocket header, one after the other. It begins empty, at the tip of the log,
// and forgets the oldest chunk when it is over its budget.
type Ring struct {
	budget int

	mu     sync.Mutex
	chunks []*chunk
	bytes  int
	low    uint64        // it holds every event with a seq in (low, high]
	high   uint64        //
	grown  chan struct{} // closed at the next publish
}

// chunk is a piece of the ring. Bytes once published never change, so readers
// keep slices of buf without a lock.
type chunk struct {
	prev   uint64 // seq of the event before the first
	buf    []byte // never grows past its capacity
	events []ringEvent
}

type ringEvent struct {
	seq uint64
	end int // of the event in buf
}

// NewRing returns a ring of about budget bytes that follows a log whose last
// durable seq is tip.
func NewRing(budget int, tip uint64) *Ring {
	return &Ring{budget: budget, low: tip, high: tip, grown: make(chan struct{})}
}

// Publish adds a group commit; it is meant for segmentlog.Options.OnCommit.
func (r *Ring) Publish(b segmentlog.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range b.Len() {
		r.add(b.Seq(i), b.Frame(i))
	}
	for r.bytes > r.budget && len(r.chunks) > 1 {
		r.bytes -= cap(r.chunks[0].buf)
		r.chunks[0] = nil
		r.chunks = r.chunks[1:]
		r.low = r.chunks[0].prev
	}
	close(r.grown)
	r.grown = make(chan struct{})
}

func (r *Ring) add(seq uint64, frame []byte) {
	need := maxFrameHead + len(frame)
	var c *chunk
	if n := len(r.chunks); n > 0 {
		c = r.chunks[n-1]
	}
	if c == nil || cap(c.buf)-len(c.buf) < need {
		c = &chunk{prev: r.high, buf: make([]byte, 0, max(chunkSize, need))}
		r.chunks = append(r.chunks, c)
		r.bytes += cap(c.buf)
	}
	c.buf = appendFrame(c.buf, opBinary, frame)
	c.events = append(c.events, ringEvent{seq, len(c.buf)})
	r.high = seq
}

// after returns events with a seq above pos that stand together in memory, at
// most maxWrite bytes unless the first is larger. held is false when the ring
// does not reach back to pos; otherwise, when nothing is above pos, grown is closed
// once there may be.
func (r *Ring) after(pos uint64) (b Batch, held bool, grown <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if pos < r.low {
		return Batch{}, false, nil
	}
	if pos >= r.high {
		return Batch{}, true, r.grown
	}
	i := sort.Search(len(r.chunks), func(i int) bool { return r.chunks[i].prev > pos }) - 1
	if last := r.chunks[i].events[len(r.chunks[i].events)-1]; last.seq <= pos {
		i++ // pos is the last of this chunk, the next begins right after it
	}
	return r.chunks[i].after(pos), true, nil
}

func (c *chunk) after(pos uint64) Batch {
	i := sort.Search(len(c.events), func(i int) bool { return c.events[i].seq > pos })
	start := 0
	if i > 0 {
		start = c.events[i-1].end
	}
	j := sort.Search(len(c.events), func(j int) bool { return c.events[j].end > start+maxWrite })
	j = max(j, i+1)
	return Batch{Wire: c.buf[start:c.events[j-1].end], Events: j - i, Last: c.events[j-1].seq}
}
