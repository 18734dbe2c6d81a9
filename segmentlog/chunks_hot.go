package segmentlog

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// hotChunkSize is about how much of a hot file a chunk is, in bytes.
const hotChunkSize = 1 << 20

var errCut = errors.New("the records are not those that were written there")

// chunks implements part: a chunk is what lies between two points of the seek
// table.
func (h *hotFile) chunks(fs vfs.FS, after, through uint64) ([]*Chunk, error) {
	f, err := fs.Open(h.path)
	if err != nil {
		return nil, err
	}
	var out []*Chunk
	cuts := h.cuts(after, through, hotChunkSize)
	for i, from := range cuts[:len(cuts)-1] {
		to := cuts[i+1]
		out = append(out, &Chunk{
			After: after, Through: to.seq - 1, Raw: to.off - from.off,
			body: hotChunk{file: h, from: from, to: to, final: i == len(cuts)-2},
		})
		after = to.seq - 1
	}
	share(f, out)
	return out, nil
}

// cuts returns where to cut the file so that the records with after < seq ≤ through
// come in runs of about size bytes. Through is the seq of a durable record. The
// last cut is an end: what lies beyond it need not be read.
func (h *hotFile) cuts(after, through uint64, size int64) []seekPoint {
	end := seekPoint{through + 1, h.end.Load()}
	h.mu.Lock()
	defer h.mu.Unlock()
	cuts := []seekPoint{{h.header.FirstSeq, h.headerLen}}
	for _, p := range h.seeks {
		switch last := &cuts[len(cuts)-1]; {
		case p.seq > through: // it may stand above the durable end
			end.off = min(end.off, p.off)
			return append(cuts, end)
		case p.seq <= after+1:
			*last = p
		case p.off-last.off >= size:
			cuts = append(cuts, p)
		}
	}
	return append(cuts, end)
}

// hotChunk is the part of a hot file from one cut to the next.
type hotChunk struct {
	file     *hotFile
	from, to seekPoint
	// final says that to stands behind the last record that is wanted of the file.
	// There may be more; any other chunk ends where the next one begins.
	final bool
}

func (c hotChunk) each(f io.ReaderAt, buf *BlockBuffer, yield func(*Record) bool) error {
	records := c.file.records(f, c.from.off, c.to.off)
	records.it.buf = buf.raw[:0]
	defer func() { buf.raw = records.it.buf }()
	var rec Record
	last, through := uint64(0), c.to.seq-1
	for !c.final || last != through {
		err := records.next(&rec)
		switch {
		case errors.Is(err, io.EOF) && !c.final:
			return nil
		case errors.Is(err, io.EOF):
			return records.corrupt(fmt.Errorf("%w: they end at seq %d, not %d", errCut, last, through))
		case err != nil:
			return err
		case last == 0 && rec.Seq != c.from.seq:
			return records.corrupt(fmt.Errorf("%w: seq %d, not %d", errCut, rec.Seq, c.from.seq))
		case rec.Seq > through:
			return records.corrupt(fmt.Errorf("%w: seq %d after %d, not above %d", errCut, rec.Seq, last, through))
		case rec.Seq <= last:
			return records.corrupt(fmt.Errorf("%w: %d after %d", errOrder, rec.Seq, last))
		}
		if last = rec.Seq; !yield(&rec) {
			return nil
		}
	}
	return nil
}
