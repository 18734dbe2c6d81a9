package segmentlog

import (
	"errors"
	"fmt"
)

// Errors of a log about its numbers.
var (
	// ErrOutOfOrder: an entry's Seq is not above all before it, or the log gives the
	// numbers itself.
	ErrOutOfOrder = errors.New("the number is not above all before it")
	// ErrNumbering: a log is opened as one with numbers of its own whose numbers are
	// those of another log, or the other way round.
	ErrNumbering = errors.New("whose numbers the log has is another matter than what was asked for")
)

// aheadOfTip is how far a cursor may be above the tip of a log whose numbers are
// another's, which may be ahead of it: six hours at 450 events a second. A reader that
// comes from there waits; one above is of another log.
const aheadOfTip = 10_000_000

// Borrowed says whether the numbers of the stream are those of another log.
func (s *Stream) Borrowed() bool { return s.Numbers != "" }

// CheckNumbering says why a log cannot be opened with numbers of the log that is
// named, "" for numbers of its own; nil when it can. Which other log it is does not
// matter: it may have moved.
func (s *Stream) CheckNumbering(of string) error {
	switch {
	case s.Borrowed() && of == "":
		return fmt.Errorf("%w: stream %s has the numbers of %s: go on with --upstream-relay and --seq=upstream, or begin a stream of its own in another data directory and archive",
			ErrNumbering, s.ID, s.Numbers)
	case !s.Borrowed() && of != "":
		return fmt.Errorf("%w: stream %s has numbers of its own: go on with --seq=own, or begin a stream with the numbers of %s in another data directory and archive",
			ErrNumbering, s.ID, of)
	}
	return nil
}

// numberFor returns the number of the next record. Called with l.mu.
func (l *Log) numberFor(e *Entry) (uint64, error) {
	seq := l.next
	switch {
	case l.stream.Borrowed() && e.Seq < seq:
		return 0, fmt.Errorf("append: %w: %d comes when %d is next", ErrOutOfOrder, e.Seq, seq)
	case l.stream.Borrowed():
		seq = e.Seq
	case e.Seq != 0:
		return 0, fmt.Errorf("append: %w: the log has numbers of its own, %d is given", ErrOutOfOrder, e.Seq)
	}
	if seq > MaxSeq {
		return 0, ErrSeqExhausted
	}
	if c := l.ceiling.Load(); c > 0 && seq > c && !l.stream.Borrowed() {
		return 0, ErrCeiling
	}
	return seq, nil
}

// number decides the next seq. After a clean shutdown it is the one that the
// reservation names; otherwise numbers up to the reservation may have been seen.
// Numbers of another log mean there what they mean here, so none is reserved.
func (l *Log) number(res reservation, lastSeq uint64, clean bool, initial uint64) {
	switch {
	case l.stream.Borrowed():
		l.next, l.cleanNote = lastSeq+1, res.clean()
	case res.Next > lastSeq && clean:
		l.next, l.cleanNote = res.Next, true
	case res.Through == 0 && lastSeq > 0: // reserved.json is gone: it named at most this
		l.next = lastSeq + reserveBlock + 1
	default:
		l.next = max(res.Through, lastSeq) + 1
	}
	l.reserved.Store(res.Through)
	l.next = max(l.next, initial, l.stream.Current().FirstSeq)
	l.ceiling.Store(l.opts.Ceiling)
}

// Reserved returns the highest number that was ever reserved, in earlier epochs too: the
// highest cursor that can be of this log.
func (l *Log) Reserved() uint64 {
	top := max(l.tip.Load(), l.stream.Current().FirstSeq-1)
	if l.stream.Borrowed() {
		return min(top+aheadOfTip, MaxSeq)
	}
	return max(l.reserved.Load(), top)
}

// through is what a clean shutdown notes as the highest number.
func (l *Log) through() uint64 {
	if l.stream.Borrowed() {
		return l.Tip()
	}
	return l.Reserved()
}

// reserve syncs a reservation that covers seq. The first one after a start also
// takes back the note of the clean shutdown before it.
func (l *Log) reserve(seq uint64) error {
	borrowed := l.stream.Borrowed()
	if (seq <= l.reserved.Load() || borrowed) && !l.cleanNote {
		return nil
	}
	r := reservation{Epoch: l.stream.Current().Epoch, Through: l.reserved.Load()}
	switch {
	case borrowed:
		r.Through = seq
	case seq > r.Through:
		r.Through = min(seq+reserveBlock, MaxSeq)
		if c := l.ceiling.Load(); c > 0 {
			r.Through = max(seq, min(r.Through, c))
		}
	}
	if err := r.write(l.opts.FS, l.opts.Dir); err != nil {
		return err
	}
	l.reserved.Store(r.Through)
	l.cleanNote = false
	return nil
}
