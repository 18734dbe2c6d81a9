package replay

import (
	"sort"
	"sync/atomic"
)

// run is consecutive events, ready to send: each frame behind its WebSocket header, one
// after the other. A chunk of the ring is a run that grows, a prepared block and the unsent
// rest of a write are runs that do not. Bytes and events once published never change; the
// memory is used again when the last holder released the run.
type run struct {
	after  uint64 // it holds all of the log's events from here on to its last
	buf    []byte // of which the first used bytes are frames
	events []event
	count  atomic.Int32        // events that are published
	used   int                 // the writer's, as added
	added  int                 // events that are in events
	next   atomic.Pointer[run] // the chunk after it in the ring
	// archived says that a block was read from the archive.
	archived bool

	refs    atomic.Int32
	free    func(*run)  // called when nobody holds it
	dropped atomic.Bool // its owner would like the memory back
	skips   atomic.Pointer[skips]
}

// event is one event of a run.
type event struct {
	seq uint64
	key uint64 // of its account, 0 for what is never suppressed
	at  int64  // when it was published, Unix ns; 0 where it comes from a file
	end uint32 // of its frame in buf
}

// hold takes a share of the run; false when it is gone.
func (r *run) hold() bool {
	for {
		n := r.refs.Load()
		if n == 0 {
			return false
		}
		if r.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release gives a share back.
func (r *run) release() {
	if r.refs.Add(-1) == 0 && r.free != nil {
		r.free(r)
	}
}

// published is how many events can be read.
func (r *run) published() int { return int(r.count.Load()) }

// last is the seq of the last published event.
func (r *run) last() uint64 {
	if n := r.published(); n > 0 {
		return r.events[n-1].seq
	}
	return r.after
}

// find returns the first of the published events above a seq.
func (r *run) find(after uint64) int {
	n := r.published()
	return sort.Search(n, func(i int) bool { return r.events[i].seq > after })
}

// begin is where event i begins in buf.
func (r *run) begin(i int) int {
	if i == 0 {
		return 0
	}
	return int(r.events[i-1].end)
}

// upTo returns the end of the events from i on that fit into size bytes, at least one.
func (r *run) upTo(i, size int) int {
	limit, n := r.begin(i)+size, r.published()
	j := i + sort.Search(n-i, func(k int) bool { return int(r.events[i+k].end) > limit })
	return max(j, i+1)
}

// add appends an event to a run that only the caller writes; it is seen by others once it
// is published. A run that others see already must have room.
func (r *run) add(seq uint64, did, frame []byte, at int64) {
	buf := appendFrame(r.buf[:r.used], opBinary, frame)
	if len(buf) > len(r.buf) {
		r.buf = buf[:cap(buf)]
	}
	r.used = len(buf)
	if r.added == len(r.events) {
		r.events = append(r.events, event{})
		r.events = r.events[:cap(r.events)]
	}
	r.events[r.added] = event{seq: seq, key: suppressKey(did, frame), at: at, end: uint32(r.used)}
	r.added++
}

// publish shows what was added to readers.
func (r *run) publish() { r.count.Store(int32(r.added)) }

// full says that a run that others see has no room for a frame of need bytes with its header.
func (r *run) full(need int) bool {
	return len(r.buf)-r.used < need || r.added == len(r.events)
}
