package segmentlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of a Log that callers decide by.
var (
	// ErrClosed: the log was closed; nothing was appended.
	ErrClosed = errors.New("the log is closed")
	// ErrClockBehind: the wall clock is over a minute behind the last record. Set the
	// clock right and start again.
	ErrClockBehind = errors.New("the clock is behind the log")
	// ErrCeiling: the numbers below the ceiling are used up; Log.SetCeiling raises it.
	ErrCeiling = errors.New("no number is left below the ceiling")
	// ErrSeqExhausted: no number is left below 2^53.
	ErrSeqExhausted = errors.New("sequence numbers are used up")
)

// Log is an open log: one writer, any number of readers. Its methods may be
// called from any goroutine.
type Log struct {
	opts   Options
	dir    string // the folder that holds the log files
	lock   io.Closer
	stream *Stream

	filesMu  sync.Mutex             // who replaces files
	files    atomic.Pointer[[]part] // by first seq; replaced, never changed
	tip      atomic.Uint64          // last durable seq, 0 for an empty log
	oldest   atomic.Uint64          // first seq of the log, 0 for an empty log
	reserved atomic.Uint64
	ceiling  atomic.Uint64 // 0 for none
	trimmed  atomic.Uint64 // of the stream: what was removed since it was opened

	mu        sync.Mutex
	room      sync.Cond // pending shrank, or the log stopped
	pending   *pendingBatch
	next      uint64
	witnessed int64
	waiting   time.Time // since when something is not durable yet, zero for nothing
	clock     clockGuard
	err       error // why the log stopped: ErrClosed or the failure

	wake    chan struct{} // something is pending, or the log stops
	stopped chan struct{} // the committer returned
	failed  chan struct{} // closed at the first failure

	closeOnce func() error

	sealer     *sealer // nil: hot files stay as they are
	sealWake   chan struct{}
	sealerDone chan struct{}
	stopSealer context.CancelFunc

	// Owned by the committer.
	writer    *hotWriter  // nil until the first batch after start or rotation
	age       *time.Timer // ends when the writer's file is due for sealing; nil without a writer
	aged      bool        // it has ended
	spare     *pendingBatch
	leaves    uint64 // records in the log, the leaf index of the next
	noSpaceIs bool   // the last write found the disk full
	cleanNote bool   // reserved.json still says that the last shutdown was clean
}

// Stream returns the stream's identity.
func (l *Log) Stream() Stream {
	s := *l.stream
	if through := l.trimmed.Load(); through > s.TrimmedThrough {
		s.TrimmedThrough, s.TrimmedLeaves = through, 0 // whoever trims notes how many
	}
	return s
}

// Tip returns the last durable seq, 0 for an empty log.
func (l *Log) Tip() uint64 { return l.tip.Load() }

// Oldest returns the first seq of the log, 0 for an empty log.
func (l *Log) Oldest() uint64 { return l.oldest.Load() }

// Witnessed returns when the last event was witnessed, as Unix µs, 0 for an empty log; it may
// be a moment ahead of Tip.
func (l *Log) Witnessed() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.witnessed
}

// Waiting is for how long the log has taken events of which none became durable, 0 while
// nothing waits.
func (l *Log) Waiting() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting.IsZero() {
		return 0
	}
	return l.now().Sub(l.waiting)
}

// SetCeiling raises the highest number that may be reserved.
func (l *Log) SetCeiling(n uint64) { l.ceiling.Store(n) }

// Failed is closed when the log can no longer write; Err says why. The process
// should end: the next start recovers what is durable.
func (l *Log) Failed() <-chan struct{} { return l.failed }

// Err returns why the log stopped, nil while it runs.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Append gives e the next number and puts it in line for the next group commit.
// It copies e. It blocks while too much waits for the disk, or while the wall
// clock is out of bounds (Events.ClockJump), and returns once the event is
// sequenced: it is durable when OnCommit has seen it. An entry that cannot be a
// record is ErrRecordForm or ErrRecordTooLarge, one whose Seq cannot be ErrOutOfOrder.
func (l *Log) Append(ctx context.Context, e *Entry) (uint64, error) {
	if err := e.valid(); err != nil {
		return 0, fmt.Errorf("append: %w", err)
	}
	size := entrySize(e)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.waitForRoom(ctx, size); err != nil {
		return 0, err
	}
	now, err := l.waitForClock(ctx)
	if err != nil {
		return 0, err
	}
	seq, err := l.numberFor(e)
	if err != nil {
		return 0, err
	}
	l.next = seq + 1
	l.witnessed = max(l.witnessed, now.UnixMicro())
	if l.waiting.IsZero() {
		l.waiting = now
	}
	first := l.pending.empty()
	l.pending.add(seq, l.witnessed, e)
	if first {
		l.signal()
	}
	return seq, nil
}

// waitForRoom returns with l.mu held when size more bytes may wait.
func (l *Log) waitForRoom(ctx context.Context, size int) error {
	full := func() bool {
		return l.err == nil && !l.pending.empty() && len(l.pending.buf)+size > l.opts.MaxPendingBytes
	}
	if !full() {
		return l.err
	}
	defer context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.room.Broadcast()
	})()
	for full() {
		if err := ctx.Err(); err != nil {
			return err
		}
		l.room.Wait()
	}
	return l.err
}

func (l *Log) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// stop ends the log for the reason err; the first reason stays.
func (l *Log) stop(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.room.Broadcast()
	l.signal()
}

// Close commits what was appended, writes the closing mark and the next number,
// and releases the directory. It returns the failure when the log had one, and the
// same when it is called again.
func (l *Log) Close() error { return l.closeOnce() }

func (l *Log) close() error {
	l.stop(ErrClosed)
	<-l.stopped
	l.stopSealer()
	<-l.sealerDone
	err := l.Err()
	if errors.Is(err, ErrClosed) {
		err = nil
	}
	if cerr := l.lock.Close(); err == nil {
		err = cerr
	}
	return err
}

func (l *Log) now() time.Time { return l.opts.Now() }
