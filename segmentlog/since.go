package segmentlog

import (
	"errors"
	"io"
	"sort"
)

// SeqAt returns a position whose next record is the first that was witnessed at or after
// t (Unix µs): the tip when there is none yet. It may read a footer and a block, from the
// archive too.
func (l *Log) SeqAt(t int64) (uint64, error) {
	files := *l.files.Load()
	after := uint64(0)
	for i := len(files) - 1; i >= 0; i-- {
		if before, known := endsBefore(files[i], t); known {
			after = files[i].firstSeq() - 1
			if before {
				after = files[i].finalSeq()
			}
			break
		}
	}
	for {
		v, err := l.View(after)
		if errors.Is(err, io.EOF) {
			return max(after, l.Tip()), nil
		}
		if err != nil {
			return 0, err
		}
		seq, found, err := v.at(t)
		v.Close()
		if err != nil || found {
			return seq, err
		}
		after = v.Through
	}
}

// endsBefore says, as far as that is known without reading, that a file ends before t or
// at least begins before it. known is false where it may begin later.
func endsBefore(p part, t int64) (before, known bool) {
	switch p := p.(type) {
	case *archivedFile:
		return true, p.LastWitnessed < t
	case *sealedFile:
		return false, p.born < t
	}
	return false, false
}

// at returns the position before the first record that was witnessed at or after t.
func (v *View) at(t int64) (seq uint64, found bool, err error) {
	i := sort.Search(len(v.chunks), func(i int) bool {
		if err != nil {
			return true
		}
		var first int64
		first, err = v.firstWitnessed(i)
		return first >= t
	})
	if err != nil {
		return 0, false, err
	}
	for i = max(i-1, 0); i < len(v.chunks); i++ { // the block before may hold it too
		for rec, err := range v.Records(i, &BlockBuffer{}) {
			if err != nil {
				return 0, false, err
			}
			if rec.Witnessed >= t {
				return rec.Seq - 1, true, nil
			}
		}
	}
	return 0, false, nil
}

// firstWitnessed is when the first record of block i was witnessed.
func (v *View) firstWitnessed(i int) (int64, error) {
	if c, sealed := v.chunks[i].body.(blockChunk); sealed {
		return c.seg.Footer().Blocks[c.block].FirstWitnessed, nil
	}
	for rec, err := range v.Records(i, &BlockBuffer{}) {
		if err != nil {
			return 0, err
		}
		return rec.Witnessed, nil
	}
	return 0, io.ErrUnexpectedEOF
}
