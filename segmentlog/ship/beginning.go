package ship

import (
	"context"
	"errors"
	"fmt"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// BeginningError says what of a log's beginning an archive has lost.
type BeginningError struct {
	Key               string // of the object that a catalog names, "" where none does
	FirstSeq, LastSeq uint64 // of what is missing, which may be fewer numbers
	Records           uint64
}

func (e *BeginningError) Error() string {
	if e.Key != "" {
		return fmt.Sprintf("the log's first segment, %s, is not there: seqs %d to %d, %d records", e.Key, e.FirstSeq, e.LastSeq, e.Records)
	}
	return fmt.Sprintf("no segment holds the log's first %d records, of seqs %d to %d", e.Records, e.FirstSeq, e.LastSeq)
}

// begins says whether the entries begin where the log does, as far as that is known.
func (v *Inventory) begins(s *segmentlog.Stream) bool {
	leaf, known := s.FirstLeaf()
	return len(v.Entries) == 0 || known && v.Entries[0].FirstLeaf == leaf
}

// checkBeginning finds out what is missing of the beginning; the error is the store's.
func (v *Inventory) checkBeginning(ctx context.Context, b bucket.Bucket, s *segmentlog.Stream) error {
	if len(v.Entries) == 0 {
		return nil
	}
	first := &v.Entries[0]
	if leaf, known := s.FirstLeaf(); known && first.FirstLeaf > leaf {
		v.Beginning = &BeginningError{
			FirstSeq: max(s.TrimmedThrough+1, s.Epochs[0].FirstSeq), LastSeq: first.Name.FirstSeq - 1, Records: first.FirstLeaf - leaf,
		}
		return nil
	}
	_, err := b.Stat(ctx, first.Key())
	if errors.Is(err, bucket.ErrNotFound) {
		v.Beginning = &BeginningError{Key: first.Key(), FirstSeq: first.Name.FirstSeq, LastSeq: first.Name.LastSeq, Records: first.Records}
		return nil
	}
	return err
}
