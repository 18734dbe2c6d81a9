package ship

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// askFor bounds one question to the store, so that one that is away does not hold up the
// making of room.
const askFor = 10 * time.Second

// Holds asks the store whether it has a local segment now, and returns nil where it does.
// A line of a catalog says only that it had: an object can be deleted or replaced since,
// and the local file may be the last copy. bucket.ErrNotFound and *bucket.MismatchError
// are about this segment, any other error about the store.
//
// Where the store is away, and showed the segment to this process before, it is taken to
// have it still (docs/decisions/0010-archive.md).
func (s *Shipper) Holds(ctx context.Context, f *segmentlog.SealedFile) error {
	ask, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	err := s.ask(ask, f)
	if err == nil {
		s.setConfirmed(f.Name, true)
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch kind := bucket.KindOf(err); {
	case kind == "not_found" || kind == "mismatch":
		s.setConfirmed(f.Name, false)
	case (kind == "unavailable" || kind == "timeout") && s.wasConfirmed(f.Name):
		return nil
	}
	return err
}

// ask compares what the store has with the catalog's line and the local file.
func (s *Shipper) ask(ctx context.Context, f *segmentlog.SealedFile) error {
	e, found := s.Find(f.Name)
	if !found {
		return fmt.Errorf("no catalog names it: %w", bucket.ErrNotFound)
	}
	want := bucket.Body{Size: f.Size, SHA256: e.SHA256}
	if e.Bytes != f.Size { // another file of the same name
		return &bucket.MismatchError{Key: CatalogKey(e.Day()), Want: want, Size: e.Bytes}
	}
	info, err := s.b.Stat(ctx, e.Key())
	if err != nil {
		return err
	}
	if info.Size != f.Size {
		return &bucket.MismatchError{Key: e.Key(), Want: want, Size: info.Size}
	}
	if info.SHA256 != nil && !bytes.Equal(info.SHA256, e.SHA256[:]) {
		return &bucket.MismatchError{Key: e.Key(), Want: want, Size: info.Size, Sum: info.SHA256}
	}
	return nil
}

// askAll asks for the local segments that earlier runs shipped, once, so that they may be
// evicted when the store is away later. Where it goes away meanwhile, the next call goes
// on from there.
func (s *Shipper) askAll(ctx context.Context) {
	if s.asked {
		return
	}
	for _, f := range s.o.Log.Sealed(0) {
		if !f.Archived || s.wasConfirmed(f.Name) {
			continue
		}
		err := s.Holds(ctx, &f)
		if kind := bucket.KindOf(err); err != nil && kind != "not_found" && kind != "mismatch" {
			return
		}
		if err != nil {
			s.o.Logger.Error("a segment that was archived is not there as it was; the local one stays", "archive", s.b.String(), "segment", f.Name.String(), "err", err)
		}
	}
	s.asked = true
}

// setConfirmed notes what the store showed of a segment last.
func (s *Shipper) setConfirmed(n segmentlog.SegmentName, held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if held {
		s.confirmed[n] = true
	} else {
		delete(s.confirmed, n)
	}
}

func (s *Shipper) wasConfirmed(n segmentlog.SegmentName) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.confirmed[n]
}
