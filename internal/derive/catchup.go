package derive

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cistern-archive/cistern/segmentlog"
)

const (
	// catchUpEvents is how far behind it is worth using all processors.
	catchUpEvents = 10_000
	// chunksAhead bounds the folds, a worker, that wait for those before them.
	chunksAhead = 4
	// progressEvery is how often a long catching up is told of.
	progressEvery = 5 * time.Second
)

// job is a chunk and where its fold goes.
type job struct {
	chunk *segmentlog.Chunk
	done  chan<- *fold
}

// catchUp applies what the log has after the watermark: chunks are decoded and folded
// on all processors, and written in order.
func (f *Follower) catchUp(ctx context.Context) error {
	from, tip := f.opts.Index.Applied(), f.opts.Log.Tip()
	if tip < from+catchUpEvents {
		return nil
	}
	workers := runtime.GOMAXPROCS(0)
	group, ctx := errgroup.WithContext(ctx)
	jobs, order := make(chan job), make(chan (<-chan *fold), chunksAhead*workers)
	group.Go(func() error {
		defer close(jobs)
		defer close(order)
		return f.hand(ctx, from, jobs, order)
	})
	for range workers {
		group.Go(func() error { return work(jobs) })
	}
	p := progress{log: f.opts.Logger, from: from, tip: tip, began: time.Now()}
	group.Go(func() error { return f.write(ctx, order, &p) })
	if err := group.Wait(); err != nil {
		return err
	}
	p.end()
	return nil
}

// hand gives out the chunks, and where their folds will be in the order of the log.
func (f *Follower) hand(ctx context.Context, from uint64, jobs chan<- job, order chan<- (<-chan *fold)) error {
	for chunk, err := range f.opts.Log.Chunks(from) {
		if err != nil {
			return err
		}
		done := make(chan *fold, 1)
		select {
		case order <- done:
		case <-ctx.Done():
			chunk.Close()
			return ctx.Err()
		}
		select {
		case jobs <- job{chunk, done}:
		case <-ctx.Done():
			chunk.Close()
			return ctx.Err()
		}
	}
	return nil
}

// work folds chunks. It ends when there are no more, or at the first that cannot be
// read.
func work(jobs <-chan job) error {
	var buf segmentlog.BlockBuffer
	for j := range jobs {
		fold := newFold()
		for rec, err := range j.chunk.Records(&buf) {
			if err != nil {
				return err
			}
			fold.add(rec)
		}
		j.done <- fold
	}
	return nil
}

// write applies the folds in order.
func (f *Follower) write(ctx context.Context, order <-chan (<-chan *fold), p *progress) error {
	for done := range order {
		select {
		case fold := <-done:
			if fold.events == 0 {
				continue
			}
			if err := f.apply(ctx, fold); err != nil {
				return err
			}
			p.moved(fold)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return f.commit(ctx)
}

// progress tells how a long catching up goes.
type progress struct {
	log         *slog.Logger
	from, tip   uint64
	began, told time.Time
	events      int
}

func (p *progress) moved(f *fold) {
	p.events += f.events
	now := time.Now()
	if p.told.IsZero() {
		p.told = p.began
	}
	if now.Sub(p.told) < progressEvery {
		return
	}
	p.told = now
	p.log.Info("the index catches up with the log", "seq", f.lastSeq, "of", p.tip,
		"done", fmt.Sprintf("%.1f %%", 100*float64(f.lastSeq-p.from)/float64(p.tip-p.from)), "events_a_second", p.rate())
}

func (p *progress) end() {
	p.log.Info("the index has caught up with the log", "events", p.events, "took", time.Since(p.began).Round(time.Millisecond),
		"events_a_second", p.rate())
}

func (p *progress) rate() int {
	return int(float64(p.events) / time.Since(p.began).Seconds())
}
