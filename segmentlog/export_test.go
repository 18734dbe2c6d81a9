package segmentlog

import (
	"io"

	"github.com/klauspost/compress/zstd"
)

// WriteSegment gives tests outside the package the segment writer. They are outside
// because the simulated network imports this package.
func WriteSegment(w io.Writer, records [][]byte, o SegmentOptions) (*Footer, error) {
	frontier := ranges.NewEmptyRange(0)
	s, err := newSegmentWriter(w, "000102030405060708090a0b0c0d0e0f", 1, 0, frontier, o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	var rec Record
	for _, raw := range records {
		if _, err := DecodeRecord(raw, &rec); err != nil {
			return nil, err
		}
		if err := s.add(raw, &rec); err != nil {
			return nil, err
		}
	}
	return s.finish(frontier)
}

// NewBlockEncoder is the compressor that blocks are written with.
func NewBlockEncoder(o SegmentOptions) (*zstd.Encoder, error) { return newBlockEncoder(o) }
