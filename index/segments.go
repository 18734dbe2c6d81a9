package index

import (
	"context"
	"encoding/binary"

	"github.com/cistern-archive/cistern/segmentlog"
)

// Segment is a sealed segment as a listing or the catalog names it.
type Segment struct {
	Name           segmentlog.SegmentName
	Key            string // where it is in the bucket, "" when only a local file is known
	Bytes          int64
	SHA256         [32]byte
	Count          uint64 // records
	FirstWitnessed int64  // Unix µs
	LastWitnessed  int64
}

func (s *Segment) append(dst []byte) []byte {
	dst = appendName(dst, s.Name)
	dst = appendString(dst, s.Key)
	dst = binary.AppendUvarint(dst, uint64(s.Bytes))
	dst = append(dst, s.SHA256[:]...)
	dst = binary.AppendUvarint(dst, s.Count)
	dst = binary.AppendUvarint(dst, uint64(s.FirstWitnessed))
	return binary.AppendUvarint(dst, uint64(s.LastWitnessed))
}

func (s *Segment) decode(value []byte) error {
	d := decoder{b: value}
	s.Name = d.name()
	s.Key = string(d.bytes())
	s.Bytes = int64(d.uint())
	copy(s.SHA256[:], d.fixed(len(s.SHA256)))
	s.Count = d.uint()
	s.FirstWitnessed, s.LastWitnessed = int64(d.uint()), int64(d.uint())
	return d.done()
}

func appendName(dst []byte, n segmentlog.SegmentName) []byte {
	for _, v := range [...]uint64{n.Epoch, n.FirstSeq, n.LastSeq, n.Generation} {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}

func (d *decoder) name() segmentlog.SegmentName {
	return segmentlog.SegmentName{Epoch: d.uint(), FirstSeq: d.uint(), LastSeq: d.uint(), Generation: d.uint()}
}

func seqKey(space byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{space}, seq)
}

// PutSegment notes a segment. Where it overlaps others the higher generation stays:
// a rewrite takes the place of its parts and of their blocks, and a segment that is
// overwritten already changes nothing. It says whether it was noted.
func (x *Index) PutSegment(ctx context.Context, s *Segment) (bool, error) {
	x.files.Lock()
	defer x.files.Unlock()
	b := x.NewBatch()
	defer b.Close()
	for _, old := range x.overlapping(b, s.Name) {
		if old.Generation > s.Name.Generation {
			return false, b.err
		}
		b.dropSegment(old)
	}
	b.set(seqKey(spaceSegment, s.Name.FirstSeq), "", s.append(b.value[:0]))
	err := b.commit(ctx)
	return err == nil, err
}

// overlapping returns the segments that share a seq with n. An error is the batch's.
func (x *Index) overlapping(b *Batch, n segmentlog.SegmentName) []segmentlog.SegmentName {
	var found []segmentlog.SegmentName
	take := func(_, value []byte) error {
		var s Segment
		err := s.decode(value)
		if s.Name.LastSeq >= n.FirstSeq {
			found = append(found, s.Name)
		}
		return err
	}
	b.note(x.last(keys{[]byte{spaceSegment}, seqKey(spaceSegment, n.FirstSeq)}, take))
	b.note(x.each(keys{seqKey(spaceSegment, n.FirstSeq), seqKey(spaceSegment, n.LastSeq+1)}, take))
	return found
}

func (b *Batch) dropSegment(n segmentlog.SegmentName) {
	b.note(b.b.Delete(seqKey(spaceSegment, n.FirstSeq), nil))
	b.note(b.b.DeleteRange(seqKey(spaceBlock, n.FirstSeq), seqKey(spaceBlock, n.LastSeq+1), nil))
}

// DropSegment forgets a segment and its blocks, unless another has taken its place.
func (x *Index) DropSegment(ctx context.Context, n segmentlog.SegmentName) error {
	x.files.Lock()
	defer x.files.Unlock()
	s, found, err := x.segmentAt(n.FirstSeq)
	if err != nil || !found || s.Name != n {
		return err
	}
	b := x.NewBatch()
	defer b.Close()
	b.dropSegment(n)
	return b.commit(ctx)
}

func (x *Index) segmentAt(first uint64) (s Segment, found bool, err error) {
	found, err = x.get(seqKey(spaceSegment, first), s.decode)
	return s, found, err
}

// Segment returns the segment that has a seq, and false when none is known to.
func (x *Index) Segment(seq uint64) (s Segment, found bool, err error) {
	err = x.last(keys{[]byte{spaceSegment}, seqKey(spaceSegment, seq+1)}, func(_, value []byte) error {
		err := s.decode(value)
		found = s.Name.LastSeq >= seq
		return err
	})
	if err != nil || !found {
		return Segment{}, false, err
	}
	return s, true, nil
}

// Segments returns the segments from the one that has the seq from on, by first seq,
// at most limit of them.
func (x *Index) Segments(from uint64, limit int) ([]Segment, error) {
	var segments []Segment
	first, found, err := x.Segment(from)
	if err != nil {
		return nil, err
	}
	if found {
		from = first.Name.FirstSeq
	}
	err = x.each(keys{seqKey(spaceSegment, from), []byte{spaceSegment + 1}}, func(_, value []byte) error {
		if len(segments) >= limit {
			return errEnough
		}
		var s Segment
		err := s.decode(value)
		segments = append(segments, s)
		return err
	})
	return segments, err
}
