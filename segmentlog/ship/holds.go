package ship

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// Holds asks the store whether it has a local segment now, and returns nil where it does.
// A line of a catalog says only that it had: an object can be deleted or replaced since,
// and the local file may be the last copy. bucket.ErrNotFound and *bucket.MismatchError
// are about this segment, any other error about the store.
func (s *Shipper) Holds(ctx context.Context, f *segmentlog.SealedFile) error {
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
