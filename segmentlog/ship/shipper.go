package ship

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// How long to wait after a try failed: doubled from the first to the last, with full
// jitter.
const (
	firstWait = 500 * time.Millisecond
	lastWait  = time.Minute
)

// ShipperOptions configures a Shipper. Archive and Log are needed.
type ShipperOptions struct {
	Archive *Archive
	Log     *segmentlog.Log
	// Rate bounds what is sent, in bytes a second, 0 for not at all.
	Rate   int64
	Logger *slog.Logger
	Events ShipperEvents
}

// ShipperEvents are optional callbacks from the shipper's goroutine.
type ShipperEvents struct {
	Attempt func()
	Failed  func(kind string) // bucket.KindOf
	Shipped func(Entry, time.Duration)
}

// EnsureDefaults fills in what is not set.
func (o *ShipperOptions) EnsureDefaults() {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	e := &o.Events
	if e.Attempt == nil {
		e.Attempt = func() {}
	}
	if e.Failed == nil {
		e.Failed = func(string) {}
	}
	if e.Shipped == nil {
		e.Shipped = func(Entry, time.Duration) {}
	}
}

// Shipper uploads the log's sealed segments, in order, each once: the object, the proof
// that it arrived, the line in the day's catalog. What a kill leaves undone of that is
// done by the next one.
type Shipper struct {
	o       ShipperOptions
	b       bucket.Bucket
	limit   *rate.Limiter // nil for none
	wake    chan struct{}
	through atomic.Uint64

	writing sync.Mutex                     // who writes catalogs, while the store takes them
	mu      sync.Mutex                     // what follows, never held while the store is waited for
	days    map[Day]*dayCatalog            // as they were read or written last; changed by who writes
	dayOf   map[segmentlog.SegmentName]Day // of every entry of days
	bytes   int64                          // of every entry of days, together
	// confirmed are the segments that the store showed to this process, in length and
	// hash, and that it was not found to lack since.
	confirmed map[segmentlog.SegmentName]bool

	asked bool // askAll is done; of Run
}

// NewShipper returns a shipper; Run it.
func NewShipper(o ShipperOptions) *Shipper {
	o.EnsureDefaults()
	v := o.Archive.found
	s := &Shipper{
		o: o, b: o.Archive.b, wake: make(chan struct{}, 1), days: v.days,
		dayOf: map[segmentlog.SegmentName]Day{}, confirmed: map[segmentlog.SegmentName]bool{},
	}
	for d, c := range s.days {
		s.count(d, c)
	}
	s.through.Store(v.LastSeq())
	s.limit = newLimit(o.Rate)
	return s
}

// Through is the last seq that the archive is known to hold.
func (s *Shipper) Through() uint64 { return s.through.Load() }

// Wake says that a segment was sealed. It never blocks.
func (s *Shipper) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Lag says what waits: the bytes of sealed segments that are not shipped, and the time
// of the oldest event among them, in Unix µs, 0 for none.
func (s *Shipper) Lag() (bytes int64, since int64) {
	for _, f := range s.o.Log.Sealed(s.Through()) {
		bytes += f.Size
		if since == 0 {
			since = f.FirstWitnessed
		}
	}
	return bytes, since
}

