package pull

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cistern-archive/cistern/internal/archive"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

// suppressedFile is what everything that reads segments looks for in a folder.
const suppressedFile = archive.SuppressedFile

// ErrOtherStream means that the folder holds segments of another log.
var ErrOtherStream = errors.New("the folder is of another stream")

// Options says what is pulled, and to where.
type Options struct {
	From Source
	Out  string // a folder

	Since, Until time.Time // witnessed at or after, and before; zero for no bound
	First, Last  uint64    // seqs, both included; 0 for no bound
	Parallel     int       // downloads at once: 4
	// Progress is told how many bytes are there of how many.
	Progress func(done, total int64)
	// Problem is told of a segment that could not be had, while the others go on.
	Problem func(n segmentlog.SegmentName, err error)
	// Wait is how long to wait before a download is tried again, doubled each time: 1 s.
	Wait time.Duration
}

// Report is what a run did.
type Report struct {
	Segments   int // that were asked for
	Had        int // were there already
	Downloaded int
	Removed    int // superseded by a newer generation
	Failed     int
	Bytes      int64 // of all that are there
	Records    uint64
	Holes      []Hole
	FirstSeq   uint64
	LastSeq    uint64
}

// Hole is a run of records that are not there, because the source does not have them or
// their segment failed. They are some of the seqs from FirstSeq to LastSeq.
type Hole struct {
	FirstSeq, LastSeq uint64
	Records           uint64
}

// OK says that everything that was asked for is there.
func (r *Report) OK() bool { return r.Failed == 0 && len(r.Holes) == 0 }

// Pull downloads. An error is one that keeps it from going on; what concerns one segment
// stands in the report.
func Pull(ctx context.Context, o Options) (*Report, error) {
	if o.Parallel <= 0 {
		o.Parallel = 4
	}
	o.Wait = cmp.Or(o.Wait, time.Second)
	p := &puller{o: o}
	stream, err := p.checkStream(ctx)
	if err != nil {
		return nil, err
	}
	p.stream = stream
	entries, err := p.choose(ctx)
	if err != nil {
		return nil, err
	}
	p.report.Segments = len(entries)
	for i := range entries {
		p.total += entries[i].Bytes
	}
	if err := os.MkdirAll(p.o.Out, 0o755); err != nil {
		return nil, err
	}
	if err := replace(filepath.Join(p.o.Out, ship.StreamKey), stream.Encode()); err != nil {
		return nil, err
	}
	if suppressed, err := p.o.From.Suppressed(ctx); err != nil {
		return nil, err
	} else if suppressed != nil {
		if err := replace(filepath.Join(p.o.Out, suppressedFile), suppressed); err != nil {
			return nil, err
		}
	}
	there, err := p.downloadAll(ctx, entries)
	if err != nil {
		return nil, err
	}
	if err := p.finish(ctx, there); err != nil {
		return nil, err
	}
	return &p.report, nil
}

// puller is a run of Pull.
type puller struct {
	o      Options
	stream *segmentlog.Stream
	total  int64
	done   atomic.Int64
	mu     sync.Mutex
	report Report
}

// checkStream reads both streams; the folder's must lead to the source's.
func (p *puller) checkStream(ctx context.Context) (*segmentlog.Stream, error) {
	stream, err := p.o.From.Stream(ctx)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(p.o.Out, ship.StreamKey))
	if errors.Is(err, os.ErrNotExist) {
		return stream, nil
	}
	if err != nil {
		return nil, err
	}
	have, err := segmentlog.ParseStream(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(p.o.Out, ship.StreamKey), err)
	}
	if !stream.Continues(&have) {
		return nil, fmt.Errorf("%w: %s holds stream %s (epoch %d), the source is stream %s (epoch %d)",
			ErrOtherStream, p.o.Out, have.ID, have.Current().Epoch, stream.ID, stream.Current().Epoch)
	}
	return stream, nil
}

// choose returns the segments that hold something of what is asked for.
func (p *puller) choose(ctx context.Context) ([]ship.Entry, error) {
	var from, to ship.Day
	if !p.o.Since.IsZero() { // a segment may have begun the day before
		from = ship.DayOf(p.o.Since.Add(-24 * time.Hour).UnixMicro())
	}
	if !p.o.Until.IsZero() {
		to = ship.DayOf(p.o.Until.UnixMicro())
	}
	all, err := p.o.From.Catalog(ctx, from, to)
	if err != nil {
		return nil, err
	}
	if err := follow(p.stream, all); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(e ship.Entry) bool {
		return !p.o.Since.IsZero() && e.LastWitnessed < p.o.Since.UnixMicro() ||
			!p.o.Until.IsZero() && e.FirstWitnessed >= p.o.Until.UnixMicro() ||
			e.Name.LastSeq < p.o.First || p.o.Last > 0 && e.Name.FirstSeq > p.o.Last
	}), nil
}

// follow says whether what a catalog names can be one log: the server may lie.
func follow(s *segmentlog.Stream, all []ship.Entry) error {
	for i, e := range all {
		if !s.Keeps(e.Name) {
			return fmt.Errorf("%w: %s is not of the log that the source's %s describes; if an epoch began just now, run it again", ship.ErrCatalog, e.Name, ship.StreamKey)
		}
		if i == 0 {
			continue
		}
		if before := all[i-1]; e.Name.FirstSeq <= before.Name.LastSeq || e.FirstLeaf < before.FirstLeaf+before.Records {
			return fmt.Errorf("%w: %s and %s overlap", ship.ErrCatalog, before.Name, e.Name)
		}
	}
	return nil
}

// downloadAll gets every segment and returns those that are there. What is downloaded is
// verified behind, so that it holds no download up.
func (p *puller) downloadAll(ctx context.Context, entries []ship.Entry) ([]ship.Entry, error) {
	there := make([]bool, len(entries))
	g, gctx := errgroup.WithContext(ctx)
	arrived := make(chan arrival, len(entries)) // never full
	for range verifiers() {
		g.Go(func() error {
			for a := range arrived {
				if err := p.note(gctx, a.d.settle(gctx), a, there); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(arrived)
		gets, getting := errgroup.WithContext(gctx)
		gets.SetLimit(p.o.Parallel)
		for i, e := range entries {
			if getting.Err() != nil {
				break
			}
			gets.Go(func() error {
				d, err := p.get(getting, e)
				a := arrival{d, e, i}
				if d == nil || err != nil {
					return p.note(getting, err, a, there)
				}
				arrived <- a
				return nil
			})
		}
		return gets.Wait()
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	var out []ship.Entry
	for i, e := range entries {
		if there[i] {
			out = append(out, e)
		}
	}
	return out, nil
}

// arrival is a segment that was downloaded, or was there, where d is nil.
type arrival struct {
	d     *download
	entry ship.Entry
	index int
}

// note counts what came of a segment; an error of its own does not end the run.
func (p *puller) note(ctx context.Context, err error, a arrival, there []bool) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case isLocal(err):
		return err
	case err != nil:
		p.fail(a.entry.Name, err)
		return nil
	case a.d == nil:
		p.report.Had++
	default:
		p.report.Downloaded++
	}
	there[a.index] = true
	return nil
}

// advance says that n more bytes are there.
func (p *puller) advance(n int64) {
	done := p.done.Add(n)
	if p.o.Progress != nil {
		p.o.Progress(done, p.total)
	}
}
