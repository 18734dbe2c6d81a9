package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// ErrOvertaken means that another holder has the lease now: nothing may be shipped any
// more, and the process should end.
var ErrOvertaken = errors.New("another has taken the archive's log over")

// Archive is an archive whose log a data directory writes. Its methods may be called
// from any goroutine.
type Archive struct {
	b      bucket.Bucket
	log    *slog.Logger
	now    func() time.Time
	every  time.Duration
	stream atomic.Pointer[segmentlog.Stream] // replaced, never changed
	found  *Inventory                        // as it was attached

	mu      sync.Mutex // who writes the lease
	lease   Lease
	version bucket.Version

	lock     io.Closer // of the data directory
	lostOnce sync.Once
	lost     chan struct{}
	lostErr  error
}

func newArchive(a *attaching, v *Inventory) *Archive {
	x := &Archive{
		b: a.o.Bucket, log: a.log, now: a.o.Now, every: a.o.Renew, found: v,
		lease: *a.lease, version: a.lv, lost: make(chan struct{}),
	}
	x.stream.Store(a.stream)
	return x
}

// Close lets another process attach the data directory. The bucket stays open.
func (a *Archive) Close() error { return a.lock.Close() }

// Stream is the log's stream as the archive has it; do not change it.
func (a *Archive) Stream() *segmentlog.Stream { return a.stream.Load() }

// Inventory is what the archive held when it was attached.
func (a *Archive) Inventory() *Inventory { return a.found }

// Archived lists the inventory as a log takes it.
func (a *Archive) Archived() []segmentlog.Archived {
	out := make([]segmentlog.Archived, len(a.found.Entries))
	for i := range a.found.Entries {
		out[i] = a.found.Entries[i].Archived()
	}
	return out
}

// Lease is the lease as it was written last.
func (a *Archive) Lease() Lease {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lease
}

// Ceiling is the highest number that the lease allows to be reserved.
func (a *Archive) Ceiling() uint64 { return a.Lease().Reserved }

// Lost is closed when another holder has the lease; Err says who.
func (a *Archive) Lost() <-chan struct{} { return a.lost }

// Err is ErrOvertaken, with who it was, once Lost is closed.
func (a *Archive) Err() error {
	select {
	case <-a.lost:
		return a.lostErr
	default:
		return nil
	}
}

func (a *Archive) lose(l *Lease) error {
	a.lostOnce.Do(func() {
		a.lostErr = fmt.Errorf("%w: %s, in epoch %d since %s; what is not shipped stays in the data directory and is not of the log any more",
			ErrOvertaken, l.Machine, l.Epoch, l.Since.Format(time.RFC3339))
		close(a.lost)
	})
	return a.lostErr
}

// Check reads the lease and returns ErrOvertaken where it is no longer ours.
func (a *Archive) Check(ctx context.Context) error {
	if err := a.Err(); err != nil {
		return err
	}
	l, _, err := readLease(ctx, a.b)
	if err != nil {
		return err
	}
	ours := a.Lease()
	if l == nil {
		return fmt.Errorf("%s: %s is gone: restore it", a.b, LeaseKey)
	}
	if !ours.ours(l) {
		return a.lose(l)
	}
	return nil
}

// Keep renews the lease until ctx ends, and raises the ceiling before the log needs it.
// Failing changes nothing: a holder that cannot reach the archive goes on.
func (a *Archive) Keep(ctx context.Context, log interface {
	Tip() uint64
	Reserved() uint64
	SetCeiling(uint64)
}) {
	tick := time.NewTicker(a.every)
	defer tick.Stop()
	failing := false
	for {
		err := a.update(ctx, func(l *Lease) {
			l.Tip = max(l.Tip, log.Tip())
			for log.Reserved()+EpochNumbers/2 > l.Reserved && l.Reserved+EpochNumbers <= segmentlog.MaxSeq {
				l.Reserved += EpochNumbers
			}
		})
		switch {
		case errors.Is(err, ErrOvertaken) || ctx.Err() != nil:
			return
		case err != nil && !failing:
			failing = true
			a.log.Warn("the lease cannot be renewed; writing goes on, and it is tried again", "archive", a.b.String(), "err", err)
		case err == nil:
			log.SetCeiling(a.Ceiling())
			if failing {
				failing = false
				a.log.Info("the lease is renewed again", "archive", a.b.String())
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// update writes the lease as change makes it.
func (a *Archive) update(ctx context.Context, change func(*Lease)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.Err(); err != nil {
		return err
	}
	next := a.lease
	change(&next)
	next.Renewed = a.now().UTC()
	info, err := a.b.Replace(ctx, LeaseKey, a.version, bucket.BytesBody(next.encode()))
	if err == nil {
		a.lease, a.version = next, info.Version
		return nil
	}
	if !errors.Is(err, bucket.ErrChanged) {
		return err
	}
	l, v, rerr := readLease(ctx, a.b)
	switch {
	case rerr != nil:
		return rerr
	case l == nil:
		return fmt.Errorf("%s: %s is gone: restore it", a.b, LeaseKey)
	case !a.lease.ours(l):
		return a.lose(l)
	}
	a.lease, a.version = *l, v // a write of ours whose answer was lost
	return fmt.Errorf("%w: by an earlier write of our own", err)
}

// Release says that the holder has stopped, so that any other may go on at once.
func (a *Archive) Release(ctx context.Context, tip uint64) error {
	var err error
	for range 2 { // the first try may learn of a write whose answer was lost
		err = a.update(ctx, func(l *Lease) { l.Tip, l.Released = max(l.Tip, tip), true })
		if !errors.Is(err, bucket.ErrChanged) {
			break
		}
	}
	return err
}
