package index

import (
	"context"
	"encoding/binary"

	"github.com/cistern-archive/cistern/segmentlog"
)

// PutBlocks notes the blocks of a segment's footer. Those of a segment that is not
// noted, or no longer, are not kept.
func (x *Index) PutBlocks(ctx context.Context, n segmentlog.SegmentName, blocks []segmentlog.Block) error {
	x.files.Lock()
	defer x.files.Unlock()
	s, found, err := x.segmentAt(n.FirstSeq)
	if err != nil || !found || s.Name != n {
		return err
	}
	b := x.NewBatch()
	defer b.Close()
	for i := range blocks {
		b.value = appendBlock(appendName(b.value[:0], n), &blocks[i])
		b.set(seqKey(spaceBlock, blocks[i].FirstSeq), "", b.value)
	}
	return b.commit(ctx)
}

func appendBlock(dst []byte, b *segmentlog.Block) []byte {
	for _, v := range [...]uint64{
		uint64(b.Offset), uint64(b.Wire), uint64(b.Raw), b.Count,
		b.FirstSeq, b.LastSeq, uint64(b.FirstWitnessed), uint64(b.LastWitnessed),
	} {
		dst = binary.AppendUvarint(dst, v)
	}
	return append(dst, b.SHA256[:]...)
}

func (d *decoder) block() (b segmentlog.Block) {
	b.Offset, b.Wire, b.Raw = int64(d.uint()), int64(d.uint()), int64(d.uint())
	b.Count, b.FirstSeq, b.LastSeq = d.uint(), d.uint(), d.uint()
	b.FirstWitnessed, b.LastWitnessed = int64(d.uint()), int64(d.uint())
	copy(b.SHA256[:], d.fixed(len(b.SHA256)))
	return b
}

// Block returns the block that has a seq, or that a reader looking for it must begin
// at, and its segment; false when none is known.
func (x *Index) Block(seq uint64) (n segmentlog.SegmentName, block segmentlog.Block, found bool, err error) {
	err = x.last(keys{[]byte{spaceBlock}, seqKey(spaceBlock, seq+1)}, func(_, value []byte) error {
		d := decoder{b: value}
		n, block = d.name(), d.block()
		found = n.LastSeq >= seq
		return d.done()
	})
	if err != nil || !found {
		return segmentlog.SegmentName{}, segmentlog.Block{}, false, err
	}
	return n, block, true, nil
}
