package segmentlog

import (
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// chunks implements part: a chunk is a block.
func (s *sealedFile) chunks(fs vfs.FS, after, through uint64) ([]*Chunk, error) {
	f, seg, err := s.segment(fs)
	if err != nil {
		return nil, err
	}
	return segmentChunks(f, seg, after, through), nil
}

// segmentChunks cuts an open segment into its blocks; the chunks close f.
func segmentChunks(f ArchivedFile, seg *Segment, after, through uint64) []*Chunk {
	var out []*Chunk
	for i := seg.Footer().FindSeq(after); after < through; i++ {
		b := &seg.Footer().Blocks[i]
		c := &Chunk{After: after, Through: min(b.LastSeq, through), Raw: b.Raw, body: blockChunk{seg, i}}
		out, after = append(out, c), c.Through
	}
	share(f, out)
	return out
}

// blockChunk is a block of a segment, whose reader is the chunk's file.
type blockChunk struct {
	seg   *Segment
	block int
}

func (c blockChunk) each(_ io.ReaderAt, buf *BlockBuffer, yield func(*Record) bool) error {
	_, err := c.seg.each(c.block, buf, yield)
	return err
}
