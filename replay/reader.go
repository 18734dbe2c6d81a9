package replay

import (
	"context"
	"fmt"

	"github.com/cistern-archive/cistern/segmentlog"
)

// Tier says where a batch came from.
type Tier uint8

// The tiers, nearest first.
const (
	Memory  Tier = iota // the ring
	Disk                // the log's local files, hot or sealed
	Archive             // segments that only the archive holds
	tiers
)

func (t Tier) String() string {
	return [...]string{"memory", "disk", "archive"}[t]
}

// TrimmedError says that the events above After, up to Through, are no longer kept.
type TrimmedError struct{ After, Through uint64 }

func (e *TrimmedError) Error() string {
	return fmt.Sprintf("what follows cursor %d is no longer kept: the log was trimmed through seq %d", e.After, e.Through)
}

// Source is where readers read: a log, the ring that follows it, and the blocks of its
// files.
type Source struct {
	Log    *segmentlog.Log
	Ring   *Ring
	Blocks *Blocks
}

// Reader reads the log from a position, from whatever tier holds it. It is for one
// goroutine. Close it.
type Reader struct {
	src  Source
	pos  uint64
	tier Tier
	wake chan struct{}

	run    *run  // with a share, nil between runs
	at     int   // the next event of run
	tip    bool  // the last batch had everything that was published
	block  bool  // run is a block, not a chunk of the ring
	load   *load // what the reader waits for
	files  bool  // it reads from files
	joined bool  // the ring wakes it
}

// NewReader returns a reader of the events with a seq above pos.
func (s Source) NewReader(pos uint64) *Reader {
	return &Reader{src: s, pos: pos, wake: make(chan struct{}, 1)}
}

// Position is the seq of the last event returned, or where the reader began.
func (r *Reader) Position() uint64 { return r.pos }

// Tier is where the last batch came from.
func (r *Reader) Tier() Tier { return r.tier }

// Idle gives up the memory that the reader holds or waits for, and with it the last batch.
// Call it before a long pause: what is held by readers that do not go on is missing to others.
func (r *Reader) Idle() {
	r.letGo()
	if r.load != nil {
		r.abandon()
		nudge(r.wake) // what it waited for will not wake it
	}
}

// wanted says that others wait for the memory that the reader holds.
func (r *Reader) wanted() bool { return r.run != nil && r.run.dropped.Load() }

// Drained says that the last batch had everything there was, so that Poll need not be
// called before Wake gets a token.
func (r *Reader) Drained() bool { return r.tip }

// Loading says that events after the position are on their way from the files.
func (r *Reader) Loading() bool { return r.load != nil }

// Wake gets a token when Poll may return more than it did, and sometimes when not.
func (r *Reader) Wake() <-chan struct{} { return r.wake }

// Close releases what the reader holds, the last batch too.
func (r *Reader) Close() {
	r.letGo()
	if r.load != nil {
		r.abandon()
	}
	r.leaveFiles()
	if r.joined {
		r.src.Ring.wakeup.leave(r.wake)
		r.joined = false
	}
}

// Next waits for events.
func (r *Reader) Next(ctx context.Context) (Batch, error) {
	for {
		b, err := r.Poll()
		if err != nil || b.Len() > 0 {
			return b, err
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		}
	}
}

// Poll returns the next events, of at most 256 KiB unless the first is larger. When
// there are none yet, or they are not ready, the batch is empty, and Wake gets a token
// once it is worth while to poll again. The batch lives until the reader is used again.
// After a *TrimmedError it goes on behind what was trimmed.
func (r *Reader) Poll() (Batch, error) {
	for {
		if r.run == nil {
			if found, err := r.seek(); err != nil || !found {
				return Batch{}, err
			}
		}
		next := r.run.next.Load() // before the count: what is published by then is read first
		if b, drained := r.rest(); b.Len() > 0 {
			r.tip = r.joined && !r.block && next == nil && drained
			return b, nil
		}
		switch {
		case r.block:
			r.pos = max(r.pos, r.run.last())
			r.letGo()
		case next != nil:
			r.follow(next)
		case r.run.dropped.Load():
			r.letGo()
		case r.joined:
			return Batch{}, nil
		default:
			r.join() // and look again
		}
	}
}

