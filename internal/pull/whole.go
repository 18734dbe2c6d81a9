package pull

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cistern-archive/cistern/internal/archive"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

// verifiers is how many files are verified at once, beside the downloads: as many as there
// are processors, so that none is idle when the downloads have ended.
func verifiers() int { return runtime.GOMAXPROCS(0) }

// settle verifies a file that is what the catalog says and gives it its name.
func (d *download) settle(ctx context.Context) error {
	err := d.verify(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return errors.Join(err, os.Remove(d.path)) // as where the catalog says otherwise
	}
	path := strings.TrimSuffix(d.path, partSuffix)
	return local(errors.Join(os.Rename(d.path, path), segmentlog.SyncDir(vfs.Default, filepath.Dir(path))))
}

// verify reads every block and record, as `archive verify` does: a catalog can be of the
// same hand as a segment whose records are not those of its tree.
func (d *download) verify(ctx context.Context) error {
	f, err := os.Open(d.path)
	if err != nil {
		return local(err)
	}
	defer f.Close()
	seg, err := segmentlog.OpenSegment(d.e.Name.String(), f, d.e.Bytes)
	if err != nil {
		return err
	}
	return seg.Verify(ctx, segmentlog.VerifyOptions{Workers: 1})
}

// count sums up what is there and notes the holes before it and in it.
func (p *puller) count(there []ship.Entry) {
	r := &p.report
	if len(there) == 0 {
		return
	}
	r.FirstSeq, r.LastSeq = there[0].Name.FirstSeq, there[len(there)-1].Name.LastSeq
	seq, leaf, known := p.beginning()
	for _, e := range there {
		r.Bytes += e.Bytes
		r.Records += e.Records
		if known && e.FirstLeaf > leaf {
			r.Holes = append(r.Holes, Hole{FirstSeq: seq, LastSeq: e.Name.FirstSeq - 1, Records: e.FirstLeaf - leaf})
		}
		seq, leaf, known = e.Name.LastSeq+1, e.FirstLeaf+e.Records, true
	}
}

// beginning returns the first seq and leaf of the log; known is false where they are not,
// or were not asked for.
func (p *puller) beginning() (seq, leaf uint64, known bool) {
	seq = max(p.stream.TrimmedThrough+1, p.stream.Epochs[0].FirstSeq)
	leaf, known = p.stream.FirstLeaf()
	return seq, leaf, known && p.o.Since.IsZero() && p.o.First <= seq
}

// chain checks that each segment goes on in the tree of the one before it. Which of two
// that do not fit is wrong cannot be told: both stay, and the second is named.
func (p *puller) chain(ctx context.Context, there []ship.Entry) error {
	var last *segmentlog.Footer
	for i := range there {
		e := &there[i]
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		next, err := p.footer(e)
		if err == nil && last != nil && e.FirstLeaf == last.FirstLeaf+last.Count {
			err = archive.Follows(last, last.Name.String(), next)
		}
		if err != nil {
			p.fail(e.Name, err)
		}
		last = next
	}
	return nil
}

// footer reads that of a segment that is there.
func (p *puller) footer(e *ship.Entry) (*segmentlog.Footer, error) {
	f, err := os.Open(filepath.Join(p.o.Out, filepath.FromSlash(e.Key())))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	seg, err := segmentlog.OpenSegment(e.Name.String(), f, e.Bytes)
	if err != nil {
		return nil, err
	}
	return seg.Footer(), nil
}

// fail counts a segment that is not as it should be, and names it.
func (p *puller) fail(n segmentlog.SegmentName, err error) {
	p.report.Failed++
	if p.o.Problem != nil {
		p.o.Problem(n, err)
	}
}
