package ship

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// Trim removes from the beginning of the log what was witnessed before an instant: first
// stream.json says so, then the local files go, then the objects and their lines. What a
// kill leaves of that is done by the next call. The newest segment stays. It returns how
// many segments were removed.
func (s *Shipper) Trim(ctx context.Context, before time.Time) (removed int, err error) {
	var through, leaves uint64
	all := s.Catalog("", "")
	for i, e := range all {
		if e.LastWitnessed >= before.UnixMicro() || i == len(all)-1 || e.Name.LastSeq > s.Through() {
			break
		}
		through, leaves = e.Name.LastSeq, e.FirstLeaf+e.Records
	}
	if err := s.o.Archive.Check(ctx); err != nil {
		return 0, err
	}
	if through > s.o.Archive.Stream().TrimmedThrough {
		if err := s.o.Archive.trimmed(ctx, through, leaves); err != nil {
			return 0, fmt.Errorf("trim through seq %d: %w", through, err)
		}
	}
	if err := s.o.Log.Trim(s.o.Archive.Stream().TrimmedThrough); err != nil {
		return 0, err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	for _, d := range slices.Sorted(maps.Keys(s.days)) {
		n, err := s.trimDay(ctx, d)
		removed += n
		if err != nil {
			return removed, fmt.Errorf("trim %s: %w", d, err)
		}
	}
	return removed, nil
}

// trimDay removes a day's segments that are trimmed.
func (s *Shipper) trimDay(ctx context.Context, d Day) (removed int, err error) {
	c, through := s.days[d], s.o.Archive.Stream().TrimmedThrough
	gone := func(e Entry) bool { return e.Name.LastSeq <= through }
	for _, e := range c.entries {
		if !gone(e) {
			continue
		}
		if err := s.b.Delete(ctx, e.Key()); err != nil {
			return removed, err
		}
		removed++
	}
	if removed == 0 {
		return 0, nil
	}
	left := slices.DeleteFunc(slices.Clone(c.entries), gone)
	if len(left) > 0 {
		return removed, s.write(ctx, d, &dayCatalog{version: c.version, entries: left}, left)
	}
	if err := s.b.Delete(ctx, CatalogKey(d)); err != nil {
		return removed, err
	}
	s.setDay(d, nil)
	return removed, nil
}

// trimmed writes stream.json with what is no longer of the log: the seqs up to through,
// which are so many leaves.
func (a *Archive) trimmed(ctx context.Context, through, leaves uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, v, err := readStream(ctx, a.b)
	if err != nil {
		return err
	}
	if now == nil || !now.Continues(a.stream.Load()) || len(now.Epochs) != len(a.stream.Load().Epochs) {
		return fmt.Errorf("%s: %s is not what it was: %w", a.b, StreamKey, bucket.ErrChanged)
	}
	next := segmentlog.Stream{Version: now.Version, ID: now.ID, Numbers: now.Numbers, Epochs: now.Epochs, TrimmedThrough: now.TrimmedThrough, TrimmedLeaves: now.TrimmedLeaves}
	if through > now.TrimmedThrough {
		next.TrimmedThrough, next.TrimmedLeaves = through, leaves
	}
	if _, err := a.b.Replace(ctx, StreamKey, v, bucket.BytesBody(next.Encode())); err != nil && !errors.Is(err, bucket.ErrChanged) {
		return err
	} else if err != nil {
		return fmt.Errorf("%w; it is tried again", err)
	}
	a.stream.Store(&next)
	return nil
}