// rest returns the next events of the run, and whether they are all that it had.
func (r *Reader) rest() (b Batch, drained bool) {
	n := r.run.published()
	if r.at < n && r.run.events[r.at].seq <= r.pos {
		r.at = r.run.find(r.pos) // the reader began above them
	}
	if r.at == n {
		return Batch{}, true
	}
	b = Batch{run: r.run, from: r.at, to: r.run.upTo(r.at, maxWrite)}
	r.at, r.pos = b.to, b.Last()
	return b, r.at == n
}

// seek finds the run that holds what follows the position. found is false when it is not
// ready, or not there yet.
func (r *Reader) seek() (found bool, err error) {
	for {
		if r.load != nil {
			return r.loaded()
		}
		c, reaches := r.src.Ring.at(r.pos)
		if c != nil {
			r.leaveFiles()
			r.run, r.at, r.block, r.tier = c, c.find(r.pos), false, Memory
			return true, nil
		}
		if reaches { // it is empty
			if r.joined {
				return false, nil
			}
			r.join()
			continue
		}
		r.files = true
		k, l := r.src.Blocks.get(r)
		if k == nil {
			r.load = l
			return false, nil
		}
		return true, r.take(k)
	}
}

// loaded looks at what the reader waits for.
func (r *Reader) loaded() (found bool, err error) {
	k, done, err := r.src.Blocks.take(r.load)
	if !done {
		return false, nil
	}
	r.load = nil
	switch {
	case err != nil:
		if through := r.src.Log.Stream().TrimmedThrough; r.pos < through { // its file went meanwhile
			return false, r.trimmed(through)
		}
		return false, fmt.Errorf("replay: %w", err)
	case k == nil: // the files end below what the ring had: look there again
		nudge(r.wake)
		return false, nil
	}
	return true, r.take(k)
}

// take begins to read a block of which the reader has a share.
func (r *Reader) take(k *run) error {
	r.run, r.at, r.block, r.tier = k, k.find(r.pos), true, Disk
	if k.archived {
		r.tier = Archive
	}
	if through := k.last(); !r.src.Ring.reaches(through) {
		r.src.Blocks.ahead(through)
	}
	if r.pos < k.after { // the first block of the log, and what stood before was trimmed
		return r.trimmed(k.after)
	}
	return nil
}

// trimmed moves on to the end of what was trimmed.
func (r *Reader) trimmed(through uint64) error {
	err := &TrimmedError{After: r.pos, Through: through}
	r.pos = through
	return err
}

// abandon gives up what the reader waits for.
func (r *Reader) abandon() {
	r.src.Blocks.abandon(r.load, r.wake)
	r.load = nil
}

// follow goes on to the next chunk of the ring.
func (r *Reader) follow(next *run) {
	held := next.hold()
	r.letGo()
	if held {
		r.run, r.at, r.block = next, 0, false
	}
}

// letGo releases the run.
func (r *Reader) letGo() {
	switch {
	case r.run == nil:
		return
	case r.block:
		r.src.Blocks.release(r, r.run)
	default:
		r.run.release()
	}
	r.run = nil
}

func (r *Reader) join() {
	r.src.Ring.wakeup.join(r.wake)
	r.joined = true
}

// leaveFiles says that the reader reads memory again, or nothing.
func (r *Reader) leaveFiles() {
	if r.files {
		r.src.Blocks.leave(r)
		r.files = false
	}
}

// detach makes a batch independent of the reader's run, which others wait to use again,
// and lets that go.
func (r *Reader) detach(b Batch) Batch {
	b = b.copied()
	r.letGo()
	return b
}
