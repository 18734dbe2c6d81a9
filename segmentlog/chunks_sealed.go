package segmentlog

import "github.com/cockroachdb/pebble/v2/vfs"

// chunks implements part: a chunk is a block.
func (s *sealedFile) chunks(fs vfs.FS, after, through uint64) ([]*Chunk, error) {
	f, seg, err := s.segment(fs)
	if err != nil {
		return nil, err
	}
	var out []*Chunk
	for i := seg.Footer().FindSeq(after); after < through; i++ {
		b := &seg.Footer().Blocks[i]
		c := &Chunk{After: after, Through: min(b.LastSeq, through), Raw: b.Raw, body: blockChunk{seg, i}}
		out, after = append(out, c), c.Through
	}
	share(f, out)
	return out, nil
}

// blockChunk is a block of a segment, whose reader is the chunk's file.
type blockChunk struct {
	seg   *Segment
	block int
}

func (c blockChunk) each(_ vfs.File, buf *BlockBuffer, yield func(*Record) bool) error {
	_, err := c.seg.each(c.block, buf, yield)
	return err
}