// Run ships until ctx ends or the lease is lost (ErrOvertaken), and retries everything
// else for ever.
func (s *Shipper) Run(ctx context.Context) error {
	if err := s.retry(ctx, "the archive's catalogs could not be completed", s.mend); err != nil {
		return err
	}
	for {
		s.askAll(ctx)
		files := s.o.Log.Sealed(s.Through())
		if len(files) == 0 {
			select {
			case <-s.wake:
				continue
			case <-s.o.Archive.Lost():
				return s.o.Archive.Err()
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		f := files[0]
		err := s.retry(ctx, "a segment could not be shipped; it stays, and shipping is tried again", func(ctx context.Context) error {
			if err := s.ship(ctx, &f); err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// retry calls f until it succeeds, ctx ends or the lease is lost.
func (s *Shipper) retry(ctx context.Context, what string, f func(context.Context) error) error {
	wait := firstWait
	for {
		s.o.Events.Attempt()
		err := f(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrOvertaken):
			return err
		}
		s.o.Events.Failed(bucket.KindOf(err))
		pause := wait/2 + rand.N(wait/2)
		s.o.Logger.Warn(what, "archive", s.b.String(), "err", err, "again_in", pause.Round(time.Millisecond))
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.o.Archive.Lost():
		case <-ctx.Done():
		}
		timer.Stop()
		wait = min(2*wait, lastWait)
	}
}

// ship takes one segment to the archive.
func (s *Shipper) ship(ctx context.Context, f *segmentlog.SealedFile) error {
	began := time.Now()
	e, err := entryOf(ctx, f)
	if err != nil {
		return err
	}
	if err := s.o.Archive.Check(ctx); err != nil {
		return err
	}
	if err := s.put(ctx, f, &e); err != nil {
		return err
	}
	if err := s.note(ctx, e); err != nil {
		return err
	}
	s.setConfirmed(e.Name, true)
	s.o.Log.SetArchived(e.Archived())
	s.through.Store(e.Name.LastSeq)
	s.o.Events.Shipped(e, time.Since(began))
	return nil
}

// entryOf describes a local segment.
func entryOf(ctx context.Context, f *segmentlog.SealedFile) (Entry, error) {
	sum, err := f.SHA256(ctx)
	if err != nil {
		return Entry{}, err
	}
	seg, r, err := f.Open()
	if err != nil {
		return Entry{}, err
	}
	defer r.Close()
	return NewEntry(seg.Footer(), f.Size, sum)
}

// put uploads the segment and proves that the archive has it.
func (s *Shipper) put(ctx context.Context, f *segmentlog.SealedFile, e *Entry) error {
	_, r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	body := bucket.Body{Size: e.Bytes, SHA256: e.SHA256, Bytes: r, Path: f.Path}
	if s.limit != nil {
		body.Bytes = &limited{ctx, r, s.limit}
	}
	if _, err = s.b.Create(ctx, e.Key(), body); err != nil && !errors.Is(err, bucket.ErrExists) {
		return err
	}
	body.Bytes = r
	return bucket.Confirm(ctx, s.b, e.Key(), body)
}

// note puts the segment into its day's catalog.
func (s *Shipper) note(ctx context.Context, e Entry) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	d := e.Day()
	c := s.days[d]
	if c == nil {
		c = &dayCatalog{}
	}
	entries, changed := insert(c.entries, e)
	if !changed && !c.stale {
		return nil
	}
	return s.write(ctx, d, c, entries)
}

// write puts a day's catalog. Where another version stands there, what it has is taken
// along by the next try, after the lease was looked at.
func (s *Shipper) write(ctx context.Context, d Day, c *dayCatalog, entries []Entry) error {
	body := bucket.BytesBody(encodeCatalog(entries))
	var info bucket.Info
	var err error
	if c.version == "" {
		info, err = s.b.Create(ctx, CatalogKey(d), body)
	} else {
		info, err = s.b.Replace(ctx, CatalogKey(d), c.version, body)
	}
	if err == nil {
		s.setDay(d, &dayCatalog{version: info.Version, entries: entries})
		return nil
	}
	if !errors.Is(err, bucket.ErrExists) && !errors.Is(err, bucket.ErrChanged) {
		return err
	}
	now, rerr := readCatalog(ctx, s.b, d)
	if rerr != nil && !errors.Is(rerr, ErrCatalog) {
		return rerr
	}
	now.stale = errors.Is(rerr, ErrCatalog)
	for _, e := range c.entries { // what was found without a line, and what a damaged one had
		now.entries, _ = insert(now.entries, e)
	}
	s.setDay(d, now)
	return fmt.Errorf("%w; it is read again", err)
}

// setDay replaces what is known of a day, nil for nothing.
func (s *Shipper) setDay(d Day, c *dayCatalog) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.days[d]; old != nil {
		for i := range old.entries {
			delete(s.dayOf, old.entries[i].Name)
			s.bytes -= old.entries[i].Bytes
		}
	}
	if c == nil {
		delete(s.days, d)
		return
	}
	s.days[d] = c
	s.count(d, c)
}

// count adds a day to what is known of all.
func (s *Shipper) count(d Day, c *dayCatalog) {
	for i := range c.entries {
		s.dayOf[c.entries[i].Name] = d
		s.bytes += c.entries[i].Bytes
	}
}

// mend writes the catalogs that lack lines, or that could not be read.
func (s *Shipper) mend(ctx context.Context) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	for d, c := range maps.Clone(s.days) {
		if !c.stale {
			continue
		}
		if err := s.o.Archive.Check(ctx); err != nil {
			return err
		}
		if err := s.write(ctx, d, c, c.entries); err != nil {
			return err
		}
		s.o.Logger.Info("a catalog of the archive was completed", "catalog", CatalogKey(d), "segments", len(c.entries))
	}
	return nil
}
