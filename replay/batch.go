package replay

import (
	"iter"
	"slices"
	"sort"
)

// maxWrite bounds what a reader returns at once, in bytes as they are sent; a larger frame
// stands alone.
const maxWrite = 256 << 10

// Batch is a run of consecutive events of the log. It is valid until its Reader is
// used again.
type Batch struct {
	run      *run
	from, to int // events of run
}

// Len is the number of events, 0 for the zero Batch.
func (b Batch) Len() int { return b.to - b.from }

// Last is the seq of the last event.
func (b Batch) Last() uint64 { return b.run.events[b.to-1].seq }

// All yields each event's seq and frame, which is the payload of one WebSocket message.
func (b Batch) All() iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		for i := b.from; i < b.to; i++ {
			e := b.run.events[i]
			if !yield(e.seq, payload(b.run.buf[b.run.begin(i):e.end])) {
				return
			}
		}
	}
}

// span is a part of a run's bytes.
type span struct{ begin, end int }

// wire appends what to write of the batch, and returns how many events that is: those
// that are suppressed at this moment are left out. done bytes of the first event were
// written before, so that the rest of it must follow.
func (b Batch) wire(dst []span, s *Suppressed, done int) (spans []span, events int) {
	from, begin := b.from, b.run.begin(b.from)+done
	events = b.Len()
	skip := b.from
	if done > 0 {
		skip++
	}
	for _, i := range b.run.skipped(s, skip, b.to) {
		if at := b.run.begin(int(i)); at > begin {
			dst = append(dst, span{begin, at})
		}
		from = int(i) + 1
		begin = int(b.run.events[i].end)
		events--
	}
	if from < b.to {
		dst = append(dst, span{begin, int(b.run.events[b.to-1].end)})
	}
	return dst, events
}

// after returns what is left of the batch when the first n bytes of spans were written,
// and how many bytes of its first event are among them.
func (b Batch) after(spans []span, n int) (rest Batch, done int) {
	for _, s := range spans {
		if size := s.end - s.begin; n >= size {
			n -= size
			continue
		}
		at := s.begin + n
		b.from += sort.Search(b.Len(), func(i int) bool { return int(b.run.events[b.from+i].end) > at })
		return b, at - b.run.begin(b.from)
	}
	b.from = b.to
	return b, 0
}

// copied returns the batch in memory of its own.
func (b Batch) copied() Batch {
	begin := b.run.begin(b.from)
	r := &run{
		buf:    slices.Clone(b.run.buf[begin:b.run.events[b.to-1].end]),
		events: slices.Clone(b.run.events[b.from:b.to]),
	}
	for i := range r.events {
		r.events[i].end -= uint32(begin)
	}
	r.used, r.added = len(r.buf), len(r.events)
	r.publish()
	return Batch{run: r, to: b.Len()}
}
